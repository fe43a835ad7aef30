"""What training pictures go through besides the library's own augmentation: eyes filled as in crops, tiny faces painted over."""

import random
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.eyes import BAND_BESIDE, BAND_BOTTOM, BAND_TOP, FILL


def fill_eyes(label: dict[str, Any], share: float) -> dict[str, Any]:
    """A picture of the library's data set with the eyes of about `share` of its faces filled; the set's own stays as it is.

    `label` holds `img`, uint8 BGR (height, width, 3), and `instances`, whose boxes are centre and size in the unit square.
    """
    boxes = [box for box in label["instances"].bboxes if random.random() < share]  # noqa: S311 - the library seeds it
    if boxes:
        label["img"] = label["img"].copy()
    for box in boxes:
        fill_band(label["img"], box)
    return label


def paint_tiny(label: dict[str, Any], tiny: float) -> dict[str, Any]:
    """A picture of the library's at the network's size without its faces narrower than `tiny` px: see `paint_narrow`.

    `label` holds `img`, uint8 BGR (height, width, 3), `cls` (n, 1) and `instances`.
    """
    height, width = label["img"].shape[:2]
    faces = label["instances"]
    faces.convert_bbox("xyxy")
    faces.denormalize(width, height)
    wide = paint_narrow(label["img"], faces.bboxes, tiny)
    label["instances"], label["cls"] = faces[wide], label["cls"][wide]
    return label


def paint_narrow(
    pixels: npt.NDArray[np.uint8], boxes: npt.NDArray[np.floating[Any]], tiny: float
) -> npt.NDArray[np.bool_]:
    """Paint over, in place, what lies in boxes narrower than `tiny` px; returns which of them stay.

    `boxes` (n, 4) are corners in px. Small faces in crowds are labelled here and not there: neither finding nor missing them
    shall be learned.
    """
    wide = np.asarray(boxes[:, 2] - boxes[:, 0] >= tiny, np.bool_)
    for left, top, right, bottom in boxes[~wide].round().astype(int).clip(0):
        pixels[top:bottom, left:right] = FILL
    return wide


def fill_band(pixels: npt.NDArray[np.uint8], box: npt.NDArray[np.floating[Any]]) -> None:
    """Fill the eye band of one face, in place; `box` is centre and size in the unit square."""
    height, width = pixels.shape[:2]
    x, y, w, h = (float(value) for value in box)
    left, right = (max(0, round((x + side * (0.5 + BAND_BESIDE) * w) * width)) for side in (-1, 1))
    top, bottom = (max(0, round((y + (share - 0.5) * h) * height)) for share in (BAND_TOP, BAND_BOTTOM))
    pixels[top:bottom, left:right] = FILL
