"""The training set of the two-stage baseline's classifier: face crops cut from labelled photographs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.labels import LABELS
from trainer.dataset import Split
from trainer.look import faces_in, read_image
from trainer.two_stage import MARGIN, NO_FACE, Corners, Fit, crop_square, cut

STORED = 4 / 3  # crops are stored wider by this, so that training can move its window over the face
SMALLEST = 0.025  # faces narrower than this share of the picture's longer side teach nothing
FILES = ("crops.npy", "kinds.npy", "crops.json")  # the last one is written last

Finder = Callable[[Pixels], list[Corners]]


def measure_fit(pairs: Sequence[tuple[Corners, Corners]]) -> Fit:
    """Medians, and spreads from the quartiles, over (square of the detector, labelled box); `Fit()` under ten pairs."""
    if len(pairs) < 10:
        return Fit()
    rows = np.array(
        [
            ((bx + bw / 2 - x - s / 2) / s, (by + bh / 2 - y - s / 2) / s, bw / s, bh / s)
            for (x, y, s, _), (bx, by, bw, bh) in pairs
        ]
    )
    low, middle, high = np.percentile(rows, (25, 50, 75), axis=0)
    spread = (high - low) / 1.349
    rounded = [round(float(value), 4) for value in (*middle, spread[:2].mean(), (spread[2:] / middle[2:]).mean())]
    return Fit(*rounded)


def belongs(square: Corners, box: Corners) -> bool:
    """Whether a face detector's square is about this face: its centre in the box, its side near the box's."""
    x, y = square[0] + square[2] / 2, square[1] + square[3] / 2
    inside = box[0] < x < box[0] + box[2] and box[1] < y < box[1] + box[3]
    return inside and 0.5 < square[2] / max(box[2], box[3]) < 3


def overlaps(square: Corners, box: Corners) -> bool:
    """Whether the two share any area."""
    return (
        square[0] < box[0] + box[2]
        and box[0] < square[0] + square[2]
        and square[1] < box[1] + box[3]
        and box[1] < square[1] + square[3]
    )


def write_crops(
    split: Split, find: Finder, folder: Path, *, size: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:  # fmt: skip
    """Cut the crops of `split` into `folder` and return what its `crops.json` says: how many of each class, and the fit.

    Faces are cut by their labels. "No face" is what `find` (a face detector: squares in px) finds where none is labelled,
    and one square at random per picture. Raises ContractError where the split has no face of a class to learn.
    """
    random = np.random.default_rng(seed)
    stored = stored_size(size)
    crops: list[Pixels] = []
    kinds: list[int] = []
    pairs: list[tuple[Corners, Corners]] = []
    for index, image in enumerate(split.images):
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        faces: list[tuple[int, Corners]] = [
            (LABELS.index(face.label), face.corner(width, height)) for face in faces_in(image, width, height)
        ]
        squares = find(pixels)
        pairs.extend(
            (square, box)
            for _, box in faces
            for square in [one for one in squares if box[2] >= SMALLEST * max(width, height) and belongs(one, box)][:1]
        )
        side = float(random.uniform(0.08, 0.4)) * min(width, height)
        squares = [*squares, (random.uniform(0, width - side), random.uniform(0, height - side), side, side)]
        empty = [square for square in squares if not any(overlaps(square, box) for _, box in faces)]
        wanted = [(kind, box) for kind, box in faces if box[2] >= SMALLEST * max(width, height)]
        for kind, box in [*wanted, *((NO_FACE, square) for square in empty)]:
            crops.append(cut(pixels, crop_square(box, MARGIN * STORED), stored))
            kinds.append(kind)
        if progress:
            progress(index + 1, len(split.images))
    counts = np.bincount(np.array(kinds, np.int64), minlength=NO_FACE + 1)
    for kind, label in enumerate(LABELS):
        if not counts[kind]:
            raise ContractError(f"split '{split.name}' has no face {label} to learn from")
    names = [*(str(label) for label in LABELS), "no_face"]
    told = {
        "split": split.name, "images": len(split.images), "size": stored, "fit": asdict(measure_fit(pairs)),
        "fitted_on": len(pairs), "crops": dict(zip(names, counts.tolist(), strict=True)),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / FILES[0], np.stack(crops))
    np.save(folder / FILES[1], np.array(kinds, np.int64))
    write_json(folder / FILES[2], told)
    return told


def stored_size(size: int) -> int:
    """Side in px of a stored crop for a classifier whose input is `size` px."""
    return round(size * STORED)


def write_json(path: Path, content: Any) -> None:
    """As `write_text`, indented."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write beside and rename, so that a file that is there is whole."""
    beside = path.with_suffix(".part")
    beside.write_text(text)
    beside.replace(path)
