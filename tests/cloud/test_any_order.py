"""Messages in any order, any number of times, in batches of any size: the tables come out the same."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message
from cloud.store import schema
from cloud.store.blobs import BlobFolder
from contract.labels import LABELS
from tests.cloud.conftest import pass_event
from tests.cloud.test_ingest import NOW, events_message, health_message, opened

DOORS = ("front", "back", "side")
TIMES = (
    NOW, NOW - timedelta(minutes=31), NOW - timedelta(hours=5), NOW - timedelta(days=29), NOW + timedelta(minutes=4),
    NOW + timedelta(days=400), datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, tzinfo=UTC),
)  # fmt: skip
EVENTS = {
    door: [
        pass_event(
            number, id=UUID(int=index << 64 | number + 1), at=TIMES[number % len(TIMES)], label=LABELS[number % 3],
            direction=("in", "out")[number % 2], boot=UUID(int=number % 2 + 1),
        )
        for number in range(16)
    ]
    for index, door in enumerate(DOORS)
}  # fmt: skip
MESSAGES = [
    *(events_message(door, *EVENTS[door][start : start + 4]) for door in DOORS for start in range(0, 16, 2)),
    *(health_message(door, boot=UUID(int=1), passes=15) for door in DOORS),
    Message("mf/v1/zz/front/events", b"{}"),
]
TABLES = (schema.events, schema.hours, schema.boots, schema.devices)


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[Message]]:
    """Every message at least once, some again, in any order, cut into batches anywhere."""
    again = draw(st.lists(st.sampled_from(MESSAGES), max_size=20))
    line = draw(st.permutations([*MESSAGES, *again]))
    cuts = sorted(draw(st.sets(st.integers(1, len(line) - 1), max_size=8)))
    return [list(line[start:end]) for start, end in zip([0, *cuts], [*cuts, len(line)], strict=True)]


def tables(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        content = {
            table.name: sorted(tuple(map(str, row)) for row in connection.execute(select(table))) for table in TABLES
        }
        content["quarantine"] = [(row[0],) for row in connection.execute(select(schema.quarantine.c.digest))]
    return content


def deliver(engine: Engine, folder: Path, batches: Sequence[Sequence[Message]]) -> dict[str, list[tuple[Any, ...]]]:
    with engine.begin() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            if table.name not in ("changes", "audit_head"):  # which have one row each
                connection.execute(delete(table))
    for messages in batches:
        ingest(engine, BlobFolder(folder), [opened(one) for one in messages], now=NOW)
    return tables(engine)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=deliveries())
def test_any_order_and_any_repetition_give_the_same_tables(
    engine: Engine, tmp_path: Path, batches: list[list[Message]]
) -> None:
    once = deliver(engine, tmp_path, [MESSAGES])
    assert len(once["events"]) == 48
    assert sum(int(row[-1]) for row in once["hours"]) == 48
    assert deliver(engine, tmp_path, batches) == once
