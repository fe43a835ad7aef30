import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ContractError
from contract.events import BATCH_LIMIT, EVENTS_LIMIT, EventBatch, sort_batch

EVENT: dict[str, Any] = {
    "id": "019ab3c4-0000-7000-8000-000000000001", "at": "2026-11-24T08:15:00Z", "direction": "in", "label": "with_mask",
    "confidence": 0.9, "release": 1, "accelerator": "cpu", "boot": "6f1d8a52-8e1f-4a8e-9f14-2f8f2c1b7a10", "sequence": 0,
}  # fmt: skip


def message(*events: Any, device: str = "door-1", **fields: Any) -> bytes:
    return json.dumps({"schema_version": 1, "device": device, "events": list(events), **fields}).encode()


def event(number: int = 1, **fields: Any) -> dict[str, Any]:
    return EVENT | {"id": f"019ab3c4-0000-7000-8000-{number:012}"} | fields


def test_unknown_fields_are_ignored_so_that_old_and_new_can_meet() -> None:
    found = sort_batch(message(event(mood="good"), colour="red"), device="door-1")
    assert len(found.events) == 1
    assert "mood" not in found.events[0].model_dump()


def test_one_bad_event_does_not_take_the_others_with_it() -> None:
    found = sort_batch(message(event(1), event(2, label="visor"), event(3)), device="door-1")
    assert [one.id.int & 0xFF for one in found.events] == [1, 3]
    (refusal,) = found.refused
    assert str(refusal.id).endswith("2")
    assert "label" in refusal.reason
    assert found.faults == ()


def test_a_bad_event_without_an_id_is_told_apart_from_a_refusal() -> None:
    found = sort_batch(message(event(1), {"id": "no"}, 7), device="door-1")
    assert len(found.events) == 1
    assert found.refused == ()
    assert len(found.faults) == 2


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"confidence": 1.5}, "confidence"),
        ({"confidence": "NaN"}, "confidence"),
        ({"at": "2026-11-24T08:15:00"}, "at"),
        ({"at": "yesterday"}, "at"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": 2**60}, "sequence"),
        ({"direction": "up"}, "direction"),
        ({"label": "<script>"}, "label"),
        ({"accelerator": "gpu"}, "accelerator"),
        ({"boot": "x"}, "boot"),
    ],
)
def test_a_field_out_of_bounds_is_refused_by_name(fields: dict[str, Any], fault: str) -> None:
    (refusal,) = sort_batch(message(event(**fields)), device="door-1").refused
    assert refusal.reason.startswith(fault)


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", "not JSON"),
        (b"\xff\xd8\xff\xe0", "not JSON"),
        (b"[" * 100_000, "at most|not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[]", "not an events message"),
        (message(), "not an events message"),
        (message(EVENT, device="door-2"), "under the name of door-1"),
        (message(EVENT, schema_version=2), "schema version '2'"),
        (message(*[{}] * (BATCH_LIMIT + 1)), f"at most {BATCH_LIMIT}"),
        (b"x" * (EVENTS_LIMIT + 1), "at most"),
        (
            b'{"schema_version":1,"device":"door-1","events":[{"confidence":1e400}]}'.replace(b"events", b"evs"),
            "not an events",
        ),
    ],
)
def test_a_message_that_cannot_be_used_is_refused_whole(payload: bytes, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        sort_batch(payload, device="door-1")


@given(st.binary(max_size=2000))
def test_any_bytes_are_either_events_or_refused(payload: bytes) -> None:
    try:
        found = sort_batch(payload, device="door-1")
    except ContractError:
        return
    assert found.events or found.refused or found.faults


def test_a_batch_carries_what_was_put_in() -> None:
    batch = EventBatch.from_parsed(json.loads(message(event(1), event(2))))
    assert sort_batch(batch.encode(), device="door-1").events == batch.events
