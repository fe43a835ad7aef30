"""Writers stopped in the middle of a transaction: PostgreSQL's locks keep them in one order, and erasures out meanwhile."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, select, text

from cloud.ingest.ingest import ingest
from cloud.store import schema
from cloud.store.blobs import BlobFolder
from cloud.store.database import migrate, open_database
from cloud.store.erasures import Erasure
from cloud.upkeep.erasing import erase
from contract.events import PassEvent
from rehearsal.postgres import Postgres
from rehearsal.processes import wait_until
from tests.cloud.conftest import pass_event
from tests.cloud.test_ingest import events_message, opened

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
HOURS = [NOW - timedelta(hours=number) for number in range(8)]
RNG = Random(1)
GATE = 77  # of an advisory lock
# Before each row of the hours it is written down which; before each but a transaction's first the gate must be open.
TRIGGER = f"""
    CREATE TABLE touched (place bigserial, hour timestamptz);
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO touched (hour) VALUES (NEW.hour);
        IF coalesce(nullif(current_setting('test.rows', true), ''), '0') >= TG_ARGV[0] THEN
            PERFORM pg_advisory_xact_lock_shared({GATE});
        END IF;
        PERFORM set_config('test.rows', '1', true);
        RETURN NEW;
    END $$;
    CREATE TRIGGER touch BEFORE INSERT ON hours FOR EACH ROW EXECUTE FUNCTION touch('%s')
"""


@pytest.fixture
def engine(postgres: Postgres) -> Iterator[Engine]:
    """With the row of the door, so that nobody waits for that."""
    opened_one = open_database(postgres.new_database())
    migrate(opened_one)
    yield opened_one
    opened_one.dispose()


def install(engine: Engine, *, from_row: int) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(TRIGGER % from_row)


def write(engine: Engine, folder: Path, passes: Sequence[PassEvent]) -> None:
    ingest(engine, BlobFolder(folder), [opened(events_message("front", *passes), NOW)], now=NOW)


def passes_of(hours: Sequence[datetime]) -> list[PassEvent]:
    """With ids of one month, as doors make them: others do not go straight into the table."""
    first = int(NOW.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62
    return [pass_event(number, at=at, id=UUID(int=first | RNG.getrandbits(60))) for number, at in enumerate(hours)]


def counted(engine: Engine) -> int:
    with engine.connect() as connection:
        return sum(connection.execute(select(schema.hours.c.passes)).scalars())


@contextmanager
def shut_gate(engine: Engine) -> Iterator[None]:
    """Whoever comes to it waits until this ends."""
    with engine.connect() as holder:
        holder.execute(text(f"SELECT pg_advisory_lock({GATE})"))
        yield
        holder.execute(text(f"SELECT pg_advisory_unlock({GATE})"))


def waiting(engine: Engine) -> int:
    """How many sessions of this database wait for a lock of any sort."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


class Job:
    """Something in a thread of its own, and what it raised."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.raised: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(act,))
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(30)
        assert self.done

    def _run(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - a thread's fault is told to the test
            self.raised = error


def test_two_writers_of_the_same_hours_in_opposite_order_do_not_wait_in_a_ring(engine: Engine, tmp_path: Path) -> None:
    """Each is stopped between its first row and its second; had they taken different first ones, one would be killed."""
    write(engine, tmp_path, passes_of(HOURS[:2]))
    install(engine, from_row=1)
    with shut_gate(engine):
        one = Job(lambda: write(engine, tmp_path, passes_of(HOURS[:2])))
        wait_until(lambda: waiting(engine) == 1, within_s=20, what="the first writer at the gate")
        two = Job(lambda: write(engine, tmp_path, passes_of(HOURS[1::-1])))
        wait_until(lambda: waiting(engine) == 2, within_s=20, what="the second writer behind it")
    one.join()
    two.join()
    assert (one.raised, two.raised) == (None, None)
    assert counted(engine) == 6


@pytest.mark.parametrize("way", ["all are new", "one is known"])
def test_hours_are_taken_in_the_order_of_their_key(engine: Engine, tmp_path: Path, way: str) -> None:
    """On both ways: COPY into the table itself, and through the temporary one."""
    known = pass_event(99, at=HOURS[5])
    write(engine, tmp_path, [known])
    install(engine, from_row=1)
    more = [known] if way == "one is known" else []
    write(engine, tmp_path, [*passes_of([HOURS[number] for number in (3, 7, 0, 5, 1, 6, 2, 4)]), *more])
    with engine.connect() as connection:
        order = list(connection.execute(text("SELECT hour FROM touched ORDER BY place")).scalars())
    assert order == [at.replace(minute=0) for at in sorted(HOURS)]


def test_an_erasure_waits_for_the_writer_that_has_already_looked_for_erasures(engine: Engine, tmp_path: Path) -> None:
    """The writer is stopped after its look and before its commit; its passes must be among those that are erased."""
    write(engine, tmp_path, passes_of(HOURS[:1]))
    install(engine, from_row=0)
    wanted = Erasure(uuid4(), "front", None, None, NOW + timedelta(minutes=1), events=True, asked_at=NOW)
    with shut_gate(engine):
        writer = Job(lambda: write(engine, tmp_path, passes_of(HOURS[:2])))
        wait_until(lambda: waiting(engine) == 1, within_s=20, what="the writer at the gate")
        eraser = Job(lambda: erase(engine, BlobFolder(tmp_path), tmp_path / "journal", wanted, NOW))
        wait_until(lambda: waiting(engine) == 2 or eraser.done, within_s=20, what="the erasure behind it")
    writer.join()
    eraser.join()
    assert (writer.raised, eraser.raised) == (None, None)
    assert counted(engine) == 0
    with engine.connect() as connection:
        assert connection.execute(select(schema.events.c.id)).all() == []
