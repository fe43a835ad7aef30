"""A release on trial must find what it found when it was released."""

import pytest

from agent.update.trial import fault_of_frame, fault_of_speed
from agent.vision.detector import Detection
from agent.vision.geometry import Box
from contract.golden import GoldenDetection
from contract.labels import Label

FACE = GoldenDetection(label=Label.WITH_MASK, confidence=0.8, box=(0.1, 0.1, 0.3, 0.3))


def seen(label: Label = Label.WITH_MASK, confidence: float = 0.8, left: float = 0.1) -> Detection:
    return Detection(Box(left, 0.1, left + 0.2, 0.3), label, confidence, (0.8, 0.1, 0.1))


def test_the_same_faces_are_no_fault() -> None:
    assert fault_of_frame([FACE], [seen(confidence=0.7, left=0.11)]) == ""


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ([], "not found"),
        ([seen(Label.WITHOUT_MASK)], "not found"),
        ([seen(left=0.5)], "not found"),
        ([seen(confidence=0.6)], "confidence"),
        ([seen(), seen(left=0.6)], "where nothing is"),
    ],
)
def test_what_differs_is_named(found: list[Detection], fault: str) -> None:
    assert fault in fault_of_frame([FACE], found)


def test_three_times_slower_is_the_limit() -> None:
    assert fault_of_speed(0.3, 0.1) == ""
    assert "310 ms" in fault_of_speed(0.31, 0.1)
