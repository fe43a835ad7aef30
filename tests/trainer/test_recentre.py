"""What rounding takes from class logits on average is given back, where faces are, and nowhere else."""

import numpy as np
import pytest

from contract.labels import LABELS
from trainer.recentre import LEAST_CELLS, Floats, shift


def logits(rows: int, values: list[float]) -> Floats:
    return np.tile(np.asarray(values, np.float32), (rows, 1))


def test_the_mean_is_taken_over_cells_that_may_be_a_face_of_the_class() -> None:
    sure = (logits(100, [1.0, -1.0, -9.0]), logits(100, [0.8, -0.9, -2.0]))
    background = (logits(5000, [-9.0, -9.0, -9.0]), logits(5000, [-4.0, -4.0, -4.0]))
    assert shift([sure, background]) == pytest.approx([-0.2, 0.1, 0.0], abs=1e-5)


def test_a_class_that_was_hardly_seen_is_left_alone() -> None:
    few = (logits(LEAST_CELLS - 1, [1.0, 1.0, 1.0]), logits(LEAST_CELLS - 1, [0.0, 0.0, 0.0]))
    assert shift([few]).tolist() == [0.0] * len(LABELS)
    assert shift([few, few]).tolist() == [-1.0] * len(LABELS)


def test_nothing_seen_moves_nothing() -> None:
    assert shift([]).tolist() == [0.0] * len(LABELS)
