"""What the agent's loop costs above the bare interpreter: `make bench`.

Both run on the same drawn frames (640x480) in turn, frame by frame, on one thread, so that a busy machine slows both alike.
"""

import statistics
import sys
import time
from random import Random

import numpy as np

from agent import clock
from agent.config import FACTORY_MODEL
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from agent.vision.counter import Counter
from agent.vision.detector import Detector
from agent.vision.frame import Frame
from agent.vision.geometry import Line
from agent.vision.runtime import open_model
from agent.vision.tracker import Tracker
from agent.vision.yolo import letterbox
from rehearsal.scene import LINES, Scene

FRAMES = 300


def main() -> int:
    """Print the milliseconds of both and their ratio."""
    scene = Scene("passage", seed=5, people=30, gap_s=0.3)
    frames = [scene.render(60 + index)[0] for index in range(FRAMES)]
    detector, tracker = Detector.load(FACTORY_MODEL), Tracker()
    counter = Counter(Line.of(*LINES["passage"]))
    bare = open_model(FACTORY_MODEL)
    entry = bare.get_input_details()[0]["index"]
    streams = Streams(Random(1), Random(2), Random(3))
    gleaner = Gleaner("bench", detector, Plan(20), streams, now=clock.now, resolution_s=60)
    whole: list[float] = []
    learning: list[float] = []
    floor: list[float] = []
    faces = 0
    for index, pixels in enumerate(frames):
        tensor = letterbox(pixels, detector.manifest.input_size)[0]
        begun = time.perf_counter()
        bare.set_tensor(entry, tensor)
        bare.invoke()
        between = time.perf_counter()
        found = detector.detect(pixels)
        seen, ended = tracker.update(found, index / 15)
        crossings = counter.update(seen, ended, index / 15)
        done = time.perf_counter()
        gleaner.see(Frame(pixels, index / 15), found, seen, ended, crossings)
        learning.append((time.perf_counter() - done) * 1000)
        floor.append((between - begun) * 1000)
        whole.append((done - between) * 1000)
        faces += len(found)
    extra = np.array(whole) - np.array(floor)
    print(
        f"{FRAMES} frames of 640x480, {faces / FRAMES:.1f} faces each, {detector.manifest.input_size} px, one thread, no Coral"
    )
    print(f"set_tensor + invoke       {statistics.median(floor):7.2f} ms (median)")
    print(f"the agent's whole loop    {statistics.median(whole):7.2f} ms (median), {np.median(extra):.2f} ms more")
    print(f"ratio                     {statistics.median(whole) / statistics.median(floor):7.2f}")
    print(
        f"crops, where switched on  {statistics.mean(learning):7.2f} ms (mean), median {statistics.median(learning):.2f}, most {max(learning):.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
