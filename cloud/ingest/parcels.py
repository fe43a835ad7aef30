"""A message from a door, opened: what in it is sound, what is refused, and why; knows neither broker nor database."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b, sha256
from uuid import UUID

from cloud.config import PictureRules
from cloud.ingest.jpeg import Picture, require_plain_jpeg
from contract.crops import CROP_LIMIT, HEADER_LIMIT, Crop, CropHeader
from contract.errors import ContractError
from contract.events import EVENTS_LIMIT, PassEvent, Refusal, sort_batch
from contract.fleet import REPORTED_LIMIT, Reported
from contract.health import HEALTH_LIMIT, Heartbeat
from contract.topics import Channel, Topic

OLDEST = timedelta(days=30)
NEWEST = timedelta(minutes=5)
HEAD_BYTES = 4_000  # of a quarantined payload that are kept
EVENT_BODY = (
    "at", "direction", "label", "confidence", "release", "accelerator", "boot", "sequence", "clock_synchronised",
)  # fmt: skip
CROP_BODY = ("at", "role", "window", "jpeg_digest", "model_digest")
LIMITS = {
    Channel.EVENTS: EVENTS_LIMIT,
    Channel.CROPS: CROP_LIMIT,
    Channel.HEALTH: HEALTH_LIMIT,
    Channel.REPORTED: REPORTED_LIMIT,
}


class Fault(StrEnum):
    """Why something went to quarantine, for counting."""

    TOPIC = "topic"  # not ours: another grammar, an unknown channel, a wrong shard
    OVERSIZED = "oversized"
    FOREIGN = "foreign"  # speaks of another device than the one it came from
    MALFORMED = "malformed"
    PICTURE = "picture"  # a crop whose JPEG is not the plain kind
    CONFLICT = "conflict"  # an id we have, with another body
    UNSTORABLE = "unstorable"  # the database will not take it


@dataclass(frozen=True, slots=True)
class Message:
    """What came from the broker; `mid` and `session` are for the acknowledgement alone."""

    topic: str
    payload: bytes
    mid: int = 0
    qos: int = 1
    session: int = 0


@dataclass(frozen=True, slots=True)
class Misfit:
    """What goes to quarantine for one message."""

    kind: Fault
    reason: str
    things: int = 1


@dataclass(frozen=True, slots=True)
class Pass:
    """A sound event with the time it is counted under."""

    event: PassEvent
    at: datetime
    fingerprint: bytes

    @property
    def claimed_at(self) -> datetime | None:
        return None if self.at == self.event.at else self.event.at


@dataclass(frozen=True, slots=True)
class Shot:
    """A sound crop with its looked-at header."""

    crop: Crop
    picture: Picture
    at: datetime
    fingerprint: bytes

    @property
    def claimed_at(self) -> datetime | None:
        return None if self.at == self.crop.header.at else self.crop.header.at


@dataclass(frozen=True, slots=True)
class Parcel:
    """One opened message."""

    message: Message
    device: str | None
    passes: tuple[Pass, ...] = ()
    shot: Shot | None = None
    heartbeat: Heartbeat | None = None
    reported: Reported | None = None
    refused: tuple[Refusal, ...] = ()
    misfit: Misfit | None = None


def open_message(message: Message, *, now: datetime, pictures: PictureRules) -> Parcel:
    """Check everything the contract says about one message; never raises for what is in it."""
    try:
        topic = Topic.parse(message.topic)
    except ContractError as error:
        return Parcel(message, None, misfit=Misfit(Fault.TOPIC, str(error)))
    try:
        match topic.channel:
            case Channel.EVENTS:
                return _events(message, topic.device, now)
            case Channel.CROPS:
                return _crop(message, topic.device, now, pictures)
            case Channel.HEALTH:
                return _health(message, topic.device)
            case Channel.REPORTED:
                return _reported(message, topic.device)
            case other:
                return Parcel(message, topic.device, misfit=Misfit(Fault.TOPIC, f"nothing is expected on {other}"))
    except ContractError as error:
        return Parcel(message, topic.device, misfit=Misfit(_kind(message, topic), str(error)))


def counted_at(claimed: datetime, now: datetime) -> datetime:
    """The device's time where it can be true, else the cloud's own."""
    return claimed if now - OLDEST <= claimed <= now + NEWEST else now


def digest(message: Message) -> bytes:
    """What makes two deliveries of one message the same, 32 bytes."""
    return sha256(message.topic.encode(errors="replace") + b"\n" + message.payload).digest()


def _events(message: Message, device: str, now: datetime) -> Parcel:
    batch = sort_batch(message.payload, device=device)
    passes = tuple(Pass(event, counted_at(event.at, now), _fingerprint(device, event)) for event in batch.events)
    reasons = [refusal.reason for refusal in batch.refused] + list(batch.faults)
    misfit = None
    if reasons:
        whole = len(reasons) + len(passes)
        misfit = Misfit(Fault.MALFORMED, f"{len(reasons)} of {whole} events refused, first: {reasons[0]}", len(reasons))
    return Parcel(message, device, passes=passes, refused=batch.refused, misfit=misfit)


def _crop(message: Message, device: str, now: datetime, rules: PictureRules) -> Parcel:
    try:
        crop = Crop.decode(message.payload, device=device)
    except ContractError as error:
        known = _readable_id(message.payload)
        refused = (Refusal(id=known, reason=str(error)[:300]),) if known else ()
        kind = _kind(message, Topic(device, Channel.CROPS))
        return Parcel(message, device, refused=refused, misfit=Misfit(kind, str(error)))
    header = crop.header
    try:
        picture = require_plain_jpeg(
            crop.jpeg,
            least_side=rules.least_side,
            greatest_side=rules.greatest_side,
            greatest_bytes=rules.greatest_bytes,
        )
    except ContractError as error:
        refused = (Refusal(id=header.id, reason=str(error)[:300]),)
        return Parcel(message, device, refused=refused, misfit=Misfit(Fault.PICTURE, str(error)))
    shot = Shot(crop, picture, counted_at(header.at, now), _fingerprint(device, header))
    return Parcel(message, device, shot=shot)


def _health(message: Message, device: str) -> Parcel:
    heartbeat = Heartbeat.decode(message.payload, limit=HEALTH_LIMIT)
    if heartbeat.device != device:
        raise ContractError(f"carries the health of {heartbeat.device!r} under the name of {device}")
    return Parcel(message, device, heartbeat=heartbeat)


def _reported(message: Message, device: str) -> Parcel:
    reported = Reported.decode(message.payload, limit=REPORTED_LIMIT)
    if reported.device != device:
        raise ContractError(f"carries the report of {reported.device!r} under the name of {device}")
    return Parcel(message, device, reported=reported)


def _fingerprint(device: str, body: PassEvent | CropHeader) -> bytes:
    """Of the fields that make the body: named one by one, so that a field added later makes no old event a conflict."""
    fields = EVENT_BODY if isinstance(body, PassEvent) else CROP_BODY
    text = "\n".join([device, *(str(getattr(body, field)) for field in fields)])
    return blake2b(text.encode(), digest_size=16).digest()


def _kind(message: Message, topic: Topic) -> Fault:
    if len(message.payload) > LIMITS.get(topic.channel, 0):
        return Fault.OVERSIZED
    named = _first_object(message.payload).get("device")
    return Fault.FOREIGN if isinstance(named, str) and named != topic.device else Fault.MALFORMED


def _readable_id(payload: bytes) -> UUID | None:
    try:
        return UUID(str(_first_object(payload)["id"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _first_object(payload: bytes) -> dict[str, object]:
    """The JSON object a broken message begins with, if it is one."""
    whole = payload[:EVENTS_LIMIT]
    for text in (whole.split(b"\n", 1)[0][:HEADER_LIMIT], whole):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}
