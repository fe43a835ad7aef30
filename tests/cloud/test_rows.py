"""A pass's row made ahead of the transaction is the row that would be made in it, on both databases."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select

from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, open_message
from cloud.rules import PictureRules
from cloud.store import copying, schema, tuples
from cloud.store.arrivals import MakeRow, Pass
from cloud.store.blobs import BlobFolder
from cloud.store.writing import row_maker
from tests.cloud.conftest import pass_event
from tests.cloud.test_ingest import NOW, at, events_message

NOW_ID = int(NOW.timestamp() * 1000) << 80


def test_a_row_made_ahead_is_the_row_that_is_made_late(engine: Engine, tmp_path: Path) -> None:
    make_row, blobs = row_maker(engine), BlobFolder(tmp_path)
    events = [
        pass_event(0, at=at(-1)),
        pass_event(1, at=at(60), confidence=0.1 + 0.2),
        pass_event(2, clock_synchronised=False),
    ]

    def stored(make: MakeRow | None) -> list[dict[str, Any]]:
        parcels = [
            open_message(events_message("front", one), now=NOW, pictures=PictureRules(), make_row=make)
            for one in events
        ]
        assert [bool(parcel.passes[0].row) for parcel in parcels] == [make is not None] * 3
        ingest(engine, blobs, parcels, now=NOW)
        with engine.begin() as connection:
            query = select(schema.events).order_by(schema.events.c.sequence)
            rows = [dict(row) for row in connection.execute(query).mappings()]
            connection.execute(delete(schema.events))
        return rows

    ahead, late = stored(make_row), stored(None)
    assert ahead == late
    assert [
        tuple(row[name] for name in ("id", "at", "claimed_at", "confidence", "clock_synchronised")) for row in ahead
    ] == [
        (events[0].id, events[0].at, None, 0.9, True),
        (events[1].id, NOW, events[1].at, 0.1 + 0.2, True),
        (events[2].id, NOW, events[2].at, 0.9, False),
    ]


@given(
    ages=st.lists(
        st.sampled_from((0, 1, 60 * 24 * 29, 60 * 24 * 31, -4, -6, 60 * 24 * 365 * 40)), min_size=1, max_size=5
    ),
    confidence=st.sampled_from((0.0, 1.0, 0.5, 0.123, 0.001)),
    line=st.sampled_from((None, "left")),
    synchronised=st.booleans(),
)
def test_a_pass_read_the_short_way_is_the_pass_read_the_long_way(
    ages: list[int], confidence: float, line: str | None, synchronised: bool
) -> None:
    events = [
        pass_event(
            number, at=NOW - timedelta(minutes=age), confidence=confidence, line=line, clock_synchronised=synchronised
        )
        for number, age in enumerate(ages)
    ]
    written = events_message("front", *events)
    spaced = Message(written.topic, json.dumps(json.loads(written.payload)).encode())
    for make_row in (copying.row, tuples.row):
        short, long = (
            open_message(one, now=NOW, pictures=PictureRules(), make_row=make_row) for one in (written, spaced)
        )
        assert short.plain is all(-5 <= age <= 60 * 24 * 30 for age in ages)
        assert not long.plain
        assert [comparable(one) for one in short.passes] == [comparable(one) for one in long.passes]


def comparable(one: Pass) -> tuple[Any, ...]:
    seen = (one.seen.at, one.seen.claimed, one.seen.hour, one.seen.direction, one.seen.label)
    return (*one[:2], seen, (one.source.release, one.source.accelerator, one.source.boot), *one[4:])


def test_fingerprints_stay_those_that_are_stored() -> None:
    event = pass_event(5, id=UUID(int=9), at=at(-1), confidence=0.9)
    parcel = open_message(events_message("front", event), now=NOW, pictures=PictureRules())
    assert parcel.passes[0].fingerprint.hex() == "dd36e43bddb0e8fa9051ed04b88b2aed"


def test_a_batch_half_of_which_is_stored_counts_the_other_half(engine: Engine, tmp_path: Path) -> None:
    events = [pass_event(number, id=UUID(int=NOW_ID + 7 * number % 40), at=at(-1)) for number in range(40)]
    make_row, blobs = row_maker(engine), BlobFolder(tmp_path)
    for some, stored in ((events[::2], 20), (events, 40), (events, 40), (events[:3], 40)):
        message = events_message("front", *some)
        ingest(engine, blobs, [open_message(message, now=NOW, pictures=PictureRules(), make_row=make_row)], now=NOW)
        with engine.connect() as connection:
            counted = connection.execute(select(func.sum(schema.hours.c.passes))).scalar_one()
            tallied = connection.execute(select(schema.boots.c.stored, schema.boots.c.expected)).one()
            rows = connection.execute(select(func.count()).select_from(schema.events)).scalar_one()
        assert (counted, tallied, rows) == (stored, (stored, 39 if stored == 20 else 40), stored)
