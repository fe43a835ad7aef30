"""A message from a door, opened: what in it is sound, what is refused, and why; knows neither broker nor database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import NamedTuple
from uuid import UUID

from cloud.ingest.jpeg import Picture, require_plain_jpeg
from cloud.rules import PictureRules
from cloud.store.arrivals import MakeRow, Pass, Seen, Source
from contract.crops import CROP_LIMIT, HEADER_LIMIT, Crop, CropHeader
from contract.errors import ContractError
from contract.events import EVENTS_LIMIT, PassEvent, Refusal, sort_batch
from contract.fleet import REPORTED_LIMIT, Reported
from contract.health import HEALTH_LIMIT, Heartbeat
from contract.plain import PlainEvent, moment, origin, plain_events
from contract.topics import Channel, Topic

OLDEST = timedelta(days=30)
NEWEST = timedelta(minutes=5)
HEAD_BYTES = 4_000  # of a quarantined payload that are kept
CROP_BODY = ("at", "role", "window", "jpeg_digest", "model_digest")
UNFORESEEN = (
    ArithmeticError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)  # one message must not end the consumer
LIMITS = {
    Channel.EVENTS: EVENTS_LIMIT,
    Channel.CROPS: CROP_LIMIT,
    Channel.HEALTH: HEALTH_LIMIT,
    Channel.REPORTED: REPORTED_LIMIT,
}

_EMPTY = blake2b(digest_size=16)  # copied for each fingerprint: half the cost of a new one
_new = tuple.__new__  # a named tuple's own way is twice as slow


class Fault(StrEnum):
    """Why something went to quarantine, for counting."""

    TOPIC = "topic"  # not ours: another grammar, an unknown channel, a wrong shard
    OVERSIZED = "oversized"
    FOREIGN = "foreign"  # speaks of another device than the one it came from
    MALFORMED = "malformed"
    PICTURE = "picture"  # a crop whose JPEG is not the plain kind
    CONFLICT = "conflict"  # an id we have, with another body
    UNSTORABLE = "unstorable"  # the database will not take it
    FLOODING = "flooding"  # more than is opened of one door: only counted


class Message(NamedTuple):
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
class Shot:
    """A sound crop with its looked-at header."""

    crop: Crop
    picture: Picture
    at: datetime
    fingerprint: bytes

    @property
    def claimed_at(self) -> datetime | None:
        return None if self.at == self.crop.header.at else self.crop.header.at


class Parcel(NamedTuple):
    """One opened message."""

    message: Message
    device: str | None
    passes: tuple[Pass, ...] = ()
    shot: Shot | None = None
    heartbeat: Heartbeat | None = None
    reported: Reported | None = None
    refused: tuple[Refusal, ...] = ()
    misfit: Misfit | None = None
    plain: bool = False  # nothing but passes, dated by their door


def open_message(message: Message, now: datetime, *, pictures: PictureRules, make_row: MakeRow | None = None) -> Parcel:
    """Check everything the contract says about one message; never raises for what is in it."""
    try:
        topic = _parsed(message.topic)
    except ContractError as error:
        return Parcel(message, None, misfit=Misfit(Fault.TOPIC, str(error)))
    try:
        match topic.channel:
            case Channel.EVENTS:
                return _events(message, topic.device, now, make_row)
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
    except UNFORESEEN as error:
        return Parcel(message, topic.device, misfit=Misfit(Fault.MALFORMED, f"cannot be read: {type(error).__name__}"))


def counted_at(claimed: datetime, now: datetime) -> datetime:
    """The device's time where it can be true, else the cloud's own."""
    return claimed if now - OLDEST <= claimed <= now + NEWEST else now


def digest(message: Message) -> bytes:
    """What makes two deliveries of one message the same, 32 bytes."""
    return sha256(message.topic.encode(errors="replace") + b"\n" + message.payload).digest()


def _events(message: Message, device: str, now: datetime, make_row: MakeRow | None) -> Parcel:
    events = plain_events(message.payload, device)
    if events is not None:
        plain = _plain_passes(events, device, now, make_row)
        if plain is not None:
            return _new(Parcel, (message, device, plain, None, None, None, (), None, True))
    batch = sort_batch(message.payload, device=device)
    passes = [_pass(device, event, now, make_row) for event in batch.events]
    reasons = [refusal.reason for refusal in batch.refused] + list(batch.faults)
    misfit = None
    if reasons:
        whole = len(reasons) + len(passes)
        misfit = Misfit(Fault.MALFORMED, f"{len(reasons)} of {whole} events refused, first: {reasons[0]}", len(reasons))
    return Parcel(message, device, passes=tuple(passes), refused=batch.refused, misfit=misfit)


def _plain_passes(
    events: Sequence[PlainEvent], device: str, now: datetime, make_row: MakeRow | None
) -> tuple[Pass, ...] | None:
    """None where a part is not plain, or a time not one that can be true now."""
    oldest, newest = _bounds(now)
    passes = []
    for known, what, confidence, whence, sequence, synchronised, line in events:
        try:
            seen, seen_text = _seen(what)
            source, source_text = _source(whence)
        except ValueError:
            return None
        if not oldest <= seen.at <= newest:
            return None
        sure, number, line = synchronised == "true", int(sequence), line or ""
        fingerprint = _fingerprint(f"{device}\n{seen_text}\n{confidence}\n{source_text}\n{sequence}\n{sure}")
        row = (
            make_row(known, device, seen, source, line, confidence, number, sure, fingerprint, now)
            if make_row
            else None
        )
        passes.append(_new(Pass, (known, device, seen, source, line, confidence, number, sure, fingerprint, row)))
    return tuple(passes)


def _pass(device: str, event: PassEvent, now: datetime, make_row: MakeRow | None) -> Pass:
    seen = Seen.of(counted_at(event.at, now), event.at, event.direction.value, event.label.value)
    source = Source(event.release, event.accelerator.value, str(event.boot))
    text = "\n".join(
        (
            device,
            _body(seen),
            str(event.confidence),
            _origin(source),
            str(event.sequence),
            str(event.clock_synchronised),
        )
    )
    one = Pass(
        str(event.id), device, seen, source, event.line or "", str(event.confidence), event.sequence,
        event.clock_synchronised, _fingerprint(text),
    )  # fmt: skip
    return one._replace(row=make_row(*one[:9], now)) if make_row else one


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
    shot = Shot(crop, picture, counted_at(header.at, now), _crop_fingerprint(device, header))
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


def _body(seen: Seen) -> str:
    """What a fingerprint takes in: named one by one, so that a field added later makes no old event a conflict."""
    return f"{seen.claimed}\n{seen.direction}\n{seen.label}"


def _origin(source: Source) -> str:
    return f"{source.release}\n{source.accelerator}\n{source.boot}"


@lru_cache(maxsize=20_000)
def _seen(part: str) -> tuple[Seen, str]:
    """Of a part of a plain event, under the door's own time, and its text for the fingerprint; raises ValueError."""
    at, direction, label = moment(part)
    seen = Seen.of(at, at, direction, label)
    return seen, _body(seen)


@lru_cache(maxsize=20_000)
def _source(part: str) -> tuple[Source, str]:
    source = Source(*origin(part))
    return source, _origin(source)


@lru_cache(maxsize=64)
def _bounds(now: datetime) -> tuple[datetime, datetime]:
    return now - OLDEST, now + NEWEST


def _crop_fingerprint(device: str, header: CropHeader) -> bytes:
    return _fingerprint("\n".join([device, *(str(getattr(header, field)) for field in CROP_BODY)]))


def _fingerprint(text: str) -> bytes:
    fresh = _EMPTY.copy()
    fresh.update(text.encode())
    return fresh.digest()


@lru_cache(maxsize=20_000)
def _parsed(topic: str) -> Topic:
    """Known topics are not checked again; a broken one raises ContractError each time."""
    return Topic.parse(topic)


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
