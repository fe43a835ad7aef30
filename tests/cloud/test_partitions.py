"""Events by month on PostgreSQL: rows find their table, migrations move them both ways, months are made ahead."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, inspect, select, text

from cloud.store import schema
from cloud.store.database import migrate, open_database
from cloud.store.partitions import DEFAULT, first_id, known_months, make_coming_months, months_from, next_month
from contract.events import PassEvent
from rehearsal.postgres import Postgres
from tests.cloud.conftest import pass_event
from tests.cloud.test_ingest import Intake, events_message

NOW = datetime.now(UTC).replace(microsecond=0)
THIS_MONTH = NOW.replace(day=1, hour=0, minute=0, second=0)
FAR = datetime(NOW.year + 3, 5, 4, tzinfo=UTC)


@pytest.fixture
def fresh(postgres: Postgres) -> Iterator[Engine]:
    engine = open_database(postgres.new_database())
    yield engine
    engine.dispose()


def timed(moment: datetime, number: int) -> UUID:
    return UUID(int=first_id(moment).int | 7 << 76 | 2 << 62 | number)


def event(moment: datetime, number: int) -> PassEvent:
    return pass_event(number, id=timed(moment, number), at=NOW)


def tables_of(engine: Engine) -> dict[UUID, str]:
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(text("SELECT id, tableoid::regclass::text FROM events"))}


@pytest.mark.parametrize(
    ("month", "after"),
    [((2026, 1), (2026, 2)), ((2026, 11), (2026, 12)), ((2026, 12), (2027, 1)), ((2028, 2), (2028, 3))],
)
def test_after_a_month_comes_the_next(month: tuple[int, int], after: tuple[int, int]) -> None:
    assert next_month(datetime(*month, 1, tzinfo=UTC)) == datetime(*after, 1, tzinfo=UTC)


def test_events_lie_in_the_table_of_their_ids_month_and_odd_ids_in_the_default(fresh: Engine, tmp_path: Path) -> None:
    migrate(fresh)
    intake = Intake(fresh, tmp_path)
    odd = pass_event(2, id=UUID(int=5), at=NOW)
    intake.take(events_message("front", event(NOW, 0), event(FAR, 1), odd), now=NOW)
    name = f"events_{NOW:%Y_%m}"
    assert tables_of(fresh) == {timed(NOW, 0): name, timed(FAR, 1): DEFAULT, odd.id: DEFAULT}
    again = intake.take(events_message("front", event(NOW, 0), event(FAR, 1), odd), now=NOW)
    assert len(again.acknowledgements["front"].stored) == 3
    assert (intake.rows("events"), intake.hour_sum()) == (3, 3)


def test_the_migration_moves_events_both_ways(fresh: Engine, tmp_path: Path) -> None:
    migrate(fresh)
    intake = Intake(fresh, tmp_path)
    last_year = THIS_MONTH.replace(year=NOW.year - 1)
    sent = [
        event(moment, number) for number, moment in enumerate((NOW, FAR, last_year, datetime(1970, 1, 1, tzinfo=UTC)))
    ]
    intake.take(events_message("front", *sent), now=NOW)
    before = snapshot(fresh)
    assert len(before) == len(sent)
    migrate(fresh, "0004", down=True)
    assert snapshot(fresh) == before
    assert DEFAULT not in inspect(fresh).get_table_names()
    migrate(fresh)
    assert snapshot(fresh) == before
    places = tables_of(fresh)
    assert [places[one.id] for one in sent] == [
        f"events_{NOW:%Y_%m}", DEFAULT, f"events_{last_year:%Y_%m}", DEFAULT,
    ]  # fmt: skip


def snapshot(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        columns = [column for column in schema.events.c if column.name != "line"]  # which came later
        return [tuple(row) for row in connection.execute(select(*columns).order_by(schema.events.c.id))]


def test_the_coming_months_are_made_once_and_take_what_the_default_table_had_of_them(
    fresh: Engine, tmp_path: Path
) -> None:
    migrate(fresh)
    intake = Intake(fresh, tmp_path)
    intake.take(events_message("front", event(FAR, 1), event(NOW, 2)), now=NOW)
    assert make_coming_months(fresh, NOW) == []
    made = make_coming_months(fresh, FAR)
    assert made == [f"events_{month:%Y_%m}" for month in months_from(FAR, 4)]
    assert make_coming_months(fresh, FAR) == []
    assert tables_of(fresh) == {timed(FAR, 1): made[0], timed(NOW, 2): f"events_{NOW:%Y_%m}"}
    intake.take(events_message("front", event(FAR, 1)), now=NOW)
    assert intake.rows("events") == 2
    with fresh.connect() as connection:
        assert set(known_months(connection)) >= set(months_from(FAR, 4))


def test_no_event_is_stored_without_its_device_in_whatever_month(fresh: Engine, tmp_path: Path) -> None:
    migrate(fresh)
    make_coming_months(fresh, FAR)
    intake = Intake(fresh, tmp_path)
    for number, name in enumerate(("front", "back", "side")):
        intake.take(events_message(name, event(FAR, 2 * number), event(NOW, 2 * number + 1)), now=NOW)
    strangers = select(func.count()).select_from(schema.events).where(
        schema.events.c.device.not_in(select(schema.devices.c.name))
    )  # fmt: skip
    with fresh.connect() as connection:
        assert connection.execute(strangers).scalar_one() == 0
    assert intake.rows("events") == 6


def test_on_sqlite_there_is_nothing_to_make(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    migrate(engine)
    assert make_coming_months(engine, NOW) == []
    engine.dispose()
