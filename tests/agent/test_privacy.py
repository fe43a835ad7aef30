"""The only door for pixels: what leaves does not depend on eyes or on other faces, and says exactly where it lay."""

from collections.abc import Iterator
from math import ceil, floor

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent.learning import privacy
from agent.learning.privacy import Cutout, cut_out
from agent.vision.geometry import Box
from agent.vision.yolo import Pixels
from cloud.ingest.jpeg import Picture, require_plain_jpeg
from contract.crops import CROP_LIMIT, HEADER_LIMIT
from contract.errors import ContractError
from contract.eyes import FILL
from rehearsal.scene import Face, Scene

WIDTH, HEIGHT = 640, 480
Area = tuple[int, int, int, int]  # left, top, right, bottom in px, the far side excluded


def noise(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scribbled(frame: Pixels, area: Area, seed: int) -> Pixels:
    """The frame with random content in the area."""
    left, top, right, bottom = area
    changed = frame.copy()
    changed[top:bottom, left:right] = noise(seed, right - left, bottom - top)
    return changed


def box(left: float, top: float, right: float, bottom: float, width: int = WIDTH, height: int = HEIGHT) -> Box:
    return Box(left / width, top / height, right / width, bottom / height)


def require_cut(frame: Pixels, face: Box, *others: Box) -> Cutout:
    cut = cut_out(frame, face, others)
    assert cut is not None
    return cut


def size(cut: Cutout) -> Picture:
    return require_plain_jpeg(cut.jpeg)


# Where nobody's eyes may show, written down by hand; a face at the frame's edge goes on beyond it.
BANDS: dict[str, tuple[Box, Area]] = {
    "in the middle": (box(200, 100, 300, 220), (185, 106, 315, 164)),
    "small": (box(400, 300, 412, 316), (399, 301, 413, 308)),
    "large, so that it shrinks": (box(120, 40, 420, 440), (75, 60, 465, 256)),
    "between pixels": (box(200.4, 100.6, 260.7, 170.2), (192, 105, 269, 138)),
    "cut by the left edge": (box(0, 200, 60, 300), (0, 205, 69, 254)),
    "cut by the right edge": (box(590, 200, 640, 300), (583, 205, 640, 254)),
    "cut by the upper edge": (box(300, 0, 400, 80), (285, 0, 415, 43)),
    "cut by the upper edge, only a little": (box(300, 0, 400, 125), (285, 0, 415, 67)),
    "cut by the lower edge, eyes further down": (box(300, 420, 400, 480), (285, 423, 415, 480)),
    "reaching far out of the frame": (box(-50, 300, 60, 700), (0, 309, 69, 397)),
}


@pytest.mark.parametrize("name", BANDS)
def test_the_picture_does_not_depend_on_the_eyes(name: str) -> None:
    face, band = BANDS[name]
    frame = noise(1)
    plain = require_cut(frame, face)
    assert {require_cut(scribbled(frame, band, seed), face) for seed in range(25)} == {plain}


@pytest.mark.parametrize("name", BANDS)
def test_the_picture_does_depend_on_what_is_below_the_eyes(name: str) -> None:
    face, (left, _, right, bottom) = BANDS[name]
    frame = noise(1)
    cut = require_cut(frame, face)
    below = (left, min(bottom, HEIGHT - 3), right, min(bottom + 3, HEIGHT))
    if bottom < HEIGHT:
        assert require_cut(scribbled(frame, below, 2), face).jpeg != cut.jpeg


OTHERS: dict[str, tuple[Box, Area]] = {
    "beside": (box(310, 120, 360, 190), (305, 113, 365, 197)),
    "behind the shoulder": (box(270, 180, 330, 260), (264, 172, 336, 268)),
    "half out of the crop": (box(340, 60, 440, 180), (330, 48, 450, 192)),
    "outside the crop": (box(500, 300, 540, 350), (496, 295, 544, 355)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_picture_does_not_depend_on_other_faces(name: str) -> None:
    face, _ = BANDS["in the middle"]
    other, area = OTHERS[name]
    frame = noise(3)
    plain = require_cut(frame, face, other)
    assert {require_cut(scribbled(frame, area, seed), face, other) for seed in range(25)} == {plain}


corner = st.floats(-0.2, 1.2)
sides = st.floats(0.02, 0.9)
boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), corner, corner, sides, sides)


@settings(max_examples=150, deadline=None)
@given(boxes, st.lists(boxes, max_size=3), st.integers(0, 999), st.sampled_from([(160, 120), (640, 480), (97, 331)]))
def test_no_geometry_lets_eyes_or_other_faces_through(
    face: Box, others: list[Box], seed: int, shape: tuple[int, int]
) -> None:
    width, height = shape
    frame = noise(seed, *shape)
    cut = cut_out(frame, face, others)
    assume(cut is not None)
    seen = Box(max(face.x0, 0), max(face.y0, 0), min(face.x1, 1), min(face.y1, 1))
    eyes = Box(seen.x0, seen.y0 + 0.05 * seen.height, seen.x1, seen.y0 + 0.54 * seen.height)
    changed = frame
    for one in (eyes, *others):
        area = (
            max(0, floor(one.x0 * width + 1e-6)), max(0, floor(one.y0 * height + 1e-6)),
            min(width, ceil(one.x1 * width - 1e-6)), min(height, ceil(one.y1 * height - 1e-6)),
        )  # fmt: skip
        if area[0] < area[2] and area[1] < area[3]:
            changed = scribbled(changed, area, seed + 1)
    assert cut_out(changed, face, others) == cut


@settings(max_examples=150, deadline=None)
@given(boxes, st.sampled_from([(640, 480), (1920, 1080), (333, 77)]))
def test_the_geometry_leads_back_to_the_frame_exactly(face: Box, shape: tuple[int, int]) -> None:
    width, height = shape
    cut = cut_out(np.zeros((height, width, 3), np.uint8), face, [])
    assume(cut is not None)
    assert cut is not None
    picture = size(cut)
    wide, high = picture.width / cut.scale, picture.height / cut.scale
    assert (wide, high) == (round(wide), round(high))
    assert cut.origin[0] >= 0 and cut.origin[1] >= 0
    assert cut.origin[0] + wide <= width and cut.origin[1] + high <= height
    assert 0 < cut.scale <= 1 and min(picture.width, picture.height) >= 8
    assert max(picture.width, picture.height) <= 320
    assert cut.frame_size == shape
    visible = [min(max(value, 0.0), 1.0) for value in (face.x0, face.y0, face.x1, face.y1)]
    for index, value in enumerate(visible):
        axis = index % 2
        start, side = cut.origin[axis], (wide, high)[axis]
        shown = min(max(value * shape[axis], start), start + side)
        assert start + cut.box[index] * side == pytest.approx(shown, abs=1e-6)
        # Only where a face fills its crop may trimming to whole px cost it a little.
        assert abs(shown - value * shape[axis]) < (16 if cut.scale < 1 or side == 320 else 1e-6)
    assert 0 <= cut.box[0] < cut.box[2] <= 1
    assert 0 <= cut.box[1] < cut.box[3] <= 1


def test_pixels_lie_where_the_geometry_says() -> None:
    frame = (noise(5) // 8).astype(np.uint8)
    frame[205:213, 240:252] = 255  # on the chin, below the band
    cut = require_cut(frame, BANDS["in the middle"][0])
    picture = cv2.imdecode(np.frombuffer(cut.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    rows, columns = np.nonzero(picture > 180)
    assert (cut.origin, cut.scale, picture.shape) == ((150, 40), 1.0, (240, 200))
    assert (rows.min() + 40, rows.max() + 41, columns.min() + 150, columns.max() + 151) == (205, 213, 240, 252)
    assert cut.box == (0.25, 0.25, 0.75, 0.75)


def test_a_large_face_shrinks_to_a_whole_sixteenth() -> None:
    cut = require_cut(noise(5), box(220, 90, 420, 390))
    assert (cut.origin, cut.scale) == ((120, 0), 10 / 16)
    assert size(cut) == Picture(250, 300, 3)


def segments(jpeg: bytes) -> Iterator[int]:
    at = 2
    while jpeg[at + 1] != 0xDA:
        yield jpeg[at + 1]
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")


@pytest.mark.parametrize("name", BANDS)
def test_a_picture_passes_the_clouds_gate_and_carries_no_metadata(name: str) -> None:
    cut = require_cut(noise(6), BANDS[name][0])  # noise is the hardest there is to compress
    assert size(cut).components == 3
    assert len(cut.jpeg) <= 60_000 < CROP_LIMIT - HEADER_LIMIT
    assert [one for one in segments(cut.jpeg) if 0xE0 <= one <= 0xEF or one == 0xFE] == [0xE0]


def test_a_picture_too_heavy_at_first_loses_quality_not_size(monkeypatch: pytest.MonkeyPatch) -> None:
    face = box(240, 160, 400, 320)
    light = require_cut(noise(7), face)
    monkeypatch.setattr(privacy, "LARGEST_BYTES", 10**6)
    heavy = require_cut(noise(7), face)
    assert len(light.jpeg) <= 60_000 < len(heavy.jpeg)
    assert size(light) == size(heavy) == Picture(320, 320, 3)


NOTHING = {
    "a face of 7 px": (box(100, 100, 107, 120), ()),
    "a face all but outside": (box(-93, 100, 7, 200), ()),
    "a face beyond the frame": (box(700, 100, 800, 200), ()),
    "a face behind another": (box(200, 100, 300, 220), (box(210, 90, 310, 230),)),
    "a face between two": (box(200, 100, 300, 220), (box(150, 90, 230, 230), box(270, 90, 340, 230))),
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_cannot_be_labelled_gives_no_crop(name: str) -> None:
    face, others = NOTHING[name]
    assert cut_out(noise(8), face, others) is None


def test_a_strip_that_would_vanish_gives_no_crop() -> None:
    assert cut_out(noise(8, 2000, 100), Box(0, 0.3, 1, 0.4), []) is None


def test_the_smallest_face_gives_the_smallest_crop() -> None:
    assert size(require_cut(noise(8), box(100, 100, 108, 108))) == Picture(16, 16, 3)
    assert size(require_cut(noise(8, 8, 8), Box(0, 0, 1, 1))) == Picture(8, 8, 3)


@pytest.mark.parametrize(
    ("frame", "face", "why"),
    [
        (np.zeros((48, 64), np.uint8), Box(0, 0, 1, 1), "a frame is uint8"),
        (np.zeros((48, 64, 3), np.float32), Box(0, 0, 1, 1), "a frame is uint8"),
        (np.zeros((0, 64, 3), np.uint8), Box(0, 0, 1, 1), "a frame is uint8"),
        (np.zeros((10, 4097, 3), np.uint8), Box(0, 0, 1, 1), "4096"),
        (np.zeros((48, 64, 3), np.uint8), Box(0, 0, float("nan"), 1), "no number"),
        (np.zeros((48, 64, 3), np.uint8), Box(0.5, 0, 0.4, 1), "inside out"),
    ],
)
def test_what_is_no_frame_or_no_box_is_refused(frame: Pixels, face: Box, why: str) -> None:
    with pytest.raises(ContractError, match=why):
        cut_out(frame, face, [])
    if frame.shape == (48, 64, 3) and frame.dtype == np.uint8:
        with pytest.raises(ContractError, match=why):
            cut_out(frame, Box(0, 0, 1, 1), [face])


def test_the_frame_itself_stays_as_it_is() -> None:
    frame = noise(9)
    before = frame.copy()
    cut_out(frame, box(200, 100, 300, 220), [box(310, 120, 360, 190)])
    assert np.array_equal(frame, before)


def test_drawn_eyes_are_covered() -> None:
    scene = Scene("entrance", seed=5, people=10)
    found = 0
    for index in range(0, scene.frames, 8):
        frame, faces = scene.render(index)
        for face in faces:
            cut = cut_out(frame, box(*face.box), [box(*one.box) for one in faces if one is not face])
            if cut is None or face.box[1] < 2 or face.box[3] > HEIGHT - 2:
                continue
            assert_eyes_are_grey(cut, face)
            found += 1
    assert found > 15


def assert_eyes_are_grey(cut: Cutout, face: Face) -> None:
    picture = cv2.imdecode(np.frombuffer(cut.jpeg, np.uint8), cv2.IMREAD_COLOR)
    top = (face.box[1] - cut.origin[1]) * cut.scale
    high = (face.box[3] - face.box[1]) * cut.scale
    left, right = (round((x - cut.origin[0]) * cut.scale) for x in (face.box[0], face.box[2]))
    eyes = picture[round(top + 0.2 * high) : round(top + 0.45 * high), max(0, left) : right]
    assert abs(eyes.astype(int) - FILL[0]).max() <= 25  # what JPEG rings beside the fill's edges
