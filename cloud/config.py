"""The cloud's settings: documented at the field, frozen, checked once at the start."""

from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from contract.settings import BrokerAddress, BrokerUrl, Settings, broker_address


def _require_database_url(text: str) -> str:
    if text and not text.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("write it as sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME, or leave it out")
    return text


def _require_time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{text!r} is no IANA time zone; write for example Europe/Paris or UTC") from error
    return text


class PictureRules(Settings):
    """What a crop's JPEG header may say before anybody decodes it."""

    least_side: Annotated[int, Field(ge=1)] = 8
    """Least width and height in px."""

    greatest_side: Annotated[int, Field(ge=8, le=4096)] = 512
    """Greatest width and height in px."""

    greatest_bytes: Annotated[int, Field(ge=1_000, le=1_000_000)] = 100_000
    """Greatest size of the file in bytes."""


class RetrainingRules(Settings):
    """`[retraining]`: when a new training is due, and how a trainer may hold a job."""

    new_labels: Annotated[int, Field(ge=1)] = 300
    """So many new labels make a training due."""
    new_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """But at least this share of the labels before them."""
    new_rare: Annotated[int, Field(ge=1)] = 40
    """So many new labels of `mask_worn_incorrectly` do as well."""
    stale_days: Annotated[int, Field(ge=1)] = 28
    """After so many days without a training fewer labels are enough."""
    stale_labels: Annotated[int, Field(ge=1)] = 100
    """So many new labels are enough then."""
    cool_down_s: Annotated[int, Field(ge=0)] = 24 * 3600
    """At least so many seconds between two trainings that nobody asked for."""
    lease_s: Annotated[int, Field(ge=5, le=3600)] = 120
    """A trainer that says nothing for so many seconds loses its job to the next that asks."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """So many trainers may fall silent over one job before it counts as failed."""
    check_every_s: Annotated[int, Field(ge=1, le=3600)] = 60
    """How often the rules are looked at, in s."""


class HttpsSettings(Settings):
    """`[https]`: the same site by TLS, for machines elsewhere."""

    port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Port of the TLS listener; 0 takes a free one and says which; absent: no such listener."""

    host: str = "0.0.0.0"  # noqa: S104 - made for other machines
    """Address the TLS listener has."""

    identity: Path | None = None
    """Folder with the server's `key.pem` and `certificate.pem`, made by `provisioning service web FOLDER --host NAME`."""

    @model_validator(mode="after")
    def _with_identity(self) -> Self:
        if self.port is not None and self.identity is None:
            raise ValueError(
                "a TLS listener needs an identity folder: set https.identity; `provisioning service web FOLDER --host "
                "NAME` makes one"
            )
        return self


class CloudSettings(Settings):
    """Everything `cloud` can be told; the defaults run a whole service in one folder."""

    broker: BrokerUrl = "mqtt://127.0.0.1:1883"
    """Where the doors' broker listens: `mqtts://HOST:PORT`; `mqtt://` only on this machine, for a quick try."""

    identity: Path | None = None
    """The cloud's identity folder, as `provisioning service cloud FOLDER` made it; for `mqtts`."""

    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "cloud-consumer"
    """The consumer's name at the broker; it owns the session that keeps messages while the consumer is away, so keep it."""

    session_expiry_s: Annotated[int, Field(ge=60, le=2**32 - 2)] = 14 * 24 * 3600
    """How long the broker keeps messages for an absent consumer, in s."""

    receive_maximum: Annotated[int, Field(ge=1, le=65_535)] = 1_000
    """Messages the broker may send ahead of our acknowledgements: what bounds the consumer's memory."""

    data: Path = Path("cloud-data")
    """Folder of everything that is stored here; made when missing."""

    database: Annotated[str, AfterValidator(_require_database_url)] = ""
    """SQLAlchemy URL, `sqlite:///PATH` or `postgresql+psycopg://...`; empty: `maskfleet.sqlite` in the data folder."""

    blobs: Path | None = None
    """Folder of the crops' pictures; absent: `blobs` in the data folder."""

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

    https: HttpsSettings = HttpsSettings()
    """The listener for machines elsewhere."""

    time_zone: Annotated[str, AfterValidator(_require_time_zone)] = "UTC"
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

    retraining: RetrainingRules = RetrainingRules()
    """When to train again."""

    @model_validator(mode="after")
    def _with_identity(self) -> Self:
        if self.broker_address.tls and self.identity is None:
            raise ValueError(
                "mqtts needs an identity folder: set identity; `provisioning service cloud FOLDER` makes one"
            )
        return self

    @property
    def database_url(self) -> str:
        """The database, the default filled in."""
        return self.database or f"sqlite:///{self.data / 'maskfleet.sqlite'}"

    @property
    def blob_folder(self) -> Path:
        """The folder of pictures, the default filled in."""
        return self.blobs or self.data / "blobs"

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
