"""Two consumers that share, as real processes: one is killed and comes back, and every pass is there once."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import Engine, select

from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message
from cloud.store import schema
from cloud.store.blobs import BlobFolder
from cloud.store.store import Store
from contract.events import PassEvent
from contract.topics import Channel, every, shared
from rehearsal.processes import Child, wait_until
from tests.cloud.conftest import Door, StartCloud, pass_event, wait_for_log
from tests.cloud.test_consumer import hour_sum, send_batches, stored
from tests.cloud.test_ingest import events_message, health_message, opened

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


def test_a_shared_filter_is_spelt_as_mqtt_5_says() -> None:
    assert shared("cloud", every(Channel.EVENTS)) == "$share/cloud/mf/v1/+/+/events"


def test_two_consumers_that_share_lose_and_double_nothing_when_one_is_killed(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud
) -> None:
    def start(name: str) -> Child:
        child = start_cloud("consume", database=database_url, client_id=name, share="both", batch_wait_ms=1)
        wait_for_log(child, "connected to the broker")
        return child

    first, _second = start("one"), start("two")
    sent: set[UUID] = set()
    for _ in range(3):
        before = stored(engine)
        sent |= send_batches(door, 80, 5)
        wait_until(lambda floor=before: stored(engine) > floor, within_s=20, what="the first commits")  # type: ignore[misc]
        first.kill()
        sent |= send_batches(door, 20, 5)
        first = start("one")
    wait_until(lambda: set(door.stored) == sent, within_s=60, what="the acknowledgement of every pass")
    assert (stored(engine), hour_sum(engine)) == (len(sent), len(sent))
    assert Store(engine).quarantine_counts() == ()
    assert {one.name for one in Store(engine).consumers()} == {"one", "two"}


def test_a_session_that_did_not_share_before_does_not_get_everything_besides_its_share(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud
) -> None:
    alone = start_cloud("consume", database=database_url, client_id="one")
    wait_for_log(alone, "connected to the broker")
    alone.stop()
    for name in ("one", "two"):
        wait_for_log(
            start_cloud("consume", database=database_url, client_id=name, share="both"), "connected to the broker"
        )
    sent = send_batches(door, 40, 2)
    wait_until(lambda: set(door.stored) == sent, within_s=20, what="every acknowledgement")
    assert len(door.stored) == len(sent)


Job = Callable[[], None]


def at_once(*jobs: Job) -> list[BaseException]:
    """Run them in threads that start together; returns what they raised."""
    raised: list[BaseException] = []
    together = threading.Barrier(len(jobs))

    def work(job: Job) -> None:
        together.wait()
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - it is looked at in the test's thread
            raised.append(error)

    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("seed", range(3))
def test_writers_of_the_same_rows_in_any_order_wait_for_each_other_and_none_fails(
    engine: Engine, tmp_path: Path, seed: int
) -> None:
    """Passes, heartbeats and last wills of the same doors from two sides, shuffled: a ring of locks would end one of them."""
    rng, blobs, numbers = Random(seed), BlobFolder(tmp_path), count()
    names = [f"door-{number}" for number in range(12)]

    def messages(side: int) -> list[Message]:
        at = NOW - timedelta(
            hours=side
        )  # hours of its own, or whoever has the first hour's row would keep the others out
        made = [events_message(name, *(pass_event(next(numbers), at=at) for _ in range(2))) for name in names]
        made += [health_message(name, passes=20) for name in rng.sample(names, 8)]
        made += [health_message(name, state="offline", at=None) for name in rng.sample(names, 4)]
        made += [Message(f"mf/v1/zz/{name}/events", b"{}") for name in rng.sample(names, 4)]
        return rng.sample(made, len(made) * 2 // 3)

    def writer(batches: Sequence[Sequence[Message]]) -> Job:
        def job() -> None:
            for one in batches:
                ingest(engine, blobs, [opened(message, NOW) for message in one], now=NOW)

        return job

    work = [[messages(side) for _ in range(25)] for side in range(3)]
    assert at_once(*(writer(batches) for batches in work)) == []
    sent = {one.id for batches in work for some in batches for m in some for one in opened(m, NOW).passes}
    assert stored(engine) == hour_sum(engine) == len(sent)
    with engine.connect() as connection:
        assert sum(connection.execute(select(schema.boots.c.stored)).scalars()) == len(sent)


def test_late_and_early_passes_from_two_writers_meet_in_one_hour(engine: Engine, tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    hours = [NOW - timedelta(hours=number) for number in range(24)]

    def writer(order: Sequence[datetime], first: int) -> Job:
        passes: list[PassEvent] = [pass_event(first + number, at=at) for number, at in enumerate(order)]

        def job() -> None:
            for one in passes:
                ingest(engine, blobs, [opened(events_message("front", one), NOW)], now=NOW)

        return job

    assert at_once(writer(hours, 0), writer(hours[::-1], 24)) == []
    counts = Store(engine).hour_counts(NOW - timedelta(days=2), NOW + timedelta(hours=1))
    assert [one.passes for one in counts] == [2] * 24
