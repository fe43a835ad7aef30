"""Drift: found where there is one, and not where there is none, however few faces and however unlike the days."""

import json

import numpy as np
import pytest

from agent.health.drift import BINS, DAY_SAMPLES, FIRST_DAYS, HEIGHTS, LAST_DAYS, Counts, Drift, chance
from agent.vision.detector import Detection
from agent.vision.geometry import Box
from contract.health import DRIFTED
from contract.labels import LABELS


def face(height: float, confidence: float = 0.8) -> Detection:
    return Detection(Box(0.4, 0.2, 0.4 + height, 0.2 + height), LABELS[0], confidence, (confidence, 0.1, 0.1))


def days(rng: np.random.Generator, number: int, *, faces: int, height: float = 0.12, unlike: float = 0.3) -> Counts:
    """Days on which everybody is larger or smaller together (`unlike`), and more or fewer come."""
    found = []
    for _ in range(number):
        count = int(rng.poisson(faces * np.exp(rng.normal(0, unlike))))
        of_day = height * np.exp(rng.normal(0, unlike))
        heights = np.searchsorted(HEIGHTS, of_day * np.exp(rng.normal(0, 0.3, count)))
        minutes = rng.poisson(count / 1440, 1440)
        found.append(np.concatenate([
            np.bincount(heights, minlength=BINS[0]), np.bincount(rng.integers(4, 9, count), minlength=BINS[1]),
            np.bincount(np.minimum(minutes, BINS[2] - 1), minlength=BINS[2]),
        ]))  # fmt: skip
    return np.array(found, np.int64)


@pytest.mark.parametrize("faces", [5, 50, 2000])
def test_without_drift_the_chance_is_what_it_says(faces: int) -> None:
    """One door in twenty falls below a chance of .05, and no more, with days as unlike as these."""
    rng = np.random.default_rng(faces)
    found = [chance(days(rng, FIRST_DAYS, faces=faces), days(rng, LAST_DAYS, faces=faces), rng, 99) for _ in range(200)]
    below = float(np.mean(np.array(found) <= 0.05))
    assert below < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert below > 0.01  # a test that never finds anything would pass the line above


def test_a_fixed_limit_would_find_drift_where_there_is_none() -> None:
    """Why the chance is simulated: the usual index of stability is above its usual .2 at most doors that did not change."""
    rng = np.random.default_rng(3)
    above = 0
    for _ in range(100):
        one, other = (days(rng, number, faces=5)[:, : BINS[0]].sum(axis=0) + 0.5 for number in (FIRST_DAYS, LAST_DAYS))
        p, q = one / one.sum(), other / other.sum()
        above += float(((p - q) * np.log(p / q)).sum()) > 0.2
    assert above > 50


@pytest.mark.parametrize(("height", "unlike"), [(0.25, 0.1), (0.05, 0.1), (0.3, 0.3)])
def test_a_camera_that_was_moved_is_found(height: float, unlike: float) -> None:
    rng = np.random.default_rng(11)
    found = [
        chance(
            days(rng, FIRST_DAYS, faces=500, unlike=unlike), days(rng, LAST_DAYS, faces=500, height=height, unlike=unlike), rng
        )
        for _ in range(10)
    ]  # fmt: skip
    assert sum(one <= DRIFTED for one in found) >= 9


def test_a_door_that_sees_nobody_any_more_is_found() -> None:
    rng = np.random.default_rng(13)
    blind = np.zeros((LAST_DAYS, sum(BINS)), np.int64)
    blind[:, BINS[0] + BINS[1]] = 1440
    assert chance(days(rng, FIRST_DAYS, faces=500), blind, rng) <= DRIFTED


def live(drift: Drift, number: int, height: float, rng: np.random.Generator, release: int = 1) -> None:
    for _ in range(number):
        of_day = height * float(np.exp(rng.normal(0, 0.1)))
        for sample in range(DAY_SAMPLES):
            drift.take([face(of_day)] if sample % 400 == 0 else [], release)


def test_a_door_lives_three_weeks_a_restart_a_move_and_a_new_model() -> None:
    rng = np.random.default_rng(17)
    drift = Drift.of(None, rng)
    live(drift, FIRST_DAYS + LAST_DAYS - 1, 0.12, rng)
    assert drift.chance is None
    live(drift, 1, 0.12, rng)
    assert drift.chance is not None
    assert drift.chance > DRIFTED
    kept = json.loads(json.dumps(drift.to_keep()))
    assert len(json.dumps(kept)) < 4096
    again = Drift.of(kept, rng)
    assert again.chance == pytest.approx(drift.chance, abs=0.1)
    live(again, LAST_DAYS, 0.3, rng)
    assert again.chance is not None
    assert again.chance <= DRIFTED
    again.take([face(0.3)], 2)
    assert again.chance is None


@pytest.mark.parametrize(
    "broken", [None, 7, {}, {"first": 1}, {"first": [[1]], "last": [], "day": [[0]], "release": 1, "samples": 0}]
)
def test_a_broken_memory_is_begun_anew(broken: object) -> None:
    assert Drift.of(broken, np.random.default_rng(1)).to_keep()["first"] == []
