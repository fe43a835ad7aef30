"""The least pairs against trying every way there is."""

from itertools import permutations
from random import Random

import pytest

from agent.vision.pairing import LARGEST, Costs, pair


def cheapest(costs: Costs, rows: int, columns: int) -> float:
    """The least sum, by trying everything."""
    places = [*range(columns), *[None] * rows]
    return min(
        sum(min(0.0, costs.get((row, column), 0.0)) for row, column in enumerate(way) if column is not None)
        for way in set(permutations(places, rows))
    )


@pytest.mark.parametrize("seed", range(40))
def test_no_other_pairs_cost_less(seed: int) -> None:
    random = Random(seed)
    rows, columns = random.randint(1, 4), random.randint(1, 4)
    costs = {
        (row, column): random.uniform(-5, 1)
        for row in range(rows)
        for column in range(columns)
        if random.random() < 0.8
    }
    found = pair(costs)
    assert len({row for row, _ in found}) == len({column for _, column in found}) == len(found)
    assert sum(costs[one] for one in found) == pytest.approx(cheapest(costs, rows, columns))


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({}, []),
        ({(0, 0): -1.0}, [(0, 0)]),
        ({(0, 0): 0.5}, []),  # worse than nobody
        ({(0, 0): -3.0, (0, 1): -2.9, (1, 0): -2.9}, [(0, 1), (1, 0)]),  # nearest first would leave one alone
        ({(0, 0): -3.0, (0, 1): -0.5, (1, 0): -0.5}, [(0, 0)]),
        ({(4, 7): -1.0, (5, 9): -1.0, (4, 9): -0.1}, [(4, 7), (5, 9)]),
    ],
)
def test_everybody_together_comes_first(costs: Costs, expected: list[tuple[int, int]]) -> None:
    assert sorted(pair(costs)) == expected


def test_a_crowd_is_paired_too() -> None:
    size = LARGEST + 30
    costs = {(row, column): -9.0 + abs(row - column) for row in range(size) for column in range(size)}
    assert sorted(pair(costs)) == [(index, index) for index in range(size)]
