"""A month of passes that has had its time goes as a table, and what goes is what deleting row by row would take."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import Engine, inspect, select, text

from cloud.rules import RetentionRules
from cloud.store import partitions, schema
from cloud.store.blobs import BlobFolder
from cloud.store.database import migrate, open_database
from cloud.store.erasures import Erasure
from cloud.store.partitions import DEFAULT, first_id, make_coming_months, next_month
from cloud.upkeep.erasing import erase
from cloud.upkeep.housekeeper import Housekeeper
from contract.events import PassEvent
from rehearsal.postgres import Postgres
from rehearsal.processes import wait_until
from tests.cloud.conftest import pass_event
from tests.cloud.keeping_kit import Site, days, pass_message
from tests.cloud.test_partitions import tables_of

MAY, JUNE, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6, 7))
RULES = RetentionRules(event_days=60)
DUE = JUNE + days(60)  # from here on all of May has had its time


@pytest.fixture
def site(postgres: Postgres, tmp_path: Path) -> Iterator[Site]:
    engine = open_database(postgres.new_database())
    migrate(engine)
    make_coming_months(engine, MAY)
    yield Site(engine, BlobFolder(tmp_path / "blobs"), RULES)
    engine.dispose()


def event(moment: datetime, number: int, **changes: object) -> PassEvent:
    known = UUID(int=first_id(moment).int | 7 << 76 | 2 << 62 | number)
    return pass_event(number, **{"id": known, "at": moment, **changes})


def keep_house(site: Site, now: datetime) -> dict[str, int]:
    return Housekeeper(site.engine, site.blobs, RULES).turn(now)


def ids(engine: Engine) -> set[UUID]:
    with engine.connect() as connection:
        return set(connection.execute(select(schema.events.c.id)).scalars())


def test_a_month_goes_when_its_last_pass_has_had_its_time_and_not_before(site: Site) -> None:
    sent = [event(MAY + days(day), day) for day in range(31)] + [event(JUNE, 40)]
    for one in sent:
        site.take(pass_message("front", one), now=one.at)
    assert "passes" not in keep_house(site, DUE - timedelta(seconds=1))
    assert site.rows("events") == 32
    assert keep_house(site, DUE)["passes"] == 31
    assert ids(site.engine) == {sent[-1].id}
    assert "events_2026_05" not in inspect(site.engine).get_table_names()
    assert site.passes() == 32  # hour counts stay
    assert "passes" not in keep_house(site, DUE + days(1))


def test_what_came_again_after_its_month_went_is_not_counted_twice(site: Site) -> None:
    sent = [event(MAY + days(3), number) for number in range(5)]
    site.take(pass_message("front", *sent), now=MAY + days(3))
    keep_house(site, DUE)
    outcome = site.take(pass_message("front", *sent), now=DUE)
    assert len(outcome.acknowledgements["front"].stored) == 5
    assert (site.rows("events"), site.passes()) == (0, 5)


def test_what_came_late_for_a_month_moves_and_goes_at_its_own_time(site: Site) -> None:
    late, early = event(MAY + days(20), 1), event(MAY + days(2), 2)
    site.take(pass_message("front", early), now=MAY + days(2))
    site.take(pass_message("front", late), now=JUNE + days(20))
    assert keep_house(site, DUE)["passes"] == 1
    assert tables_of(site.engine) == {late.id: DEFAULT}
    site.take(pass_message("front", late), now=JUNE + days(21))
    assert (site.rows("events"), site.passes()) == (1, 2)
    assert "passes" not in keep_house(site, JUNE + days(80))
    assert keep_house(site, JUNE + days(81))["passes"] == 1
    assert (site.rows("events"), site.passes()) == (0, 2)


def test_erasures_stay_erased_though_their_month_went(site: Site, tmp_path: Path) -> None:
    gone = event(MAY + days(3), 1)
    undated = event(MAY + days(3), 2, at=datetime(1970, 1, 1, tzinfo=UTC), clock_synchronised=False)
    site.take(pass_message("front", gone, undated, event(MAY + days(9), 3)), now=MAY + days(9))
    span = Erasure(UUID(int=9), "front", None, MAY, MAY + days(9), events=True, asked_at=MAY + days(10))
    erase(site.engine, site.blobs, tmp_path / "journal", span, MAY + days(10))
    left = site.rows("events")
    keep_house(site, DUE)
    assert site.rows("events") == 0
    passes, tombs = site.passes(), site.rows("tombstones")
    site.take(pass_message("front", gone), now=DUE)
    assert (site.rows("events"), site.passes(), site.rows("tombstones"), left) == (0, passes, tombs, left)


@pytest.mark.parametrize("seed", range(4))
def test_exactly_those_go_that_deleting_by_row_would_take_of_the_months_that_are_over(site: Site, seed: int) -> None:
    rng = Random(seed)
    now = DUE + days(rng.uniform(0, 40))
    before = now - days(60)
    rows = []
    for number in range(300):
        made = MAY + days(rng.uniform(-40, 75))
        came = made + days(rng.choice((0, 0, 0, rng.uniform(0, 70))))
        at = rng.choice((made, made, came))
        rows.append((event(made, number).id, at, came))
    with site.engine.begin() as connection:
        connection.execute(schema.devices.insert().values(name="front", first_seen=MAY, last_seen=MAY))
        base = event(MAY, 0)
        connection.execute(
            schema.events.insert(),
            [
                {
                    "id": known, "device": "front", "at": at, "received_at": came, "direction": "in", "label": "with_mask",
                    "confidence": 0.9, "release": 1, "accelerator": "cpu", "boot": base.boot, "sequence": 0,
                    "clock_synchronised": True, "fingerprint": b"0" * 16,
                }
                for known, at, came in rows
            ],
        )  # fmt: skip
        months = {partitions.table_name(month): next_month(month) for month in partitions.known_months(connection)}
    places = tables_of(site.engine)
    wanted = {
        known for known, at, came in rows
        if not (at < before and came < before) or months.get(places[known], MAY) > before
    }  # fmt: skip
    keep_house(site, now)
    assert ids(site.engine) == wanted
    assert 0 < len(wanted) < len(rows)


def test_passes_of_other_months_come_and_go_while_a_month_is_read(site: Site) -> None:
    """A month is locked against what is late for it, and for that alone; all of them only for the moment of the drop."""
    site.take(pass_message("front", event(MAY, 1)), now=MAY)
    reading, go_on = threading.Event(), threading.Event()

    def drop() -> None:
        with site.engine.begin() as connection:
            connection.execute(text("LOCK TABLE events_2026_05 IN SHARE MODE"))
            reading.set()
            assert go_on.wait(20)
            assert partitions.drop_old_month(connection, JUNE) == 1

    thread = threading.Thread(target=drop)
    thread.start()
    assert reading.wait(20)
    site.take(pass_message("front", event(JULY, 2)), now=JULY)
    go_on.set()
    thread.join(20)
    assert site.rows("events") == 1


def test_a_lock_that_cannot_be_had_changes_nothing_and_the_next_round_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.take(pass_message("front", event(MAY, 1)), now=MAY)
    reader = site.engine.connect()
    reader.execute(select(schema.events.c.id)).all()  # holds every month for as long as its transaction is open
    house = Housekeeper(site.engine, site.blobs, RULES)
    thread = threading.Thread(target=house.run)
    thread.start()
    wait_until(lambda: "lock timeout" in caplog.text, within_s=20, what="the housekeeper saying that it could not")
    house.stop()
    thread.join(20)
    reader.close()
    assert site.rows("events") == 1
    assert keep_house(site, DUE)["passes"] == 1
