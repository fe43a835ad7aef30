import math
from itertools import pairwise

import pytest

from agent.vision.stamps import Pace, SenderClock, own_clock


def test_a_hiccup_of_the_network_moves_no_frame() -> None:
    clock, late = SenderClock(), {20: 0.3, 21: 0.25, 22: 0.2, 40: 0.1}
    taken = [clock.taken(5000 + n / 15, 10 + n / 15 + 0.05 + late.get(n, 0.0)) for n in range(60)]
    steps = [b - a for a, b in pairwise(taken)]
    assert max(abs(step - 1 / 15) for step in steps) < 0.012


@pytest.mark.parametrize(
    ("said", "arrived", "taken"),
    [
        ([0.0, 0.0, 0.0], [7.0, 7.1, 7.2], [7.0, 7.1, 7.2]),  # no stamps
        ([math.nan, math.nan], [7.0, 7.1], [7.0, 7.1]),
        ([10.0, 3.0, 3.1], [7.0, 7.1, 7.2], [7.0, 7.1, 7.2]),  # it began anew
        ([1.0, 900.0], [7.0, 7.1], [7.0, 7.1]),  # it set its clock
        ([1.0, 1.1], [7.0, 12.0], [7.0, 12.0]),  # nothing for 5 s
        ([1.0, 1.1, 1.2], [7.0, 7.05, 7.2], [7.0, 7.05, 7.155]),  # the second came fastest
    ],
)
def test_a_stamp_is_put_on_our_clock(said: list[float], arrived: list[float], taken: list[float]) -> None:
    clock = SenderClock()
    assert [clock.taken(*one) for one in zip(said, arrived, strict=True)] == pytest.approx(taken)


@pytest.mark.parametrize("rate", [0.97, 1.0, 1.03])
def test_a_sender_whose_clock_is_wrong_by_three_percent_is_followed_without_jumps(rate: float) -> None:
    clock = SenderClock()
    ages = [10 + n / 15 - clock.taken(rate * n / 15, 10 + n / 15) for n in range(15 * 600)]
    assert -1e-9 <= min(ages) <= max(ages) < 0.01


@pytest.mark.parametrize(
    ("stamp", "now", "taken"), [(9.95, 10.0, 9.95), (0.0, 10.0, 10.0), (10.1, 10.0, 10.0), (1.7e9, 10.0, 10.0)]
)
def test_a_stamp_of_our_own_clock_is_believed_if_it_can_be_true(stamp: float, now: float, taken: float) -> None:
    assert own_clock(stamp, now) == taken


@pytest.mark.parametrize(
    ("comes", "asked", "looked_at"),
    [(30, 15, 15), (25, 15, 15), (20, 15, 15), (15, 15, 15), (10, 15, 10), (60, 15, 15), (29.97, 12, 12)],
)
def test_of_any_rate_as_many_are_looked_at_as_were_asked_for(comes: float, asked: float, looked_at: float) -> None:
    pace = Pace(asked)
    shaky = [n / comes + 0.004 * (-1) ** n for n in range(int(comes * 100))]
    assert sum(pace.due(at_s) for at_s in shaky) / 100 == pytest.approx(looked_at, rel=0.02)


def test_after_a_gap_no_lost_looks_are_made_up_for() -> None:
    pace = Pace(10)
    assert pace.due(0.0)
    assert sum(pace.due(100 + n / 100) for n in range(100)) <= 11


def test_a_time_that_went_back_is_looked_at_from_there_on() -> None:
    pace = Pace(10)
    assert [pace.due(at_s) for at_s in (100.0, 3.0, 3.02, 3.1)] == [True, True, False, True]
