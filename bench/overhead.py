"""What the agent's loop costs above the bare interpreter, and what ultralytics' `predict` costs above its own inference.

The floor is what the loop's own interpreter took inside it, frame by frame, on one thread: a busy machine slows both alike.
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from agent import clock
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from agent.vision.counter import Counter
from agent.vision.detector import Detector
from agent.vision.frame import Frame
from agent.vision.geometry import Line
from agent.vision.runtime import Interpreter, open_model
from agent.vision.tracker import Tracker
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.release import read_manifest
from rehearsal.scene import LINES
from trainer import environment

BASE = Path(__file__).resolve().parents[1] / "trainer" / "models" / "base" / "weights.npz"
PEER_FRAMES = 60


@dataclass(frozen=True, slots=True)
class Overhead:
    """Milliseconds of each frame."""

    floor: list[float]  # set_tensor and invoke
    counting: list[float]  # the whole loop without crops
    sampling: list[float]  # what crops cost on top, where they are switched on
    faces: float  # found in a frame, on average

    @property
    def above(self) -> float:
        """Median of what counting costs above the floor of the same frame."""
        return float(np.median(np.array(self.counting) - np.array(self.floor)))


class Timed:
    """An interpreter that knows how long it took."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._ms = 0.0
        self.allocate_tensors = interpreter.allocate_tensors
        self.get_input_details = interpreter.get_input_details
        self.get_output_details = interpreter.get_output_details
        self.get_tensor = interpreter.get_tensor

    def set_tensor(self, tensor_index: int, value: npt.NDArray[Any]) -> None:
        begun = time.perf_counter()
        self._interpreter.set_tensor(tensor_index, value)
        self._ms += (time.perf_counter() - begun) * 1000

    def invoke(self) -> None:
        begun = time.perf_counter()
        self._interpreter.invoke()
        self._ms += (time.perf_counter() - begun) * 1000

    def taken(self) -> float:
        """Milliseconds in set_tensor and invoke since this was last asked."""
        ms, self._ms = self._ms, 0.0
        return ms


def measure(frames: list[Pixels], model: Path) -> Overhead:
    """The loop of `model` over `frames`."""
    cv2.setNumThreads(1)
    timed = Timed(open_model(model))
    detector, tracker = Detector(timed, read_manifest(model)), Tracker()
    counter = Counter(Line.of(*LINES["passage"]))
    streams = Streams(Random(1), Random(2), Random(3))
    gleaner = Gleaner("bench", Plan(20), streams, now=clock.now, resolution_s=60)
    taken = Overhead([], [], [], 0.0)
    faces = 0
    for index, pixels in enumerate(frames):
        at_s = index / 15
        begun = time.perf_counter()
        found = detector.look(pixels)
        seen, ended = tracker.update(found.found, at_s, found.faint)
        crossings = counter.update(seen, ended, at_s)
        done = time.perf_counter()
        gleaner.see(Frame(pixels, at_s), found, seen, ended, crossings)
        taken.sampling.append((time.perf_counter() - done) * 1000)
        taken.floor.append(timed.taken())
        taken.counting.append((done - begun) * 1000)
        faces += len(found.found)
    return Overhead(taken.floor, taken.counting, taken.sampling, faces / len(frames))


def report(frames: list[Pixels], model: Path) -> None:
    """Print the loop's overhead, and the peer's where its environment is installed."""
    ours = measure(frames, model)
    size = read_manifest(model).input_size
    print(
        f"{len(frames)} frames of 640x480, {ours.faces:.1f} faces found in each, {size} px, one thread, no Coral; medians"
    )
    print(f"set_tensor + invoke             {statistics.median(ours.floor):8.2f} ms")
    print(f"the agent's loop                {statistics.median(ours.counting):8.2f} ms, {ours.above:.2f} ms above that")
    print(
        f"  and crops, where switched on  {statistics.median(ours.sampling):8.2f} ms,"
        f" mean {statistics.mean(ours.sampling):.2f}, most {max(ours.sampling):.1f}"
    )
    try:
        peer = _peer(frames[:PEER_FRAMES], size)
    except ContractError as error:
        print(f"ultralytics' predict            not measured: {error}")
        return
    own = statistics.median(peer["before"]) + statistics.median(peer["after"])
    rest = float(np.median(np.array(peer["whole"]) - np.array(peer["inference"])))
    print(
        f"ultralytics' predict, float     {statistics.median(peer['whole']):8.2f} ms, {rest:.2f} ms above its inference"
        f" ({own:.2f} by its own clock), {peer['faces'][0]:.1f} faces, {peer['memory_mb'][0]:.0f} MB resident"
    )
    print("  (the same network's float weights; only what either costs above its inference can be compared)")


def _peer(frames: list[Pixels], size: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as scratch:
        pictures, out = Path(scratch) / "frames.npy", Path(scratch) / "peer.json"
        np.save(pictures, np.stack(frames))
        environment.run("train", "bench.peer", [BASE, pictures, str(size), out], quiet=True)
        told: dict[str, list[float]] = json.loads(out.read_text())
        return told
