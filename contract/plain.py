"""A short way to read events messages that are written as our own devices write them, without an object for each event."""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from contract.events import BATCH_LIMIT, EVENTS_LIMIT, Accelerator, Direction
from contract.labels import LABELS
from contract.wire import SCHEMA_VERSION

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_COUNT = "(?:0|[1-9][0-9]{0,14})"
_SECOND = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_read_event = re.compile(
    rf'\{{"id":"({_UUID})",'
    r'("at":"[^"]*","direction":"[^"]*","label":"[^"]*"),'  # these two are alike in many events: read once, and strictly
    r'"confidence":(0\.[0-9]{0,2}[1-9]|[01]\.0),'
    r'("release":[^"]*"accelerator":"[^"]*","boot":"[^"]*"),'
    rf'"sequence":({_COUNT}),"clock_synchronised":(true|false)(?:,"line":"([a-z0-9][a-z0-9-]{{0,38}})")?\}}'
).match
_read_moment = re.compile(
    f'"at":"({_SECOND})","direction":"({"|".join(Direction)})","label":"({"|".join(LABELS)})"'
).fullmatch
_read_origin = re.compile(
    f'"release":({_COUNT}),"accelerator":"({"|".join(Accelerator)})","boot":"({_UUID})"'
).fullmatch

PlainEvent = tuple[str, str, str, str, str, str, str | None]
"""Texts: id, `moment`'s part, confidence, `origin`'s part, sequence, true or false (the clock), line."""


class Moment(NamedTuple):
    """When and what was seen."""

    at: datetime
    direction: str
    label: str


class Origin(NamedTuple):
    """What saw it."""

    release: int
    accelerator: str
    boot: str


def plain_events(payload: bytes, device: str) -> list[PlainEvent] | None:
    """The events of a message from `device`; None where it is not written plainly: then `sort_batch` has to read it.

    Whatever is read here, and by `moment` and `origin` of its parts, `sort_batch` accepts, and reads the same in it.
    """
    head = _head(device)
    if not payload.startswith(head) or len(payload) > EVENTS_LIMIT:
        return None
    try:
        text = payload.decode("ascii")
    except UnicodeDecodeError:
        return None
    at, end = len(head), len(text) - 2
    events: list[PlainEvent] = []
    while found := _read_event(text, at, end):
        events.append(found.groups())  # type: ignore[arg-type]
        at = found.end()
        if at == end:
            return events if text[end:] == "]}" and len(events) <= BATCH_LIMIT else None
        if text[at] != ",":
            return None
        at += 1
    return None


def moment(part: str) -> Moment:
    """Read an event's second part; raises ValueError where it is not written plainly, or for a time that no calendar has."""
    found = _read_moment(part)
    if found is None:
        raise ValueError("not a plain time, direction and label")
    at, direction, label = found.groups()
    return Moment(datetime.fromisoformat(at), direction, label)


def origin(part: str) -> Origin:
    """Read an event's fourth part; raises ValueError where it is not written plainly."""
    found = _read_origin(part)
    if found is None:
        raise ValueError("not a plain release, accelerator and boot")
    release, accelerator, boot = found.groups()
    return Origin(int(release), accelerator, boot)


def plain_acknowledgement(stored: Iterable[str]) -> bytes:
    """`Acknowledgement(stored=...)`, encoded, of ids as `str` writes them."""
    ids = '","'.join(stored)
    return f'{{"schema_version":{SCHEMA_VERSION},"stored":["{ids}"],"refused":[]}}'.encode()


@lru_cache(maxsize=20_000)
def _head(device: str) -> bytes:
    return f'{{"schema_version":{SCHEMA_VERSION},"device":"{device}","events":['.encode()
