"""Whether a staged release may look at frames: it must find in the golden frames what it found when it was released."""

from collections.abc import Sequence

from agent.vision.detector import Detection
from agent.vision.geometry import Box
from contract.golden import GoldenDetection

IOU = 0.5
CONFIDENCE = 0.15  # the largest difference between this door's runtime and the one that made the golden frames
SLOWER = 3.0  # times the running model's median


def fault_of_frame(expected: Sequence[GoldenDetection], found: Sequence[Detection]) -> str:
    """What is missing or too much in one golden frame, in words; empty where nothing is."""
    left = list(found)
    for one in expected:
        box = Box(*one.box)
        match = max((other for other in left if other.label == one.label), key=lambda o: o.box.iou(box), default=None)
        if match is None or match.box.iou(box) < IOU:
            return f"{one.label} at {one.box} was not found"
        if abs(match.confidence - one.confidence) > CONFIDENCE:
            return f"{one.label} at {one.box} has confidence {match.confidence:.2f}, not {one.confidence:.2f}"
        left.remove(match)
    return f"{left[0].label} was found where nothing is" if left else ""


def fault_of_speed(median_s: float, running_median_s: float) -> str:
    """Why a model that needs `median_s` for a frame is too slow beside the running one; empty where it is not."""
    if median_s <= SLOWER * running_median_s:
        return ""
    return f"a frame takes {1000 * median_s:.0f} ms, over {SLOWER:g} times the {1000 * running_median_s:.0f} ms of now"
