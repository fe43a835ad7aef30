"""What a model gets wrong on a split: the confusion of classes at the operating thresholds, and its worst mistakes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from agent.vision.detector import FAINT, Detection
from agent.vision.geometry import Box
from contract.labels import LABELS, Label
from trainer.look import Face, Seen

IOU = 0.5  # overlap from which a detection is about a face
LOOSE = 0.1  # overlap from which a false alarm beside a missed face is that face, badly placed
GRAVE_SHARE = 0.25  # a missed face this wide is as bad as a false alarm of confidence 1


@dataclass(frozen=True, slots=True)
class Pair:
    """A labelled face and what was said of it; one side is None for a missed face or a false alarm."""

    truth: Face | None
    said: Detection | None


class Kind(StrEnum):
    """How a mistake is wrong."""

    FALSE_ALARM = "false alarm"
    MISSED = "missed"
    WRONG_LABEL = "wrong label"
    LOOSE_BOX = "loose box"  # the face is found, but the boxes overlap too little to count


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake; `said` of a missed face is what the model thought too faintly to say, if anything."""

    image: int  # its place in the split
    kind: Kind
    truth: Face | None
    said: Detection | None
    gravity: float  # 0..1, the worst is 1

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes that it is about, in the unit square of the image; one or two."""
        return tuple(one.box for one in (self.truth, self.said) if one is not None)


def pairs(seen: Seen, thresholds: Mapping[Label, float], *, min_box: float = 0.0) -> list[Pair]:
    """Match what reaches its threshold to the labelled faces: the surest first, each to the free face that it overlaps most.

    A label does not decide who is matched. Faces narrower than `min_box` of the image's longer side are left out, with
    what was said of them, and so is what is said of such a narrow box where no face is.
    """
    said = [one for one in seen.found if one.confidence >= thresholds[one.label]]
    free, matched = list(seen.truth), []
    for detection in sorted(said, key=lambda one: -one.confidence):
        face = _closest(detection.box, free, min_box)
        if face is not None:
            free.remove(face)
        if (face.share if face else seen.share(detection.box)) >= min_box:
            matched.append(Pair(face, detection))
    return matched + [Pair(face, None) for face in free if face.share >= min_box]


def confusion(matched: Iterable[Pair]) -> npt.NDArray[np.int64]:
    """Counts (4, 4): rows the truth, three classes and "no face"; columns what was said, three classes and "nothing"."""
    counts = np.zeros((len(LABELS) + 1, len(LABELS) + 1), np.int64)
    for pair in matched:
        counts[_index(pair.truth), _index(pair.said)] += 1
    return counts


def row_shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Each count's share of its row, 0..1; rows without a count are 0."""
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), np.float64)


def mistakes(looks: Iterable[Seen], thresholds: Mapping[Label, float], *, min_box: float = 0.0) -> list[Mistake]:
    """The mistakes in all images, worst first: sure false alarms and wrong labels, and wide faces that were missed."""
    found = [one for seen in looks for one in _mistakes(seen, thresholds, min_box)]
    return sorted(found, key=lambda one: (-one.gravity, one.image))


def _closest(box: Box, faces: Sequence[Face], min_box: float) -> Face | None:
    """The face that `box` is about; one that counts is taken before one that is too narrow to."""
    near = [face for face in faces if box.iou(face.box) >= IOU]
    return max(near, key=lambda face: (face.share >= min_box, box.iou(face.box)), default=None)


def _index(side: Face | Detection | None) -> int:
    return len(LABELS) if side is None else LABELS.index(side.label)


def _mistakes(seen: Seen, thresholds: Mapping[Label, float], min_box: float) -> Iterator[Mistake]:
    matched = pairs(seen, thresholds, min_box=min_box)
    missed = [pair.truth for pair in matched if pair.truth and not pair.said]
    for truth, said in ((pair.truth, pair.said) for pair in matched):
        if said is None:
            continue
        if truth is None:
            near = _beside(said.box, missed)
            if near is None:
                yield Mistake(seen.image, Kind.FALSE_ALARM, None, said, said.confidence)
            else:
                missed.remove(near)
                gravity = said.confidence * (1 - said.box.iou(near.box))
                yield Mistake(seen.image, Kind.LOOSE_BOX, near, said, gravity)
        elif truth.label is not said.label:
            yield Mistake(seen.image, Kind.WRONG_LABEL, truth, said, said.confidence)
    for face in missed:
        yield Mistake(seen.image, Kind.MISSED, face, _faint(seen, face, thresholds), min(1.0, face.share / GRAVE_SHARE))


def _beside(box: Box, faces: Sequence[Face]) -> Face | None:
    near = [face for face in faces if box.iou(face.box) >= LOOSE]
    return max(near, key=lambda face: box.iou(face.box), default=None)


def _faint(seen: Seen, face: Face, thresholds: Mapping[Label, float]) -> Detection | None:
    """The surest of what did not reach its threshold, though .05, and is about `face`."""
    thought = [
        one for one in seen.found if FAINT <= one.confidence < thresholds[one.label] and one.box.iou(face.box) >= IOU
    ]
    return max(thought, key=lambda one: one.confidence, default=None)
