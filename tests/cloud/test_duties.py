"""Several servers, one holder of each duty: taken, kept, lost and fenced, and with real processes killed and stalled."""

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cloud.__main__ import main
from cloud.config import CloudSettings
from cloud.duties import BEAT_S, LEASE_S, TAKEN_WITHIN_S, Duty, LostDutyError, Place, Roster
from cloud.fleet.alerts import Kind
from cloud.fleet.postman import Postman
from cloud.fleet.rollout import Rules
from cloud.fleet.steward import Steward
from cloud.fleet.watchman import Watchman
from cloud.rules import RetentionRules
from cloud.store import duties as store
from cloud.store import endings
from cloud.store.blobs import BlobFolder
from cloud.store.database import open_database
from cloud.store.schema_doors import alerts
from cloud.upkeep.housekeeper import Housekeeper
from rehearsal.processes import Child, wait_until
from tests.cloud.conftest import StartCloud, page_address, wait_for_log
from tests.cloud.test_sharing import at_once

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


class Server:
    """One process's roster, on a steady clock that a test moves and a wall clock that may be wrong."""

    def __init__(self, engine: Engine, name: str, wall: datetime = NOW) -> None:
        self.engine, self.name, self.tick, self.wall = engine, name, 0.0, wall
        self.roster = Roster(engine, name, lambda: self.tick)
        self.place = self.roster.place(Duty.ALERTS)

    def beat(self, after_s: float = 0) -> bool:
        self.tick += after_s
        self.roster.turn(self.wall + timedelta(seconds=self.tick))
        return self.place.held()


def holders(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {row.duty: row.holder for row in store.read(connection)}


def test_the_first_has_the_duty_for_as_long_as_it_gives_signs_of_life(engine: Engine) -> None:
    one, other = Server(engine, "one"), Server(engine, "other")
    assert one.beat()
    for _ in range(20):
        assert not other.beat(BEAT_S)
        assert one.beat(BEAT_S)
    assert holders(engine) == {"alerts": "one"}


def test_another_takes_it_from_a_silent_one_within_the_stated_time_and_not_before_the_lease_is_over(
    engine: Engine,
) -> None:
    one, other = Server(engine, "one"), Server(engine, "other")
    one.beat()
    other.beat()
    waited = 0.0
    while not other.beat(BEAT_S):
        waited += BEAT_S
        assert waited < TAKEN_WITHIN_S
    assert waited + BEAT_S >= LEASE_S
    one.tick += other.tick
    assert not one.place.held()  # by its own clock, without asking
    assert not one.beat()
    assert not one.beat(BEAT_S)
    assert other.beat()


def test_clocks_that_are_years_apart_change_nothing(engine: Engine) -> None:
    one, other = Server(engine, "one", NOW + timedelta(days=4000)), Server(engine, "other", NOW - timedelta(days=4000))
    assert one.beat()
    for _ in range(8):
        assert not other.beat(BEAT_S)
        assert one.beat(BEAT_S)
    late = Server(engine, "late", NOW + timedelta(days=8000))
    assert not late.beat()  # however old the last sign of life looks to it
    assert not late.beat(LEASE_S - 1)
    assert late.beat(1)


def test_one_that_was_given_up_is_taken_at_once(engine: Engine) -> None:
    one, other = Server(engine, "one"), Server(engine, "other")
    one.beat()
    other.beat()
    one.roster.give_up()
    assert other.beat(BEAT_S)
    with engine.begin() as connection, pytest.raises(LostDutyError):
        one.place.require(connection)


def test_of_many_that_want_it_at_the_same_moment_one_gets_it(engine: Engine) -> None:
    servers = [Server(engine, f"s{number}") for number in range(6)]
    for generation in range(3):
        assert at_once(*(lambda s=one: s.beat() for one in servers)) == []
        assert [one.place.held() for one in servers].count(True) == 1
        holder = next(one for one in servers if one.place.held())
        servers.remove(holder)
        for one in servers:
            assert not one.beat()
            one.tick += LEASE_S
        with engine.connect() as connection:
            assert [row.term for row in store.read(connection)] == [generation + 1]


def test_a_holder_that_slept_past_its_lease_writes_nothing(engine: Engine, tmp_path: Path) -> None:
    """Its own clock slept with it, so that it believes in its duty."""
    one, other = Server(engine, "one"), Server(engine, "other")
    one.beat()
    other.beat()
    assert other.beat(LEASE_S)
    assert one.place.held()
    with engine.begin() as connection:
        endings.tell(connection, Kind.CERTIFICATE_ENDING, {"web": NOW}, NOW)
        connection.execute(text("INSERT INTO changes SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM changes)"))
        before = connection.execute(text("SELECT number FROM changes")).scalar_one()
    settings = CloudSettings.load(None, {"data": str(tmp_path)})
    postman = Postman(engine, {}, (("webhook", "https://example.org/"),))
    acts: dict[str, Callable[[], object]] = {
        "watchman": lambda: Watchman(engine, settings, postman, duty=one.place).turn(NOW),
        "steward": lambda: Steward(engine, None, Rules(60, 0), present_s=60, rollouts=one.place).turn(NOW),
        "housekeeper": lambda: Housekeeper(
            engine, BlobFolder(tmp_path), RetentionRules(event_days=60), duty=one.place
        ).turn(NOW),
    }
    for act in acts.values():
        with pytest.raises(LostDutyError, match="another server's"):
            act()
    with engine.connect() as connection:
        assert connection.execute(alerts.select()).all() == []
        assert connection.execute(text("SELECT number FROM changes")).scalar_one() == before
    assert len(Watchman(engine, settings, postman, duty=other.place).turn(NOW)) == 1
    stale = Postman(engine, {}, (("webhook", "https://example.org/"),), duty=one.place)
    with pytest.raises(LostDutyError):
        stale.turn(lambda: NOW)


def test_nobody_takes_it_in_the_middle_of_a_transaction_that_asked(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("on SQLite whoever writes has the whole database to itself")
    one, other = Server(engine, "one"), Server(engine, "other")
    one.beat()
    other.beat()
    with engine.begin() as connection:
        one.place.require(connection)
        assert one.beat(BEAT_S)  # its signs of life pass meanwhile
        other.beat()
        assert not other.beat(LEASE_S)
        assert not other.beat(LEASE_S)
    assert other.beat(BEAT_S)


def test_a_holder_believes_in_its_duty_for_the_rest_of_the_lease_while_the_database_is_away(engine: Engine) -> None:
    one = Server(engine, "one")
    one.beat()
    one.tick += LEASE_S - 0.1
    assert one.place.held()
    one.tick += 0.2
    assert not one.place.held()
    assert one.beat()  # nobody else was there


def test_a_place_that_never_had_the_duty_may_not_write(engine: Engine) -> None:
    with engine.begin() as connection, pytest.raises(LostDutyError):
        Place(Duty.UPKEEP, "me").require(connection)


# From here on with real processes.


def wait_until_held(engine: Engine, within_s: float, but_not_by: str = "") -> dict[str, str]:
    """Every duty but RELEASES, which needs keys."""
    wanted = set(Duty) - {Duty.RELEASES}
    found: dict[str, str] = {}

    def there() -> bool:
        found.clear()
        with contextlib.suppress(Exception):
            found.update(holders(engine))
        return {duty for duty, name in found.items() if name and name != but_not_by} >= wanted

    wait_until(there, within_s=within_s, what=f"all duties held by another than {but_not_by!r}")
    return dict(found)


def process_of(holder: str) -> int:
    return int(holder.split(":")[-2])


@contextlib.contextmanager
def two_servers(start_cloud: StartCloud, database_url: str, tmp_path: Path) -> Iterator[tuple[Child, Child, Engine]]:
    first = start_cloud("serve", database=database_url, data=tmp_path / "one")
    page_address(first)
    engine = open_database(database_url)
    try:
        wait_until_held(engine, 20)
        second = start_cloud("serve", database=database_url, data=tmp_path / "two")
        page_address(second)
        yield first, second, engine
    finally:
        engine.dispose()


def test_when_a_server_is_killed_the_other_has_all_its_duties_in_time(
    start_cloud: StartCloud, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with two_servers(start_cloud, database_url, tmp_path) as (first, second, engine):
        (holder,) = set(wait_until_held(engine, 5).values())
        assert process_of(holder) == first.process.pid
        time.sleep(2 * BEAT_S)
        assert set(holders(engine).values()) == {holder}
        first.process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        taken = wait_until_held(engine, TAKEN_WITHIN_S + 10, holder)
        took = time.monotonic() - began
        print(f"taken over {took:.1f} s after kill -9")
        assert LEASE_S - BEAT_S - 1 <= took <= TAKEN_WITHIN_S + 5
        assert {process_of(one) for one in taken.values()} == {second.process.pid}
        assert main(["status", "--set", f"database={database_url}", "--set", f"data={tmp_path / 'two'}"]) == 0
        assert capsys.readouterr().out.count(f":{second.process.pid}:") == len(set(Duty)) - 1
        here = ["--set", f"database={database_url}", "--set", f"data={tmp_path / 'two'}"]
        if "sqlite" in database_url or shutil.which("pg_dump"):
            assert main(["backup", str(tmp_path / "a.tar"), *here]) == 0
            assert main(["restore", str(tmp_path / "a.tar"), "--replace", *here]) == 2
            assert "a server was at work" in capsys.readouterr().err
        second.stop()  # told to stop, it gives them up
        assert set(holders(engine).values()) == {""}
        assert main(["status", "--set", f"database={database_url}", "--set", f"data={tmp_path / 'two'}"]) == 1


def test_a_server_that_stood_still_past_its_lease_comes_back_as_one_without_duties(
    start_cloud: StartCloud, database_url: str, tmp_path: Path
) -> None:
    with two_servers(start_cloud, database_url, tmp_path) as (first, second, engine):
        (holder,) = set(wait_until_held(engine, 5).values())
        first.process.send_signal(signal.SIGSTOP)
        try:
            taken = wait_until_held(engine, TAKEN_WITHIN_S + 10, holder)
        finally:
            first.process.send_signal(signal.SIGCONT)
        assert {process_of(one) for one in taken.values()} == {second.process.pid}
        wait_for_log(first, "is another's now")
        time.sleep(2 * BEAT_S)
        assert holders(engine) == taken
        first.require_running()
