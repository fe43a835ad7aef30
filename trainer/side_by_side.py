"""Accuracy of both ways on the same photographs, and the two faults apart: not finding a face, and telling it wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.vision.detector import Detection, Detector
from contract.errors import ContractError
from contract.labels import LABELS, Label
from trainer.dataset import Split
from trainer.evaluate import LOWEST, score
from trainer.look import Face, Seen, faces_in, read_image
from trainer.two_stage import Classifier, Finder, Pair, label_faces

SAME = 0.5  # overlap (IoU) from which a box is about a labelled face
ONE, TWO, GIVEN = "one_model", "two_models", "labelled_boxes"
EVERYTHING: dict[Label, float] = dict.fromkeys(LABELS, LOWEST)


@dataclass(frozen=True, slots=True)
class Faults:
    """Counts at the operating thresholds: labelled faces, those found, those of them told right, boxes without a face."""

    faces: int
    found: int
    right: int
    astray: int

    def __add__(self, other: "Faults") -> "Faults":
        return Faults(
            self.faces + other.faces, self.found + other.found, self.right + other.right, self.astray + other.astray
        )


def measure_accuracy(
    model: Path, finder: Finder, classifier: Classifier, split: Split, *, min_box: float,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Every way's scores by the arithmetic of `trainer evaluate`, with its `Faults`; keys ONE, TWO and GIVEN.

    GIVEN is the classifier on the labelled boxes, each of them decided: the pair with a face detector that never errs.
    The one model decides at its manifest's thresholds, the others at their own best ones on this split (as those were chosen).
    Raises ContractError where the split has no face of `min_box`.
    """
    detector = Detector.load(model, thresholds=EVERYTHING)
    pair = Pair(finder, classifier, thresholds=EVERYTHING)
    seen: dict[str, list[Seen]] = {ONE: [], TWO: [], GIVEN: []}
    for index, image in enumerate(split.images):
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        faces = faces_in(image, width, height)
        boxes = [face.corner(width, height) for face in faces]
        answers = {
            ONE: detector.detect(pixels),
            TWO: pair.detect(pixels),
            GIVEN: label_faces(pixels, boxes, classifier, EVERYTHING, sure=True),
        }
        for name, found in answers.items():
            seen[name].append(Seen(index, width, height, faces, tuple(found)))
        if progress:
            progress(index + 1, len(split.images))
    if not any(face.share >= min_box for one in seen[ONE] for face in one.truth):
        raise ContractError(f"split '{split.name}' has no face of at least {min_box:g} of the picture to judge by")
    return {
        name: _row(looks, min_box, detector.manifest.thresholds if name == ONE else None, sure=name == GIVEN)
        for name, looks in seen.items()
    }


def count_faults(faces: Sequence[Face], said: Sequence[Detection], min_share: float) -> Faults:
    """Of one picture: each box, surest first, takes the labelled face that it overlaps most, if nobody has it yet.

    Faces narrower than `min_share` count neither for nor against.
    """
    free = list(faces)
    found = right = astray = 0
    for one in sorted(said, key=lambda detection: -detection.confidence):
        best = max(free, key=lambda face: face.box.iou(one.box), default=None)
        if best is None or best.box.iou(one.box) < SAME:
            astray += 1
            continue
        free.remove(best)
        if best.share >= min_share:
            found += 1
            right += best.label is one.label
    return Faults(sum(face.share >= min_share for face in faces), found, right, astray)


def _row(
    looks: Sequence[Seen], min_box: float, thresholds: Mapping[Label, float] | None, *, sure: bool
) -> dict[str, Any]:
    report = score(looks, thresholds, min_box=min_box)
    decided = thresholds or {label: report.best_thresholds.get(label, 1.0) for label in LABELS}
    if sure:
        decided = EVERYTHING  # somebody is there: the question is only what is said
    faults = Faults(0, 0, 0, 0)
    for one in looks:
        said = [detection for detection in one.found if detection.confidence >= decided[detection.label]]
        faults += count_faults(one.truth, said, min_box)
    return report.as_json() | {
        "thresholds": {str(label): round(value, 3) for label, value in decided.items()},
        "faults": asdict(faults),
    }
