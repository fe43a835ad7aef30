"""What quantisation costs: the float network scored by the same arithmetic, on the same letterboxed pictures, as its int8 file."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.vision.detector import NMS_IOU, Detection, Detector, detections
from agent.vision.yolo import BINS, Floats, Placement, corners, letterbox, suppress
from contract.labels import LABELS, Label
from trainer import environment
from trainer.dataset import Split
from trainer.evaluate import LOWEST, Report, score
from trainer.look import look, read_image

SAME_BOX = 0.5  # overlap from which two runtimes found the same face


def evaluate_float(
    weights: Path, split: Split, *, size: int, thresholds: dict[Label, float], min_box: float = 0.0
) -> Report:
    """Score float weights on `split`, letterboxed to `size` px.

    Raises ContractError for unreadable images or weights, and where the training environment is missing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        placements = _write_pictures(split, size, folder / "pictures.npy")
        environment.run("train", "trainer.floats", [weights.resolve(), folder / "pictures.npy", folder])
        maps = [
            (stride, np.load(folder / f"boxes_{stride}.npy"), np.load(folder / f"classes_{stride}.npy"))
            for stride in (8, 16, 32)
        ]
    looks = iter(enumerate(placements))

    def detect(pixels: np.ndarray) -> list[Detection]:  # type: ignore[type-arg]
        index, placement = next(looks)
        boxes, scores = _decode([(stride, bins[index], logits[index]) for stride, bins, logits in maps])
        kept = suppress(boxes, scores, iou=NMS_IOU)
        return detections(boxes[kept], scores[kept], placement, (pixels.shape[1], pixels.shape[0]))

    return score(tuple(look(detect, split)), thresholds, min_box=min_box)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two runtimes on the same file and pictures, at the operating thresholds."""

    same: int  # detections of either that the other has too: same label, nearly the same box
    found: int  # by both together

    @property
    def share(self) -> float:
        """0..1; 1 where there was nothing to find."""
        return self.same / self.found if self.found else 1.0


def agreement(
    model: Path, split: Split, runtimes: tuple[str, str], progress: Callable[[int, int], None] | None = None
) -> Agreement:
    """How far two runtimes find the same in every image of `split`. Raises ContractError where one is not installed."""
    eyes = [Detector.load(model, runtime=runtime) for runtime in runtimes]
    same = found = 0
    for number, image in enumerate(split.images, start=1):
        pixels = read_image(image)
        ours, theirs = (one.detect(pixels) for one in eyes)
        found += len(ours) + len(theirs)
        same += 2 * _pairs(ours, theirs)
        if progress:
            progress(number, len(split.images))
    return Agreement(same, found)


def _pairs(ours: list[Detection], theirs: list[Detection]) -> int:
    left = list(theirs)
    for one in ours:
        match = next((o for o in left if o.label is one.label and o.box.iou(one.box) >= SAME_BOX), None)
        if match:
            left.remove(match)
    return len(theirs) - len(left)


def _write_pictures(split: Split, size: int, out: Path) -> list[Placement]:
    pictures = np.lib.format.open_memmap(out, mode="w+", dtype=np.uint8, shape=(len(split.images), size, size, 3))  # type: ignore[no-untyped-call]
    placements = []
    for index, image in enumerate(split.images):
        tensor, placement = letterbox(read_image(image), size)
        pictures[index] = tensor.view(np.uint8)[0] ^ 0x80
        placements.append(placement)
    pictures.flush()
    return placements


def _decode(maps: list[tuple[int, Floats, Floats]]) -> tuple[Floats, Floats]:
    """Boxes (n, 4) as corners in input px and class scores (n, classes), of cells that reach LOWEST."""
    boxes, scores = [], []
    for stride, bins, logits in maps:
        rows, columns, _ = logits.shape
        values = 1 / (1 + np.exp(-logits.reshape(rows * columns, len(LABELS))))
        cells = np.flatnonzero((values >= LOWEST).any(axis=1))
        scores.append(values[cells])
        boxes.append(corners(bins.reshape(rows * columns, 4, BINS)[cells], cells, columns, stride))
    return np.concatenate(boxes), np.concatenate(scores)
