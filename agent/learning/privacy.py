"""The only door for pixels: one face with little around it, its eyes and everybody else's face filled before encoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, gcd, isfinite

import cv2
import numpy as np

from agent.vision.geometry import Box
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.eyes import BAND_BESIDE, BAND_BOTTOM, BAND_TOP, FILL

CONTEXT = 2.0  # sides of the crop in sides of the face
LARGEST_SIDE = 320  # px of the crop
LEAST_SIDE = 8  # px of the crop, and of the face in the frame: below it nobody can tell how a mask is worn
LARGEST_FRAME = 4096  # px
SCALE_STEPS = 16  # a larger crop shrinks by a multiple of 1/16, so that its pixels map back to the frame exactly
LARGEST_BYTES = 60_000
QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20, 10)
OTHERS_AROUND = 0.10  # beyond another face's box on each side, of its side
FACE_HEIGHT = 1.3  # least height in widths of a whole face, where the frame's edge cuts it
HIDDEN_MOST = 0.5  # of the face: covered by others' fills beyond this, there is nothing left to label


@dataclass(frozen=True, slots=True)
class Cutout:
    """A picture that may leave, and where it lay: the geometry fields of a `CropHeader`.

    Exactly, for a crop of (w, h) px: frame px = origin + crop px / scale, and box corner * w is in crop px.
    """

    jpeg: bytes
    box: tuple[float, float, float, float]  # of the face in the crop, corners in the unit square
    frame_size: tuple[int, int]  # width, height in px
    origin: tuple[int, int]  # left, top in px of the frame
    scale: float  # crop px per frame px, at most 1


@dataclass(frozen=True, slots=True)
class _Rect:
    """Whole px of a frame, the far side excluded."""

    left: int
    top: int
    right: int
    bottom: int


def cut_out(pixels: Pixels, face: Box, others: Sequence[Box]) -> Cutout | None:
    """Minimise a frame, uint8 BGR (height, width, 3), to one face; boxes in the unit square, as detected in this frame.

    `face` must be what the detector said in this very frame, not a smoothed or predicted box. No byte of the result
    depends on what lies in the face's eye band or in another face's box; a face that is in neither is not protected.
    Boxes are clipped to the frame. None where no crop can help: less than 8 px of the face in the frame, a strip that
    would shrink below 8 px, or a face more than half hidden by others' fills. Only geometry decides, never content.
    Raises ContractError for a frame of another shape or over 4096 px, and for a box that is not finite or inside out.
    """
    height, width = _require_frame(pixels)
    seen = _clipped(_in_px(face, width, height), width, height)
    if min(seen.width, seen.height) < LEAST_SIDE:
        return None
    fills = [_around(_in_px(other, width, height), OTHERS_AROUND, width, height) for other in others]
    if _hidden(seen, fills) > HIDDEN_MOST:
        return None
    region, scale = _region(seen, width, height)
    size = round((region.right - region.left) * scale), round((region.bottom - region.top) * scale)
    if min(size) < LEAST_SIDE:
        return None
    picture = pixels[region.top : region.bottom, region.left : region.right].copy()
    for fill in [*fills, _eye_band(seen, width, height)]:
        _paint(picture, fill, region)
    if scale < 1:
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Cutout(_encode(picture), _within(seen, region), (width, height), (region.left, region.top), scale)


def _require_frame(pixels: Pixels) -> tuple[int, int]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ContractError(f"a frame is uint8 (height, width, 3), not {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_FRAME:
        raise ContractError(f"a frame of {width} x {height} px; sides up to {LARGEST_FRAME} are allowed")
    return height, width


def _in_px(box: Box, width: int, height: int) -> Box:
    if not all(isfinite(value) for value in (box.x0, box.y0, box.x1, box.y1)):
        raise ContractError("a box with a corner that is no number")
    if box.x1 < box.x0 or box.y1 < box.y0:
        raise ContractError(f"a box inside out: {box}")
    return Box(box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height)


def _clipped(box: Box, width: int, height: int) -> Box:
    x0, x1 = (min(max(x, 0.0), float(width)) for x in (box.x0, box.x1))
    y0, y1 = (min(max(y, 0.0), float(height)) for y in (box.y0, box.y1))
    return Box(x0, y0, x1, y1)


def _region(seen: Box, width: int, height: int) -> tuple[_Rect, float]:
    """The face with its context in whole px of the frame, and the scale that makes it small enough."""
    left, right = _span(seen.x0, seen.x1, width)
    top, bottom = _span(seen.y0, seen.y1, height)
    largest = max(right - left, bottom - top)
    if largest <= LARGEST_SIDE:
        return _Rect(left, top, right, bottom), 1.0
    steps = SCALE_STEPS * LARGEST_SIDE // (largest - largest % SCALE_STEPS)
    left, right = _trimmed(left, right, seen.x0, seen.x1, steps)
    top, bottom = _trimmed(top, bottom, seen.y0, seen.y1, steps)
    return _Rect(left, top, right, bottom), steps / SCALE_STEPS


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    centre, reach = (low + high) / 2, (high - low) * CONTEXT / 2
    return max(0, floor(centre - reach)), min(limit, ceil(centre + reach))


def _trimmed(start: int, end: int, low: float, high: float, steps: int) -> tuple[int, int]:
    """At most 15 px shorter, so that `steps` sixteenths of it are whole px; both ends give as they have room."""
    length = min(end - start, SCALE_STEPS * LARGEST_SIDE // steps)
    length -= length % (SCALE_STEPS // gcd(steps, SCALE_STEPS))
    excess = end - start - length
    before, after = max(0.0, low - start), max(0.0, end - high)
    first = round(excess * before / (before + after)) if before + after else 0
    return start + first, end - (excess - first)


def _eye_band(seen: Box, width: int, height: int) -> _Rect:
    """Where the eyes may be; a face cut by the frame's upper or lower edge is taken to go on beyond it."""
    whole = max(seen.height, FACE_HEIGHT * seen.width)
    y0 = seen.y1 - whole if seen.y0 <= 1 else seen.y0
    y1 = y0 + whole if seen.y1 >= height - 1 else seen.y1
    top = 0.0 if seen.y0 <= 1 else y0 + BAND_TOP * (seen.y1 - y0)
    bottom = max(y0 + BAND_BOTTOM * (y1 - y0), seen.y0 + BAND_BOTTOM * seen.height)
    beside = BAND_BESIDE * seen.width
    return _outward(Box(seen.x0 - beside, top, seen.x1 + beside, bottom), width, height)


def _around(box: Box, share: float, width: int, height: int) -> _Rect:
    wide, high = share * box.width, share * box.height
    return _outward(Box(box.x0 - wide, box.y0 - high, box.x1 + wide, box.y1 + high), width, height)


def _outward(box: Box, width: int, height: int) -> _Rect:
    """Every px that the box touches, inside the frame."""
    inside = _clipped(box, width, height)
    return _Rect(floor(inside.x0), floor(inside.y0), ceil(inside.x1), ceil(inside.y1))


def _hidden(face: Box, fills: Sequence[_Rect]) -> float:
    """Share of the face's px under the fills, 0..1."""
    left, top, right, bottom = floor(face.x0), floor(face.y0), ceil(face.x1), ceil(face.y1)
    covered = np.zeros((bottom - top, right - left), np.bool_)
    for fill in fills:
        rows = slice(max(0, fill.top - top), max(0, fill.bottom - top))
        covered[rows, max(0, fill.left - left) : max(0, fill.right - left)] = True
    return float(covered.mean())


def _paint(picture: Pixels, fill: _Rect, region: _Rect) -> None:
    rows = slice(max(0, fill.top - region.top), max(0, fill.bottom - region.top))
    picture[rows, max(0, fill.left - region.left) : max(0, fill.right - region.left)] = FILL


def _within(seen: Box, region: _Rect) -> tuple[float, float, float, float]:
    wide, high = region.right - region.left, region.bottom - region.top
    x0, x1 = (min(1.0, max(0.0, (x - region.left) / wide)) for x in (seen.x0, seen.x1))
    y0, y1 = (min(1.0, max(0.0, (y - region.top) / high)) for y in (seen.y0, seen.y1))
    return x0, y0, x1, y1


def _encode(picture: Pixels) -> bytes:
    """A baseline JPEG without metadata, at the best quality that fits."""
    for quality in QUALITIES:
        options = [
            cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, 0, cv2.IMWRITE_JPEG_RST_INTERVAL, 0,
        ]  # fmt: skip
        written, jpeg = cv2.imencode(".jpg", picture, options)
        if written and jpeg.size <= LARGEST_BYTES:
            return jpeg.tobytes()
    raise ContractError(f"a crop that no quality brings under {LARGEST_BYTES} bytes")
