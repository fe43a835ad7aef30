"""Ranges of least error: what is clipped, what is kept, and that it costs less than the extremes."""

import numpy as np
import pytest

from trainer.ranges import BINS, STEPS, Floats, Histogram, best_range, class_range, histograms, same, silu


def of(values: Floats) -> Histogram:
    extremes = {0: (float(values.min()), float(values.max()))}
    return histograms(extremes, [{0: values.astype(np.float32)}])[0]


def rounded(values: Floats, low: float, high: float) -> Floats:
    step = (high - low) / STEPS
    return np.asarray(np.round((np.clip(values, low, high) - low) / step) * step + low, np.float64)


def test_one_value_in_a_million_does_not_make_every_step_coarse() -> None:
    values = np.append(np.random.default_rng(1).normal(0, 1, 1_000_000), 12.0)
    low, high = best_range(of(values))
    assert -6 < low < -3
    assert 3 < high < 7
    narrow, wide = (
        float(np.mean((rounded(values, *limits) - values)[:-1] ** 2)) for limits in ((low, high), (values.min(), 12.0))
    )
    assert narrow < 0.6 * wide


def test_class_logits_keep_their_top_and_lose_what_is_a_sure_no() -> None:
    values = np.append(np.random.default_rng(1).normal(-14, 1, 1_000_000), 5.0)
    assert class_range(of(values)) == pytest.approx((-8.0, 5.0))
    assert class_range(of(np.array([-3.0, -2.0]))) == (-3.0, 0.0)


def test_values_that_fill_their_range_keep_it() -> None:
    low, high = best_range(of(np.random.default_rng(2).uniform(-2, 6, 100_000)))
    assert low == pytest.approx(-2, abs=0.15)
    assert high == pytest.approx(6, abs=0.35)


def test_what_a_sigmoid_gates_away_needs_no_steps() -> None:
    values = np.concatenate(
        [np.random.default_rng(3).uniform(-80, 0, 50_000), np.random.default_rng(4).uniform(0, 4, 50_000)]
    )
    assert best_range(of(values), same)[0] < -60
    low, high = best_range(of(values), silu)
    assert -25 < low <= -3
    assert high == pytest.approx(4, abs=0.3)


def test_zero_stays_inside() -> None:
    low, high = best_range(of(np.random.default_rng(5).uniform(3, 9, 10_000)))
    assert low == 0
    assert high > 8


def test_an_activation_that_never_moves_has_a_range_too() -> None:
    assert best_range(of(np.zeros(100))) == (0.0, 0.0)


def test_several_images_add_up() -> None:
    looks = [{7: np.array([0.0, 1.0], np.float32)}, {7: np.array([1.0], np.float32)}]
    found = histograms({7: (0.0, 1.0)}, looks)[7]
    assert found.counts.sum() == 3
    assert found.counts[BINS - 1] == 2
