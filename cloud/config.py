"""The cloud's settings: documented at the field, frozen, checked once at the start."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from cloud.rules import (
    AccountRules,
    AlertSettings,
    HomeAssistantSettings,
    HttpsSettings,
    MeterRules,
    OidcRules,
    PictureRules,
    RetentionRules,
    RetrainingRules,
    S3Settings,
)
from cloud.store.places import Bucket, bucket_of
from contract.errors import ContractError
from contract.settings import BrokerAddress, BrokerUrl, MqttProtocol, Settings, broker_address


def _require_database_url(text: str) -> str:
    if text and not text.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("write it as sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME, or leave it out")
    try:
        make_url(text or "sqlite://")
    except (ArgumentError, ValueError) as error:
        raise ValueError("this is no address of a database: is its port a number?") from error
    return text


def require_time_zone(text: str) -> str:
    """Return `text` if it names a time zone; raises ValueError otherwise."""
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{text!r} is no IANA time zone; write for example Europe/Paris or UTC") from error
    return text


def _require_blobs(text: str) -> str:
    try:
        bucket_of(text)
    except ContractError as error:
        raise ValueError(str(error)) from error
    return text


def _require_network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is no address and no network; write for example 10.0.0.0/8") from error
    return text


class CloudSettings(Settings):
    """Everything `cloud` can be told; the defaults run a whole service in one folder."""

    broker: BrokerUrl = "mqtt://127.0.0.1:1883"
    """Where the doors' broker listens: `mqtts://HOST:PORT`; `mqtt://` only on this machine, for a quick try."""

    protocol: MqttProtocol = "5"
    """The MQTT that the broker speaks: `5`, or `3.1.1` for one that knows no other (NATS); then nothing can be shared."""

    identity: Path | None = None
    """The cloud's identity folder, as `provisioning service cloud FOLDER` made it; for `mqtts`."""

    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "cloud-consumer"
    """The consumer's name at the broker; it owns the session that keeps messages while the consumer is away, so keep it."""

    share: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    """A word that several consumers share to divide the messages, each with its own `client_id`; empty: this one reads all."""

    session_expiry_s: Annotated[int, Field(ge=60, le=2**32 - 2)] = 14 * 24 * 3600
    """How long the broker keeps messages for an absent consumer, in s."""

    receive_maximum: Annotated[int, Field(ge=1, le=65_535)] = 10_000
    """Messages the broker may send ahead of our acknowledgements; at most half of them are one transaction. Whatever the
    broker sends, no more than about that many messages, and no more than about 48 MB of them, wait in memory: then nothing is read
    until some are stored."""

    data: Path = Path("cloud-data")
    """Folder of everything that is stored here; made when missing."""

    database: Annotated[str, AfterValidator(_require_database_url)] = ""
    """SQLAlchemy URL, `sqlite:///PATH` or `postgresql+psycopg://...`; empty: `maskfleet.sqlite` in the data folder."""

    blobs: Annotated[str, AfterValidator(_require_blobs)] = ""
    """Folder of the crops' pictures, or `s3://BUCKET/PREFIX`; empty: `blobs` in the data folder."""

    s3: S3Settings = S3Settings()
    """How to speak to the object store."""

    releases: Path | None = None
    """Folder of the signed releases and their two online keys, made by `cloud keys`; absent: `releases` in the data folder."""

    canary_soak_s: Annotated[int, Field(ge=0)] = 24 * 3600
    """How long the first doors must have run a release before the others get it, in s."""

    answer_within_s: Annotated[int, Field(ge=5)] = 3600
    """A door that was asked for a release and gets no further for this many seconds counts as failed."""

    host: str = "127.0.0.1"
    """Address the web server listens on."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port the web server listens on; 0 takes a free one and says which."""

    proxies: tuple[Annotated[str, AfterValidator(_require_network)], ...] = ("127.0.0.1", "::1")
    """Addresses or networks of the proxies before this site; they are believed when they say who asks, and that it was by https."""

    https: HttpsSettings = HttpsSettings()
    """The listener for machines elsewhere."""

    accounts: AccountRules = AccountRules()
    """Who may look, and for how long."""

    oidc: OidcRules = OidcRules()
    """Another way in."""

    time_zone: Annotated[str, AfterValidator(require_time_zone)] = "UTC"
    """IANA name of the zone in which pages show times and days begin."""

    batch_events: Annotated[int, Field(ge=100, le=5_000)] = 5_000
    """Most events written in one transaction."""

    batch_wait_ms: Annotated[int, Field(ge=1, le=5_000)] = 50
    """How long a batch waits for more messages, in ms."""

    silent_after_s: Annotated[int, Field(ge=5)] = 120
    """A door that said nothing for this many seconds is shown as silent."""

    stall_after_s: Annotated[int, Field(ge=10)] = 180
    """A consumer that makes no progress for this many seconds ends itself, so that its supervisor starts a fresh one."""

    pictures: PictureRules = PictureRules()
    """What a crop's JPEG header may say."""

    metering: MeterRules = MeterRules()
    """How much of one door the consumer puts up with."""

    retraining: RetrainingRules = RetrainingRules()
    """When to train again."""

    alerts: AlertSettings = AlertSettings()
    """What counts as trouble, and who hears of it."""

    home_assistant: HomeAssistantSettings = HomeAssistantSettings()
    """Whether Home Assistant hears of doors."""

    retention: RetentionRules = RetentionRules()
    """How long what is kept."""

    @model_validator(mode="after")
    def _sharing_by_mqtt_5(self) -> Self:
        if self.share and self.protocol != "5":
            raise ValueError("consumers share by MQTT 5: leave share empty, or use a broker that speaks it")
        return self

    @model_validator(mode="after")
    def _with_identity(self) -> Self:
        if self.broker_address.tls and self.identity is None:
            raise ValueError(
                "mqtts needs an identity folder: set identity; `provisioning service cloud FOLDER` makes one"
            )
        return self

    @model_validator(mode="after")
    def _with_a_way_back(self) -> Self:
        if self.oidc.issuer and not (self.accounts.address and self.oidc.client_id and self.oidc.roles):
            raise ValueError(
                "oidc needs oidc.client_id, oidc.roles and accounts.address, to which the provider sends back"
            )
        return self

    @property
    def database_url(self) -> str:
        """The database, the default filled in."""
        return self.database or f"sqlite:///{self.data / 'maskfleet.sqlite'}"

    @property
    def blob_folder(self) -> Path:
        """The folder of pictures, the default filled in; means nothing where there is a bucket."""
        return Path(self.blobs) if self.blobs else self.data / "blobs"

    @property
    def bucket(self) -> Bucket | None:
        """The bucket of pictures; None where they lie in a folder."""
        return bucket_of(self.blobs)

    @property
    def erasure_journal(self) -> Path:
        """What was erased, kept beside the database, so that a database set back does not bring it back."""
        return self.data / "erasures.jsonl"

    @property
    def release_folder(self) -> Path:
        """The folder of signed releases, the default filled in."""
        return self.releases or self.data / "releases"

    @property
    def broker_address(self) -> BrokerAddress:
        """Host and port of the broker, and whether by TLS."""
        return broker_address(self.broker)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the pages."""
        return ZoneInfo(self.time_zone)
