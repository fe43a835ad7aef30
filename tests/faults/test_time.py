"""Faults of time: a clock that is set while running, and a start without network, so without time."""

from pathlib import Path

import pytest

from tests.faults.health_kit import DAY, Machine

HOUR = 3600.0


@pytest.mark.parametrize("step_s", [HOUR, -HOUR, 10 * 365 * 24 * HOUR, -DAY])
@pytest.mark.parametrize("synchronised", [False, True], ids=["by hand", "by NTP"])
def test_a_clock_that_is_set_invents_no_observed_time(tmp_path: Path, step_s: float, synchronised: bool) -> None:
    """Fault 97, the coverage: an hour looked at stays an hour, whatever the clock says meanwhile."""
    with Machine(tmp_path, offset_s=DAY + 8 * HOUR - 100) as machine:
        machine.run(HOUR / 2)
        machine.offset_s += step_s
        machine.synchronised = synchronised
        machine.run(HOUR / 2)
        stepped = machine.steward.coverage(machine.now_s, whole=True)
        assert sum(stepped.seen) == 60
        machine.offset_s -= step_s
        machine.synchronised = True
        machine.run(HOUR)
        said = machine.steward.coverage(machine.now_s, whole=True)
        assert (said.open, said.seen) == ((60, 60, 0), (60, 60, 0))
        assert said.today == 1.0


def test_an_hour_missed_while_the_clock_was_set_back_stays_missed(tmp_path: Path) -> None:
    """Fault 97, the coverage."""
    with Machine(tmp_path, offset_s=DAY + 8 * HOUR - 100) as machine:
        machine.run(HOUR)
        machine.run(HOUR, camera=False)
        machine.offset_s -= HOUR  # the hour without a camera comes again, by the clock
        machine.synchronised = False
        machine.run(HOUR)
        machine.offset_s += HOUR
        machine.synchronised = True
        machine.run(10)
        said = machine.steward.coverage(machine.now_s, whole=True)
        assert (said.open, said.seen) == ((60, 60, 60, 0), (60, 0, 60, 0))


def test_a_day_without_network_is_observed_and_gets_its_time_once_there_is_one(tmp_path: Path) -> None:
    """Fault 96, the coverage: a Pi has no clock of its own and boots in the past."""
    with Machine(tmp_path, offset_s=0.0, synchronised=False) as machine:
        assert "READY=1" in machine.run(1)
        heard = machine.run(24 * HOUR, step_s=3.0)
        assert heard.count("WATCHDOG=1") > 0
        assert not machine.steward.coverage(machine.now_s, whole=True).clock_synchronised
        machine.offset_s, machine.synchronised = DAY, True
        machine.run(10)
        said = machine.steward.coverage(machine.now_s, whole=True)
        assert said.clock_synchronised
        assert said.since.timestamp() == DAY
        assert sum(said.seen) == pytest.approx(24 * 60, abs=1)
        assert set(said.seen[1:24]) == {60}


def test_what_was_never_placed_in_time_is_not_remembered_as_observed(tmp_path: Path) -> None:
    """Fault 96, the coverage: after hours switched off, a clock that went on where it stopped would claim them."""
    with Machine(tmp_path, offset_s=DAY + 8 * HOUR - 100) as machine:
        machine.run(HOUR)
        machine.steward.close(machine.now_s)
        machine.synchronised = False  # switched off for three hours; the clock goes on where it stopped
        machine.start()
        machine.run(HOUR)
        machine.steward.close(machine.now_s)
        machine.offset_s += 3 * HOUR
        machine.synchronised = True
        machine.start()
        machine.run(HOUR)
        said = machine.steward.coverage(machine.now_s, whole=True)
        assert said.seen == (60, 0, 0, 0, 0, 60, 0)
