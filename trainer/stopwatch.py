"""Time and memory of both ways: frames with a known number of faces, in turn, on one thread."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from agent.vision.detector import Detector
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from trainer.crops import overlaps
from trainer.dataset import Split
from trainer.look import faces_in, read_image
from trainer.side_by_side import ONE, TWO
from trainer.two_stage import Corners, Finder, Pair, crop_square, cut

WIDTH, HEIGHT = 640, 480
COUNTS = (0, 1, 2, 4, 8)
PATCH, COLUMNS, ROWS = 140, 4, 2  # px of a pasted face with its surroundings; places for them
PLACES = COLUMNS * ROWS
NARROWEST = 40  # px of a face worth pasting
WAYS = ("neither", ONE, TWO)
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Material:
    """What frames are made of, BGR, from photographs: faces and blanks (PATCH, PATCH, 3), backgrounds (HEIGHT, WIDTH, 3)."""

    faces: tuple[Pixels, ...]
    blanks: tuple[Pixels, ...]
    backgrounds: tuple[Pixels, ...]

    def frame(self, faces: int, random: np.random.Generator) -> Pixels:
        """A frame with that many faces at different places, at most PLACES; blanks fill the others.

        So a frame with more faces has no more edges and texture, which alone would cost a cascade time.
        """
        canvas = self.backgrounds[int(random.integers(len(self.backgrounds)))].copy()
        pasted = [*_some(self.faces, faces, random), *_some(self.blanks, PLACES - faces, random)]
        for place, patch in zip(random.permutation(PLACES).tolist(), pasted, strict=True):
            _paste(canvas, patch, place)
        return canvas


def gather(split: Split, detector: Detector, finder: Finder, random: np.random.Generator) -> Material:
    """Faces that both ways see (or the widest, where there are too few); backgrounds and blanks in which neither sees any.

    Raises ContractError where no face of the split is NARROWEST px wide.
    """
    wide: list[tuple[float, Pixels]] = []
    blanks: list[Pixels] = []
    backgrounds: list[Pixels] = []
    grey = np.full((HEIGHT, WIDTH, 3), 127, np.uint8)

    def seen(pixels: Pixels) -> tuple[int, int]:
        """How many the one model finds, and the cascade; a patch is looked at alone in a grey frame."""
        canvas = pixels if pixels.shape == grey.shape else grey.copy()
        if canvas is not pixels:
            _paste(canvas, pixels, 1)
        return len(detector.detect(canvas)), len(finder.find(canvas))

    for image in split.images:
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        boxes: list[Corners] = [face.corner(width, height) for face in faces_in(image, width, height)]
        wide.extend((box[2], _patch(pixels, box)) for box in boxes if box[2] >= NARROWEST)
        for kept, size in ((blanks, (PATCH, PATCH)), (backgrounds, (WIDTH, HEIGHT))):
            empty = _empty(pixels, boxes, size, random)
            if empty is not None and seen(empty) == (0, 0):
                kept.append(empty)
    if not wide:
        raise ContractError(f"split '{split.name}' has no face of {NARROWEST} px: there is nothing to time with")
    wide.sort(key=lambda one: -one[0])
    faces = [face for _, face in wide if seen(face) == (1, 1)]
    if len(faces) < PLACES:
        faces = [face for _, face in wide[:PLACES]]
    return Material(tuple(faces), tuple(blanks or [grey[:PATCH, :PATCH]]), tuple(backgrounds or [grey]))


def measure_time(
    material: Material, detector: Detector, finder: Finder, pair: Pair, *, frames: int, random: np.random.Generator
) -> list[dict[str, float]]:
    """Per number of faces the median ms a frame of both ways, and of finding alone, over `frames` frames each.

    Milliseconds are the thread's processor time, so that what else runs here does not count; `wall` is by the clock.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return [_time(material, detector, finder, pair, faces, frames, random) for faces in COUNTS]
    finally:
        cv2.setNumThreads(threads)


def measure_memory(model: Path, classifier: Path, frame: Pixels) -> dict[str, float]:
    """Resident MiB of a process of its own after twenty frames, by way; "neither" has only the libraries loaded."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "frame.npy"
        np.save(path, frame)
        return {way: _resident(way, classifier if way == TWO else model, path) for way in WAYS}


def slope(times: Sequence[dict[str, float]], way: str) -> float:
    """Milliseconds that one more face costs, by least squares."""
    faces, spent = [one["faces"] for one in times], [one[way] for one in times]
    return float(np.polyfit(faces, spent, 1)[0])


def _time(
    material: Material, detector: Detector, finder: Finder, pair: Pair, faces: int, frames: int, random: np.random.Generator
) -> dict[str, float]:  # fmt: skip
    spent: dict[str, list[tuple[float, float]]] = {ONE: [], "finding": [], TWO: []}
    looked: dict[str, list[int]] = {ONE: [], TWO: []}

    def one_model(pixels: Pixels) -> None:
        begun = _clocks()
        found = detector.detect(pixels)
        spent[ONE].append(_since(begun))
        looked[ONE].append(len(found))

    def two_models(pixels: Pixels) -> None:
        begun = _clocks()
        squares = finder.find(pixels)
        spent["finding"].append(_since(begun))
        pair.label(pixels, squares)
        spent[TWO].append(_since(begun))
        looked[TWO].append(len(squares))

    for turn in range(frames + 1):
        pixels = material.frame(faces, random)
        for way in (one_model, two_models) if turn % 2 else (two_models, one_model):
            way(pixels)
    middle = {
        f"{name}{suffix}": round(statistics.median(one[which] for one in rows[1:]) * 1000, 2)
        for name, rows in spent.items()  # without the first, which pays for the caches
        for which, suffix in enumerate(("", "_wall"))
    }
    return {
        "faces": faces, **middle, "seen_by_one_model": round(statistics.mean(looked[ONE][1:]), 2),
        "classified_by_two_models": round(statistics.mean(looked[TWO][1:]), 2),
    }  # fmt: skip


def _clocks() -> tuple[float, float]:
    return time.thread_time(), time.perf_counter()


def _since(begun: tuple[float, float]) -> tuple[float, float]:
    own, wall = _clocks()
    return own - begun[0], wall - begun[1]


def _resident(way: str, model: Path, frame: Path) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "trainer.footprint", way, str(model.resolve()), str(frame)]
    settings = {"PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ContractError(f"the memory of {way} could not be measured: {done.stderr.strip().splitlines()[-1:]}")
    return round(float(done.stdout) / 1024, 1)


def _patch(pixels: Pixels, box: Corners) -> Pixels:
    return cut(pixels, crop_square(box, 2.0), PATCH)[..., ::-1].copy()


def _paste(canvas: Pixels, face: Pixels, place: int) -> None:
    row, column = divmod(place, COLUMNS)
    x = column * (WIDTH // COLUMNS) + (WIDTH // COLUMNS - PATCH) // 2
    y = row * (HEIGHT // ROWS) + (HEIGHT // ROWS - PATCH) // 2
    canvas[y : y + PATCH, x : x + PATCH] = face


def _some(pool: Sequence[Pixels], number: int, random: np.random.Generator) -> list[Pixels]:
    """That many of the pool, none twice before all were there."""
    order = random.permutation(len(pool)).tolist()
    return [pool[order[index % len(order)]] for index in range(number)]


def _empty(
    pixels: Pixels, boxes: Sequence[Corners], size: tuple[int, int], random: np.random.Generator
) -> Pixels | None:
    """A part of the photograph without a labelled face, scaled to `size` (width, height); None where none was hit on."""
    height, width = pixels.shape[:2]
    across, down = size
    low = 0.35 if size == (WIDTH, HEIGHT) else 0.15
    for _ in range(20):
        wide = float(random.uniform(low, 0.8)) * min(width, height * across / down)
        high = wide * down / across
        x, y = float(random.uniform(0, width - wide)), float(random.uniform(0, height - high))
        if not any(overlaps((x, y, wide, high), box) for box in boxes):
            part = pixels[round(y) : round(y) + max(1, round(high)), round(x) : round(x) + max(1, round(wide))]
            return cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return None
