"""What the watch costs a frame, and what a frame of the Pi's camera costs on its way: `python -m bench.camera`.

All rows take turns on one thread, so that a busy machine slows them alike. No Pi here: a stand-in gives the memory as a
Pi 5 lays it out, so the copies and conversions are real and the camera's own work is not in them.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from agent.vision.picamera import from_yuv420
from agent.vision.watch import LOOK_S, Watch
from agent.vision.yolo import letterbox
from rehearsal.scene import Scene

ROUNDS = 300
FPS = 15


def main() -> int:
    """Print the median and the 99th percentile of each, ms."""
    rng = np.random.default_rng(1)
    planes = rng.integers(0, 256, (270, 384), np.uint8)
    main_stream = rng.integers(0, 256, (720, 1280, 3), np.uint8)
    small = from_yuv420(planes, 320)
    rows: dict[str, Callable[[], object]] = {
        "lores 320x180 of 384: copy, convert, crop": lambda: from_yuv420(planes.copy(), 320),
        "main 1280x720: copy": lambda: main_stream.copy(),
        "letterbox of lores to 320": lambda: letterbox(small, 320),
        "letterbox of main to 320": lambda: letterbox(main_stream, 320),
    }
    spent: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, work in rows.items():
            begun = time.perf_counter()
            work()
            spent[name].append(time.perf_counter() - begun)
    for name, seconds in spent.items():
        print(f"{name:45} {_ms(statistics.median(seconds))}  p99 {_ms(sorted(seconds)[-ROUNDS // 100])}")
    scene = Scene("passage", seed=5, people=8, gap_s=0.3)
    drawn = [scene.render(index)[0] for index in range(45)]
    for width, height in ((320, 180), (640, 480), (1280, 720), (1920, 1080)):
        grown = [np.resize(one, (height, width, 3)) for one in drawn]
        watch, seconds = Watch(0.0), []
        for number in range(ROUNDS * FPS):
            begun = time.perf_counter()
            watch.see(grown[number % 45], number * LOOK_S / FPS)
            seconds.append(time.perf_counter() - begun)
        print(
            f"watch, {width}x{height}, {FPS} frames a second".ljust(45),
            f"{_ms(statistics.fmean(seconds))} a frame, in the mean; a look {_ms(statistics.median(seconds[::FPS]))}",
        )
    return 0


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f} ms"


if __name__ == "__main__":
    sys.exit(main())
