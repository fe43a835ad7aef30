"""Clocks that are wrong, jump and come right again: what each pass is dated in the end."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from agent.clock import Clock, Reading, Stamp, boot_starts, since_kernel_start

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
THIS, BEFORE, LONG_BEFORE = UUID(int=3), UUID(int=2), UUID(int=1)
HOUR = 3600.0


@dataclass
class Machine:
    """A Pi whose true time is known to the test alone: the kernel started at noon."""

    offset_s: float = 0.0  # by which its wall clock is wrong
    disciplined: bool = False
    up_s: float = 0.0

    def clock(self) -> Clock:
        return Clock(
            THIS, wall=lambda: NOON.timestamp() + self.up_s + self.offset_s, since_boot=lambda: self.up_s,
            synchronised=lambda: self.disciplined,
        )  # fmt: skip


# Each step: seconds of truth that pass, by how much the wall clock is then wrong, whether NTP vouches for it; and then how
# wrong, in s, the clock's own reading is, and whether it is trusted.
Step = tuple[float, float, bool, float, bool]
TALES: dict[str, list[Step]] = {
    "right from the start": [(1, 0, True, 0, True), (60, 0, True, 0, True)],
    "1970, then NTP": [(5, -1.7e9, False, -1.7e9, False), (60, 0, True, 0, True), (60, 0, True, 0, True)],
    "an hour forwards, by hand": [
        (1, 0, True, 0, True),
        (60, HOUR, False, 0, True),
        (600, HOUR, False, 0, True),
        (60, 0, True, 0, True),
    ],
    "an hour back, by hand": [(1, 0, True, 0, True), (60, -HOUR, False, 0, True), (600, -HOUR, False, 0, True)],
    "the network goes for a day": [(1, 0, True, 0, True), (86_400, 4, False, 0, True), (60, 0, True, 0, True)],
    "never any time": [(1, -HOUR, False, -HOUR, False), (1000, -HOUR, False, -HOUR, False)],
    "ten years ahead, then NTP": [(1, 3.2e8, False, 3.2e8, False), (10, 0, True, 0, True)],
}


@pytest.mark.parametrize("tale", TALES)
def test_what_ntp_once_said_is_carried_on_whatever_the_wall_clock_does(tale: str) -> None:
    """[97]"""
    machine = Machine()
    clock = machine.clock()
    for passes_s, machine.offset_s, machine.disciplined, error_s, trusted in TALES[tale]:
        machine.up_s += passes_s
        reading = clock.read()
        truth = NOON + timedelta(seconds=machine.up_s)
        assert (reading.at - truth).total_seconds() == pytest.approx(error_s, abs=1e-3)
        assert reading.trusted is trusted
        assert reading.stamp == Stamp(THIS, machine.up_s)


def test_a_clock_that_is_set_between_two_looks_is_not_believed() -> None:
    answers = iter([True, False])
    clock = Clock(THIS, wall=lambda: 5.0, since_boot=lambda: 1.0, synchronised=lambda: next(answers))
    assert not clock.read().trusted


# Which boots left passes without a time, each with its last moment; then how long before now each boot's start is put.
@pytest.mark.parametrize(
    ("left", "expected_s"),
    [
        ([], {THIS: 100}),
        ([Stamp(THIS, 90)], {THIS: 100}),
        ([Stamp(BEFORE, 3000)], {THIS: 100, BEFORE: 3100}),
        ([Stamp(LONG_BEFORE, 500), Stamp(BEFORE, 3000), Stamp(THIS, 50)], {THIS: 100, BEFORE: 3100, LONG_BEFORE: 3600}),
    ],
)
def test_a_boot_that_never_knew_the_time_is_put_as_late_as_the_next_one_allows(
    left: list[Stamp], expected_s: dict[UUID, float]
) -> None:
    starts = boot_starts(left, Reading(NOON, Stamp(THIS, 100), trusted=True))
    assert {boot: (NOON - at).total_seconds() for boot, at in starts.items()} == expected_s


def test_this_machines_clock_says_which_boot_it_is_and_goes_on() -> None:
    first, second = Clock.of_this_boot().read(), Clock.of_this_boot().read()
    assert first.stamp.boot == second.stamp.boot  # also for the next process
    assert first.stamp.at_s <= second.stamp.at_s <= since_kernel_start()
