import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision.yolo import BINS, GREY, Int8, Maps, Scale, decode, letterbox, suppress

BOX_SCALE, CLASS_SCALE = Scale(0.09, -20), Scale(0.06, 80)


def quantised(values: npt.NDArray[np.float64], scale: Scale) -> Int8:
    levels: Int8 = np.clip(np.round(values / scale.step + scale.zero), -128, 127).astype(np.int8)
    return levels


def empty_maps(stride: int, side: int) -> Maps:
    boxes = quantised(np.zeros((side, side, 4 * BINS)), BOX_SCALE)
    return Maps(stride, boxes, quantised(np.full((side, side, 3), -9.0), CLASS_SCALE), BOX_SCALE, CLASS_SCALE)


def with_face(
    maps: Maps, row: int, column: int, sides: tuple[int, int, int, int], logits: tuple[float, float, float]
) -> Maps:
    """Put a face into one cell; `sides` are the distances left, top, right, bottom in strides."""
    bins = np.full((4, BINS), -8.0)
    bins[range(4), sides] = 8.0
    maps.boxes[row, column] = quantised(bins.reshape(-1), BOX_SCALE)
    maps.classes[row, column] = quantised(np.array(logits), CLASS_SCALE)
    return maps


@pytest.mark.parametrize(
    ("shape", "inner"),
    [
        ((480, 640), (0, 32, 256, 224)),
        ((640, 480), (32, 0, 224, 256)),
        ((100, 100), (0, 0, 256, 256)),
        ((1, 700), (0, 127, 256, 128)),
    ],
)
def test_a_frame_is_fitted_into_the_square_with_grey_around(
    shape: tuple[int, int], inner: tuple[int, int, int, int]
) -> None:
    frame = np.full((*shape, 3), (10, 20, 30), np.uint8)
    tensor, placement = letterbox(frame, 256)
    pixels = tensor[0].view(np.uint8) ^ 0x80
    assert tensor.shape == (1, 256, 256, 3)
    assert tensor.dtype == np.int8
    x0, y0, x1, y1 = inner
    assert (placement.left, placement.top) == (x0, y0)
    assert (pixels[y0:y1, x0:x1] == (30, 20, 10)).all()  # blue, green, red became red, green, blue
    outside = np.ones((256, 256), bool)
    outside[y0:y1, x0:x1] = False
    assert (pixels[outside] == GREY).all()


def test_a_face_in_one_cell_becomes_one_box() -> None:
    maps = with_face(empty_maps(16, 16), row=4, column=6, sides=(1, 2, 1, 2), logits=(2.0, -2.0, -4.0))
    boxes, scores = decode([empty_maps(8, 32), maps, empty_maps(32, 8)], (0.5, 0.5, 0.5))
    assert boxes.shape == (1, 4)
    centre_x, centre_y = 6 * 16 + 8, 4 * 16 + 8
    np.testing.assert_allclose(boxes[0], [centre_x - 16, centre_y - 32, centre_x + 16, centre_y + 32], atol=0.3)
    np.testing.assert_allclose(scores[0], 1 / (1 + np.exp(-np.array([2.0, -2.0, -4.0]))), atol=0.02)


def test_nothing_above_the_threshold_is_no_box() -> None:
    boxes, scores = decode([empty_maps(8, 32)], (0.3, 0.3, 0.3))
    assert boxes.shape == (0, 4)
    assert scores.shape == (0, 3)


@given(
    thresholds=st.tuples(*[st.floats(0.01, 0.99)] * 3),
    logits=st.lists(st.tuples(*[st.integers(-128, 127)] * 3), min_size=16, max_size=16),
)
def test_comparing_in_int8_selects_what_comparing_in_floats_would(
    thresholds: tuple[float, float, float], logits: list[tuple[int, int, int]]
) -> None:
    classes = np.array(logits, np.int8).reshape(4, 4, 3)
    boxes = np.zeros((4, 4, 4 * BINS), np.int8)
    _, scores = decode([Maps(8, boxes, classes, BOX_SCALE, CLASS_SCALE)], thresholds)
    floats = 1 / (1 + np.exp(-(classes.reshape(-1, 3).astype(float) - CLASS_SCALE.zero) * CLASS_SCALE.step))
    expected = (floats >= np.array(thresholds) - 1e-7).any(axis=1).sum()
    assert len(scores) == expected


def test_of_overlapping_boxes_the_surest_stays_whatever_its_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [30, 30, 40, 40]], np.float32)
    scores = np.array([[0.6, 0.1, 0], [0.1, 0.8, 0], [0.4, 0, 0]], np.float32)
    assert suppress(boxes, scores, iou=0.5).tolist() == [1, 2]


def test_no_boxes_is_nothing_to_suppress() -> None:
    assert suppress(np.empty((0, 4), np.float32), np.empty((0, 3), np.float32), iou=0.5).tolist() == []
