"""What the short way of reading passes accepts, the long way accepts, and reads the same in it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.events import BATCH_LIMIT, Accelerator, Acknowledgement, Direction, EventBatch, PassEvent, sort_batch
from contract.labels import Label
from contract.plain import moment, origin, plain_acknowledgement, plain_events

GOLDEN = sorted(Path("tests/golden").rglob("events*.json"))
COUNTS = st.integers(0, 10**15 - 1)
FIRST, LAST = datetime(2, 1, 1), datetime(9998, 12, 31)  # noqa: DTZ001 - bounds of times whose zone comes apart
passes = st.builds(
    PassEvent,
    id=st.uuids(), at=st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
    direction=st.sampled_from(Direction), label=st.sampled_from(Label),
    confidence=st.integers(0, 1_000).map(lambda share: share / 1_000), release=COUNTS,
    accelerator=st.sampled_from(Accelerator), boot=st.uuids(), sequence=COUNTS, clock_synchronised=st.booleans(),
    line=st.none() | st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,38}\Z"),
)  # fmt: skip
batches = st.lists(passes, min_size=1, max_size=4).map(lambda some: EventBatch(device="front", events=tuple(some)))
ONE = PassEvent(
    id=UUID(int=1), at=datetime(2026, 5, 4, 12, 30, tzinfo=UTC), direction="in", label="with_mask", confidence=0.125,
    release=3, accelerator="cpu", boot=UUID(int=2), sequence=7,
)  # fmt: skip
PLAIN = EventBatch(device="front", events=(ONE,)).encode()


def shortly(payload: bytes) -> tuple[PassEvent, ...] | None:
    """The events, or None where the short way is not taken."""
    found = plain_events(payload, "front")
    if found is None:
        return None
    events = []
    for known, what, confidence, whence, sequence, synchronised, line in found:
        try:
            seen, source = moment(what), origin(whence)
        except ValueError:
            return None
        event = PassEvent(
            id=UUID(known), at=seen.at, direction=seen.direction, label=seen.label, confidence=float(confidence),
            release=source.release, accelerator=source.accelerator, boot=UUID(source.boot), sequence=int(sequence),
            clock_synchronised=synchronised == "true", line=line,
        )  # fmt: skip
        assert (known, source.boot, confidence) == (str(event.id), str(event.boot), repr(event.confidence))
        events.append(event)
    return tuple(events)


@given(batches)
def test_what_a_door_writes_takes_the_short_way(batch: EventBatch) -> None:
    assert shortly(batch.encode()) == batch.events


@given(batches, st.data())
def test_a_spoilt_message_is_never_read_more_kindly_than_by_the_contract(
    batch: EventBatch, data: st.DataObject
) -> None:
    payload = bytearray(batch.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload)))
        end = data.draw(st.integers(at, min(len(payload), at + data.draw(st.sampled_from((0, 1, 1, 2, 40))))))
        pieces = st.binary(max_size=2) | st.sampled_from((b"0", b"9", b"{", b"}", b",", b'"', b"\n", b"]", b"\xc2\xb2"))
        payload[at:end] = data.draw(pieces | st.just(bytes(payload[at:end]) * 2))
    found = shortly(bytes(payload))
    if found is not None:
        read = sort_batch(bytes(payload), device="front")
        assert (read.events, read.refused, read.faults) == (found, (), ())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"sequence":7', b'"sequence":07'),
        (b'"sequence":7', b'"sequence":1e1'),
        (b'"sequence":7', b'"sequence":7,"sequence":8'),
        (b'"sequence":7', b'"sequence": 7'),
        (b'"sequence":7', b'"sequence":9007199254740992'),
        (b"0.125", b"0.120"),
        (b"0.125", b"1.125"),
        (b"0.125", b"0.0001"),
        (b"0.125", b"1"),
        (b"12:30:00Z", b"12:30:00+00:00"),
        (b"2026-05-04", b"2026-02-30"),
        (b"2026-05-04", "\N{FULLWIDTH DIGIT TWO}026-05-04".encode()),
        (b"with_mask", b"helmet"),
        (b'"front"', b'"back"'),
        (b"]}", b"]} "),
        (b"]}", b',"more":1]}'),
        (b"]}", b"],}"),
        (b"}]", b"},]"),
        (b'"clock_synchronised":true', b'"clock_synchronised":true,"line":""'),
    ],
)
def test_anything_else_takes_the_long_way(old: bytes, new: bytes) -> None:
    assert shortly(PLAIN) == (ONE,)
    assert shortly(PLAIN.replace(old, new, 1)) is None


def test_as_many_events_as_a_message_may_hold_and_no_more() -> None:
    event = json.dumps(ONE.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
    for number, short in ((BATCH_LIMIT, True), (BATCH_LIMIT + 1, False)):
        payload = f'{{"schema_version":1,"device":"front","events":[{",".join([event] * number)}]}}'.encode()
        assert (shortly(payload) is not None) is short


def test_every_golden_message_is_read_alike() -> None:
    assert GOLDEN
    for path in GOLDEN:
        payload = path.read_bytes().strip()
        device = json.loads(payload)["device"]
        short = shortly(payload.replace(device.encode(), b"front"))
        assert short is None or short == sort_batch(payload.replace(device.encode(), b"front"), device="front").events


@given(st.lists(st.uuids(), min_size=1))
@example([UUID(int=0)])
def test_an_acknowledgement_written_shortly_is_the_contracts_own(ids: list[UUID]) -> None:
    assert plain_acknowledgement(map(str, ids)) == Acknowledgement(stored=tuple(ids)).encode()
