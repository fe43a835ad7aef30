"""A model that is exchanged in the middle of the stream: no pass is lost, and each is signed by the release that saw it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

import pytest

from agent.config import FACTORY_MODEL
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detector, Faces
from agent.vision.frame import Frame
from agent.vision.geometry import Line
from agent.vision.meter import Meter
from agent.vision.pipeline import crossings
from agent.vision.tracker import Tracker
from agent.vision.yolo import Fitted, Pixels
from contract.release import MODEL_NAME
from rehearsal.scene import LINES, Scene
from tests.agent.release_kit import FACTORY_RELEASE, release_files

OLD, NEW = FACTORY_RELEASE, FACTORY_RELEASE + 1
Act = Callable[[], None]


@cache
def frames() -> tuple[Frame, ...]:
    drawn = Scene("passage", seed=81, people=8, gap_s=0.9)
    return tuple(Frame(drawn.render(index)[0], index / drawn.fps) for index in range(drawn.frames))


@pytest.fixture
def newer(tmp_path: Path) -> Detector:
    for name, content in release_files(NEW).items():
        (tmp_path / name).write_bytes(content)
    return Detector.load(tmp_path / MODEL_NAME)


def count(meter: Meter, acts: dict[int, Act], witness: Gleaner | None = None) -> list[Crossing]:
    """Passes of the whole scene; `acts` happen before the frame of their number."""

    def stream() -> Iterator[Frame]:
        for number, frame in enumerate(frames()):
            acts.get(number, lambda: None)()
            meter.at_s = frame.at_s
            yield frame

    line = Line.of(*LINES["passage"])
    return list(crossings(stream(), eyes=meter, tracker=Tracker(), counter=Counter(line), witness=witness))


def factory() -> Detector:
    return Detector.load(FACTORY_MODEL)


class Failing(Detector):
    """Looks at some frames and then raises, as an interpreter does."""

    def __init__(self, sound: Detector, looks: int) -> None:
        self.manifest = sound.manifest
        self._sound, self._left = sound, looks

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("node 7 failed to invoke")
        return self._sound.look(pixels, fitted)


def test_a_swap_at_any_moment_changes_no_count(newer: Detector) -> None:
    plain = count(Meter(factory()), {})
    assert len(plain) >= 5
    middle = len(frames()) // 2
    near_a_pass = round(plain[2].at_s * 15)
    for at in (1, middle, near_a_pass, near_a_pass + 5):
        meter = Meter(factory())
        assert count(meter, {at: lambda meter=meter: meter.swap(newer, fallback=None)}) == plain  # type: ignore[misc]
        assert (meter.manifest.release, meter.frames, meter.looked) == (NEW, len(frames()), len(frames()) - at)


def test_a_model_that_fails_at_a_frame_is_replaced_for_that_very_frame(newer: Detector) -> None:
    plain = count(Meter(factory()), {})
    good, middle = factory(), len(frames()) // 2
    meter = Meter(good)
    assert count(meter, {middle: lambda: meter.swap(Failing(newer, 30), fallback=good)}) == plain
    assert meter.manifest.release == OLD
    assert "node 7" in meter.fault
    alone = Meter(Failing(factory(), 30))
    with pytest.raises(RuntimeError, match="node 7"):
        count(alone, {})


def test_a_pass_belongs_to_the_release_that_looked_when_it_happened(newer: Detector) -> None:
    meter = Meter(factory())
    middle = len(frames()) // 2
    found = count(meter, {middle: lambda: meter.swap(newer, fallback=None)})
    releases = [meter.release_at(one.at_s) for one in found]
    border = frames()[middle].at_s
    assert releases == [NEW if one.at_s >= border else OLD for one in found]
    assert set(releases) == {OLD, NEW}


def test_crops_name_the_model_that_saw_them(tmp_path: Path) -> None:
    content = FACTORY_MODEL.read_bytes() + bytes(4)  # another digest, the same answers
    for name, file in release_files(NEW, model=content).items():
        (tmp_path / name).write_bytes(file)
    newer, meter = Detector.load(tmp_path / MODEL_NAME), Meter(factory())
    streams = Streams(Random(1), Random(2), Random(3))
    plan = Plan(20, control_share=0.5, window_s=1e6)
    gleaner = Gleaner("door-1", plan, streams, now=lambda: datetime.now(UTC), resolution_s=60)
    count(meter, {150: lambda: meter.swap(newer, fallback=None)}, gleaner)
    # at 10 s two passes' tracks have ended; three are still to come
    digests = {crop.header.model_digest for crop in gleaner.harvest(100)}
    old = json.loads(FACTORY_MODEL.with_name("manifest.json").read_text())["digest"]
    assert digests == {old, newer.manifest.digest}
