"""A staged release before it may look at frames: it loads, it finds what it should in its golden frames, it is fast enough."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import cast

import cv2
import numpy as np

from agent.update.trial import fault_of_frame, fault_of_speed
from agent.vision.detector import Detection
from agent.vision.meter import Looker
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.golden import GoldenDetection, GoldenFrame, read_golden
from contract.release import GOLDEN_NAME, Manifest

LOOKS = 9  # timed looks, at least, of each of the two models
GREATEST_SIDE = 1920  # px of a golden frame

Load = Callable[[Path], Looker]


class Exam(threading.Thread):
    """Examines in the background; when it has ended, `detector` is there or `fault` says why not."""

    def __init__(self, release: int, model: Path, running: Path, load: Load) -> None:
        super().__init__(name="exam", daemon=True)
        self.release = release
        self.detector: Looker | None = None
        self.fault = ""
        self._model, self._running, self._load = model, running, load

    def run(self) -> None:
        """Every error is the release's fault."""
        try:
            self.detector = examine(self._model, self._running, self._load)
        except Exception as error:  # noqa: BLE001 - whatever a foreign file brings about
            self.fault = str(error)[:280] or type(error).__name__


@dataclass(frozen=True, slots=True)
class GoldenScene:
    """A golden frame as pixels, BGR (height, width, 3), with what must be found in it."""

    number: int
    pixels: Pixels
    expected: tuple[GoldenDetection, ...]

    def fault(self, found: Sequence[Detection]) -> str:
        """What is wrong with these detections, in words; empty where nothing is."""
        fault = fault_of_frame(self.expected, found)
        return f"golden frame {self.number}: {fault}" if fault else ""


def golden_scenes(model: Path, manifest: Manifest) -> list[GoldenScene]:
    """The golden frames beside `model`; raises ContractError where they are not the ones that the manifest names."""
    try:
        archive = model.with_name(GOLDEN_NAME).read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read the golden frames: {error.strerror}") from error
    if sha256(archive).hexdigest() != manifest.golden_digest:
        raise ContractError("the golden frames are not the ones that the manifest names")
    frames = enumerate(read_golden(archive))
    return [GoldenScene(number, _picture(frame), frame.detections) for number, frame in frames]


def examine(model: Path, running: Path, load: Load) -> Looker:
    """The release at `model`, ready to look; raises ContractError that says what is wrong with it."""
    detector = load(model)
    scenes = golden_scenes(model, detector.manifest)
    for scene in scenes:
        if fault := scene.fault(detector.look(scene.pixels).found):
            raise ContractError(fault)
    fault = fault_of_speed(*_medians((detector, load(running)), [scene.pixels for scene in scenes]))
    if fault:
        raise ContractError(fault)
    return detector


def _medians(models: Sequence[Looker], pictures: Sequence[Pixels]) -> list[float]:
    """Seconds a look, each model's turn by turn, so that both meet the same load of the machine."""
    took: list[list[float]] = [[] for _ in models]
    for number in range(max(LOOKS, len(pictures))):
        for model, times in zip(models, took, strict=True):
            begun = time.perf_counter()
            _ = model.look(pictures[number % len(pictures)]).found
            times.append(time.perf_counter() - begun)
    return [median(times) for times in took]


def _picture(frame: GoldenFrame) -> Pixels:
    """Decode a PNG, its size looked at first; raises ContractError."""
    width, height = int.from_bytes(frame.png[16:20]), int.from_bytes(frame.png[20:24])
    if not (0 < width <= GREATEST_SIDE and 0 < height <= GREATEST_SIDE):
        raise ContractError(f"a golden frame of {width} x {height} px, but at most {GREATEST_SIDE} are allowed")
    pixels = cv2.imdecode(np.frombuffer(frame.png, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ContractError("a golden frame is no picture that can be read")
    return cast(Pixels, pixels)
