"""Work done ahead: the same items in the same order and at once, as far ahead as there is room, and the same passes."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from agent.vision.ahead import ahead
from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detector, Faces
from agent.vision.frame import Frame
from agent.vision.geometry import Line
from agent.vision.meter import Meter
from agent.vision.pipeline import count_looks, crossings
from agent.vision.tracker import Tracker
from agent.vision.yolo import Fitted, letterbox
from rehearsal.processes import wait_until
from rehearsal.scene import LINES, Scene

LINE = Line.of(*LINES["passage"])
WAIT_S = 10.0


def test_items_come_in_order_and_each_once() -> None:
    assert list(ahead(iter(range(1000)))) == list(range(1000))
    assert list(ahead(ahead(iter(range(1000)), room=2), room=3)) == list(range(1000))
    assert list(ahead([])) == []


def test_an_item_is_here_as_soon_as_it_is_made_though_no_other_follows() -> None:
    come: SimpleQueue[int] = SimpleQueue()
    made = ahead(ahead(iter(come.get, None)), room=2)
    got: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=lambda: list(map(got.put, made)), daemon=True).start()
    for number in range(20):
        come.put(number)
        assert got.get(timeout=WAIT_S) == number


@pytest.mark.parametrize("room", [1, 2])
def test_no_more_is_made_than_there_is_room_for(room: int) -> None:
    begun: list[int] = []

    def slow() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    made = ahead(slow(), room)
    for taken in range(1, 6):
        next(made)
        wait_until(lambda taken=taken: len(begun) == taken + room, within_s=WAIT_S, what="the next item")  # type: ignore[misc]
    assert len(begun) == 5 + room


def test_what_goes_wrong_ahead_comes_after_what_went_well() -> None:
    def breaks() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the stick is gone")

    got: list[int] = []
    with pytest.raises(OSError, match="the stick is gone"):
        for one in ahead(ahead(breaks()), room=2):
            got.append(one)
    assert got == [1, 2]


def test_who_leaves_early_ends_the_threads_and_closes_what_they_read() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    made = ahead(ahead(endless(), name="inner"), name="outer")
    assert next(made) == 1
    made.close()  # type: ignore[attr-defined]
    assert closed.wait(WAIT_S)
    wait_until(
        lambda: not {"inner", "outer"} & {one.name for one in threading.enumerate()}, within_s=WAIT_S, what="their end"
    )


def frames() -> Iterator[Frame]:
    scene = Scene("passage", seed=81, people=8, gap_s=0.9)
    return (Frame(scene.render(index)[0], index / scene.fps) for index in range(scene.frames))


def passes_ahead(meter: Meter, size: int) -> list[Crossing]:
    """As a door does it."""

    def fitted() -> Iterator[tuple[Frame, Fitted]]:
        for frame in frames():
            yield frame, letterbox(frame.pixels, size)

    def looks(pairs: Iterator[tuple[Frame, Fitted]]) -> Iterator[tuple[Frame, Faces]]:
        for frame, picture in pairs:
            yield frame, meter.look(frame.pixels, picture)

    return list(count_looks(ahead(looks(ahead(fitted())), 2), tracker=Tracker(), counter=Counter(LINE)))


def test_a_door_that_looks_ahead_counts_what_one_that_does_not_counts() -> None:
    plain = list(
        crossings(frames(), eyes=Meter(Detector.load(FACTORY_MODEL)), tracker=Tracker(), counter=Counter(LINE))
    )
    assert len(plain) >= 5
    assert passes_ahead(Meter(Detector.load(FACTORY_MODEL)), 320) == plain
    assert passes_ahead(Meter(Detector.load(FACTORY_MODEL)), 224) == plain  # fitted for a model that has gone


def test_faces_that_are_read_later_are_of_their_own_frame() -> None:
    eyes = Detector.load(FACTORY_MODEL)
    scene = Scene("passage", seed=31, people=6, gap_s=0.5)
    pictures = [scene.render(index)[0] for index in (40, 60, 80)] + [np.zeros((480, 640, 3), np.uint8)]
    at_once = []
    for one in pictures:
        faces = eyes.look(one)
        at_once.append((faces.found, faces.faint()))
    kept = [eyes.look(one) for one in pictures]
    assert [(one.found, one.faint()) for one in kept] == at_once
    assert any(found for found, _ in at_once)
