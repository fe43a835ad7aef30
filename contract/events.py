"""What a door reports and what it hears back: passes, and the acknowledgement that they are stored."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from contract.errors import ContractError
from contract.identity import DeviceId
from contract.labels import Label
from contract.wire import SCHEMA_VERSION, Count, Instant, Ratio, SchemaVersion, Wire

EVENTS_LIMIT = 64 * 1024  # bytes of one events message
BATCH_LIMIT = 100  # events in one message

LineName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,38}$")]


class Direction(StrEnum):
    """Which way somebody passed; which side of the line is `in` is the door's configuration."""

    IN = "in"
    OUT = "out"


class Accelerator(StrEnum):
    """What ran the model; counts from a fallback are flagged, not hidden."""

    EDGE_TPU = "edgetpu"
    CPU = "cpu"


class PassEvent(Wire):
    """One person over the line once. Anonymous: no picture, no track, and no time finer than the device's setting."""

    id: UUID = Field(description="UUIDv7 made on the device; its clock bits are as coarse as `at`.")
    at: Instant = Field(description="When, UTC, coarsened on the device (one minute by default).")
    direction: Direction
    label: Label
    confidence: Ratio = Field(description="Share of the track's evidence that speaks for `label`.")
    release: Count = Field(description="Release number of the model that saw it.")
    accelerator: Accelerator
    boot: UUID = Field(description="The device's boot; with `sequence` it shows what is missing.")
    sequence: Count = Field(description="0, 1, 2, ... within one boot.")
    clock_synchronised: bool = Field(
        default=True, description="False where `at` is a guess, since the device never learnt the time in that boot."
    )
    line: LineName | None = Field(default=None, description="Which of a camera's lines; absent where it has only one.")


class EventBatch(Wire):
    """The payload of an `events` message."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    device: DeviceId
    events: Annotated[tuple[PassEvent, ...], Field(min_length=1, max_length=BATCH_LIMIT)]


class Refusal(Wire):
    """One letter that will never be stored."""

    id: UUID
    reason: Annotated[str, Field(max_length=300)]


class Acknowledgement(Wire):
    """The payload of an `acks` message: these letters are committed (or never will be); the device may forget them."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    stored: tuple[UUID, ...] = ()
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Sorted:
    """What came of one events message: the sound events, and the others with the reason against each."""

    events: tuple[PassEvent, ...]
    refused: tuple[Refusal, ...] = ()
    faults: tuple[str, ...] = ()  # faults without a readable id: nobody can be told


def sort_batch(payload: bytes, *, device: str) -> Sorted:
    """Decode an events message from `device`, one event at a time, so that a bad one does not take others with it.

    Raises ContractError where nothing in it can be used: too large, no JSON, another version, another device's.
    """
    if len(payload) > EVENTS_LIMIT:
        raise ContractError(f"{len(payload)} bytes, but at most {EVENTS_LIMIT} are allowed")
    try:
        return _whole(payload, device)
    except ContractError:
        return _piecewise(payload, device)


def _whole(payload: bytes, device: str) -> Sorted:
    batch = EventBatch.decode(payload, limit=EVENTS_LIMIT)
    if batch.device != device:
        raise ContractError("another device's events")
    return Sorted(batch.events)


def _piecewise(payload: bytes, device: str) -> Sorted:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"not JSON: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("events"), list) or not value["events"]:
        raise ContractError("not an events message: expected {schema_version, device, events: [...]}")
    if value.get("schema_version") != SCHEMA_VERSION:
        raise ContractError(f"schema version {str(value.get('schema_version'))[:20]!r} is not known here")
    if value.get("device") != device:
        raise ContractError(f"carries events of {str(value.get('device'))[:40]!r} under the name of {device}")
    if len(value["events"]) > BATCH_LIMIT:
        raise ContractError(f"{len(value['events'])} events in one message, but at most {BATCH_LIMIT} are allowed")
    events: list[PassEvent] = []
    refused: list[Refusal] = []
    faults: list[str] = []
    for item in value["events"]:
        try:
            events.append(PassEvent.from_parsed(item))
        except ContractError as error:
            known = _readable_id(item)
            if known:
                refused.append(Refusal(id=known, reason=str(error)[:300]))
            else:
                faults.append(str(error))
    return Sorted(tuple(events), tuple(refused), tuple(faults))


def _readable_id(item: Any) -> UUID | None:
    try:
        return UUID(item["id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
