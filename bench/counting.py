"""How well simulated walkers are counted, by frame rate, and what that costs: `python -m bench.counting [--seeds A-B]`.

The walkers come from the simulator `doorsim.py`, which lies outside this repository: in ../shared/tools, or MASKFLEET_TOOLS.
200 walkers a scene; a fifth of the looks are missed, in bursts; a quarter come as pairs that hide each other; some stop,
turn back or come back. Error: (|in| off + |out| off) / true crossings. "dense" is a gap of .8 s between arrivals, else 2 s.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from agent.vision.counter import Counter
from agent.vision.detector import Detection
from agent.vision.geometry import Box, Line
from agent.vision.tracker import Tracker
from contract.events import Direction
from contract.labels import LABELS

LINE = Line.of(0, 0.5, 1, 0.5)  # of the simulator's scenes
CASES = {"30 fps": (30, 2.0), "15 fps": (15, 2.0), "15 fps dense": (15, 0.8), "8 fps": (8, 2.0), "5 fps": (5, 2.0)}


@dataclass(frozen=True, slots=True)
class Result:
    """One scene: what was counted off, and the mean time of tracker and counter a frame in ms."""

    off: int
    true: int
    counted: int
    frame_ms: float

    @property
    def percent(self) -> float:
        return 100 * self.off / self.true


def simulator() -> ModuleType | None:
    """The simulator's module; None where it is absent."""
    folder = Path(os.environ.get("MASKFLEET_TOOLS", Path(__file__).resolve().parents[2] / "shared" / "tools"))
    spec = importlib.util.spec_from_file_location("doorsim", folder / "doorsim.py")
    if spec is None or spec.loader is None or not (folder / "doorsim.py").is_file():
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(doorsim: ModuleType, seed: int, *, fps: float, gap_s: float) -> Result:
    """Count one simulated scene."""
    frames, true = doorsim.scene(seed=seed, fps=fps, gap=gap_s)
    looks = [
        [
            Detection(Box(x0 / doorsim.W, y0 / doorsim.H, x1 / doorsim.W, y1 / doorsim.H), LABELS[0], score, (score, 0.0, 0.0))
            for x0, y0, x1, y1, score in found.tolist()
        ]
        for found, _, _ in frames
    ]  # fmt: skip
    tracker, counter = Tracker(), Counter(LINE)
    ways: list[Direction] = []
    begun = time.perf_counter()
    for index, detections in enumerate(looks):
        seen, ended = tracker.update(detections, index / fps)
        ways += [one.direction for one in counter.update(seen, ended, index / fps)]
    took = time.perf_counter() - begun
    ways += [one.direction for one in counter.update([], tracker.close(), len(looks) / fps)]
    off = sum(abs(ways.count(way) - true[str(way)]) for way in Direction)
    return Result(off, sum(true.values()), len(ways), 1000 * took / len(looks))


def busy_frame_ms(faces: int = 6, frames: int = 600) -> float:
    """Median time of tracker and counter for a frame with so many faces that walk side by side, ms."""
    tracker, counter, times = Tracker(), Counter(LINE), []
    for index in range(frames):
        y, size = index / 60 % 1, 0.08
        boxes = [Box(x, y, x + size, y + size) for x in (0.1 + 0.8 * face / faces for face in range(faces))]
        found = [Detection(box, LABELS[0], 0.8, (0.8, 0.1, 0.1)) for box in boxes]
        begun = time.perf_counter()
        seen, ended = tracker.update(found, index / 15)
        counter.update(seen, ended, index / 15)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def main() -> int:
    """Print one row for each case."""
    parser = argparse.ArgumentParser(prog="bench.counting")
    parser.add_argument(
        "--seeds", default="200-215", metavar="A-B", help="scenes, both ends included; tuned on 100-111"
    )
    first, last = map(int, parser.parse_args().seeds.split("-"))
    print(f"tracker and counter with 6 faces: {busy_frame_ms():.3f} ms a frame (median)")
    doorsim = simulator()
    if doorsim is None:
        print(
            "no doorsim.py in ../shared/tools: set MASKFLEET_TOOLS to its folder; nothing was counted", file=sys.stderr
        )
        return 1
    print(f"\nseeds {first}-{last}    error %  (+-)   worst   too many or few %   ms a frame")
    for name, (fps, gap_s) in CASES.items():
        found = [run(doorsim, seed, fps=fps, gap_s=gap_s) for seed in range(first, last + 1)]
        errors = [one.percent for one in found]
        spread = statistics.stdev(errors) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
        bias = 100 * sum(one.counted - one.true for one in found) / sum(one.true for one in found)
        cost = statistics.mean(one.frame_ms for one in found)
        print(f"{name:15} {statistics.mean(errors):8.2f} {spread:6.2f} {max(errors):7.1f} {bias:+19.2f} {cost:12.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
