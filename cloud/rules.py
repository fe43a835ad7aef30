"""The tables of the cloud's settings, one class each; `cloud.config` puts them together."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from contract.home import DEFAULT_PREFIX, Prefix
from contract.settings import LOOPBACK, Settings


def _require_site_address(text: str) -> str:
    return _require_web(text.rstrip("/"), "write the site's address as https://HOST[:PORT]", bare=True)


def _require_issuer(text: str) -> str:
    return _require_web(text, "write the issuer as https://HOST/..., exactly as the provider does", bare=False)


def _require_web(text: str, what: str, *, bare: bool) -> str:
    """Https, or http on this machine; empty is fine."""
    try:
        parts = urlsplit(text)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        sound = safe and parts.hostname and "@" not in parts.netloc and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if text and (not sound or parts.query or parts.fragment or (bare and parts.path)):
        raise ValueError(f"{what} (http:// on this machine alone), not {text[:80]!r}")
    return text


def _require_webhook(url: str) -> str:
    parts = urlsplit(url)
    fine = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    try:
        fine = fine and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine or "@" in parts.netloc or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("write a webhook as https://HOST/PATH; http:// only for this machine itself; no user, no #")
    return url


def _require_email(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}", text):
        raise ValueError(f"{text[:60]!r} is no e-mail address")
    return text


WebhookUrl = Annotated[str, Field(max_length=400), AfterValidator(_require_webhook)]
EmailAddress = Annotated[str, AfterValidator(_require_email)]


class PictureRules(Settings):
    """What a crop's JPEG header may say before anybody decodes it."""

    least_side: Annotated[int, Field(ge=1)] = 8
    """Least width and height in px."""

    greatest_side: Annotated[int, Field(ge=8, le=4096)] = 512
    """Greatest width and height in px."""

    greatest_bytes: Annotated[int, Field(ge=1_000, le=1_000_000)] = 100_000
    """Greatest size of the file in bytes."""


class MeterRules(Settings):
    """`[metering]`: how much of one door the consumer puts up with, so that the others are answered in time."""

    enabled: bool = True
    """Off: every message is opened, whoever sends it."""

    misfits: Annotated[int, Field(ge=1, le=100_000)] = 100
    """So many messages that break the contract are opened and kept of a door, in each channel; a long one counts for several."""

    misfits_a_minute: Annotated[float, Field(gt=0, le=60_000)] = 12
    """And so many a minute after that."""

    cool_down_s: Annotated[float, Field(ge=1, le=86_400)] = 60
    """Once it has sent more, nothing of that door and channel is opened for so many seconds: it is only counted, as `flooding`."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """While messages wait, the most of `receive_maximum` that may wait for one door and channel, but never under 500, which is
    more than a door sends without an answer. What comes beyond is not opened, and the door, unanswered, sends it again."""


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


class AlertSettings(Settings):
    """`[alerts]`: what counts as trouble, and who hears of it."""

    coverage_line: Annotated[float, Field(gt=0, le=1)] | None = 0.8
    """A door that looked at less than this share of today's opening hours is in trouble."""
    compliance_line: Annotated[float, Field(gt=0, le=1)] | None = None
    """So is one whose share of properly worn masks lies below this, its whole 95 % interval; absent: nobody hears of it."""
    compliance_hours: Annotated[int, Field(ge=1, le=24 * 31)] = 24
    """Over so many hours."""
    compliance_passes: Annotated[int, Field(ge=20)] = 100
    """And over so many passes at least."""
    certificate_days: Annotated[int, Field(ge=1, le=90)] = 14
    """Certificates, the doors' and the cloud's own, are to be renewed so many days before they end."""
    watched: tuple[Path, ...] = ()
    """Certificates and revocation lists of others on this machine that are watched too: the broker's `certificate.pem` and `crl.pem`."""
    webhooks: tuple[WebhookUrl, ...] = ()
    """`https://...` addresses that get every message as JSON by POST; `http://` only on this machine."""
    webhook_secret: Path | None = None
    """File whose content, 16 bytes or more, signs them: HMAC-SHA256 in `X-Maskfleet-Signature`. Needed for webhooks."""
    private_addresses: bool = False
    """Let webhooks go to private networks too."""
    email_to: tuple[EmailAddress, ...] = ()
    """Who gets every message by e-mail."""
    email_from: EmailAddress = "maskfleet@localhost"
    """Who sends it."""
    smtp_host: str = ""
    """The mail server; needed for e-mail."""
    smtp_port: Annotated[int, Field(ge=1, le=65_535)] = 587
    """Its port."""
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none` only on this machine."""
    smtp_user: str = ""
    """Whom to log in as; empty: nobody."""
    smtp_password: Path | None = None
    """File with the password."""
    ca: Path | None = None
    """PEM file of an authority to trust for webhooks and the mail server, beside the system's."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.webhooks and self.webhook_secret is None:
            raise ValueError("webhooks are signed: set alerts.webhook_secret to a file with 16 random bytes or more")
        if self.email_to and not self.smtp_host:
            raise ValueError("e-mail needs a mail server: set alerts.smtp_host")
        if self.smtp_host and self.smtp_tls == "none" and self.smtp_host not in LOOPBACK:
            raise ValueError("mail without TLS is for this machine alone: set alerts.smtp_tls to starttls or tls")
        return self


class RetentionRules(Settings):
    """`[retention]`: how long what is here; every term counts from the moment it came here."""

    unlabelled_days: Annotated[int, Field(ge=1, le=365)] = 14
    """The picture of a crop that nobody labelled is deleted after so many days."""
    labelled_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """A labelled one after so many days, in a snapshot or not; more than 30 is for the operator to answer for."""
    row_days: Annotated[int, Field(ge=30, le=3_650)] = 60
    """What a door said of a crop without a label, its picture long gone, after so many days; labelled ones stay."""
    event_days: Annotated[int, Field(ge=60, le=3_650)] | None = None
    """Passes, but not their hour counts, after so many days (on PostgreSQL by whole months, so up to 31 days later); passes
    that come later than that are not counted. Absent: they stay."""
    quarantine_days: Annotated[int, Field(ge=1, le=365)] = 30
    """What is kept of messages that broke the contract: they may hold anything, a picture too."""
    consumer_days: Annotated[int, Field(ge=1, le=365)] = 30
    """A consumer that has given no sign of life for so many days is no longer listed."""
    check_every_s: Annotated[int, Field(ge=1, le=86_400)] = 600
    """How often it is looked what is due, in s."""


class S3Settings(Settings):
    """`[s3]`: how to speak to the object store of `blobs = "s3://..."`; credentials come by boto3's own chain."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s@]+)?$")] = ""
    """Address of a store that is not Amazon's, like `https://minio.example.org`; empty: Amazon's."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,40}$")] = ""
    """Region; empty: as boto3 finds it."""

    encryption: Annotated[str, Field(pattern=r"^(AES256|aws:kms|none)$")] = "AES256"
    """Encryption at rest that is asked for with every picture: `AES256`, `aws:kms`; `none` for a store that has none to offer."""

    kms_key: str = ""
    """Id of the key for `aws:kms`; empty: the account's own."""

    presign_s: Annotated[int, Field(ge=0, le=3_600)] = 60
    """A trainer fetches pictures from the store itself, by addresses good for so many seconds; 0: from the site, as pages do."""

    @model_validator(mode="after")
    def _key_goes_with_kms(self) -> Self:
        if self.kms_key and self.encryption != "aws:kms":
            raise ValueError('s3.kms_key goes with s3.encryption = "aws:kms"')
        return self


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


class AccountRules(Settings):
    """`[accounts]`: who may look, and for how long a browser stays signed in."""

    address: Annotated[str, AfterValidator(_require_site_address)] = ""
    """The site's address as browsers write it, `https://HOST[:PORT]`, for the links that people get; empty: `http://` with `host` and `port`."""

    idle_s: Annotated[int, Field(ge=60)] = 8 * 3600
    """A browser that asked for nothing for so many seconds is signed out; an open page keeps asking."""

    session_s: Annotated[int, Field(ge=60)] = 7 * 24 * 3600
    """Nobody stays signed in for longer than so many seconds."""

    public_counts: bool = False
    """Whether the first page, with its counts and doors, is open to everybody who reaches it."""


class OidcRules(Settings):
    """`[oidc]`: signing in by an OpenID Connect provider (needs the extra `cloud-oidc`)."""

    issuer: Annotated[str, AfterValidator(_require_issuer)] = ""
    """The provider's issuer, `https://...`, exactly as it writes it itself; empty: no such way in."""

    client_id: str = ""
    """This site's name at the provider; its redirect address there is `ADDRESS/sign-in/oidc/back`."""

    secret_file: Path | None = None
    """File with the client's secret; absent: a public client, which PKCE alone protects."""

    role_claim: str = "groups"
    """The claim of the id token that says what somebody may do here; a text or a list of texts."""

    roles: dict[str, Literal["viewer", "labeller", "operator", "admin"]] = Field(default_factory=dict)
    """What each value of that claim becomes here, for example `{ "mask-admins" = "admin" }`; the highest counts, none is refused."""

    name_claim: str = "preferred_username"
    """The claim that becomes the account's name, once."""

    button: str = "Sign in with your organisation"
    """What the button on the sign-in page says."""


class HomeAssistantSettings(Settings):
    """`[home_assistant]`: doors as devices in Home Assistant, over the same broker."""

    enabled: bool = False
    """Announce every door. The broker must let us: `provisioning broker ... --home-assistant PREFIX`."""

    prefix: Prefix = DEFAULT_PREFIX
    """Its discovery prefix."""
