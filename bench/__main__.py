"""`make bench`: the device's loop against the bare interpreter and against ultralytics, side by side in one run."""

import argparse
import sys
from pathlib import Path

from agent.config import FACTORY_MODEL
from bench import door, overhead
from bench.frames import with_faces

FACES, FRAMES = 4, 300


def main() -> int:
    """Print everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--model", type=Path, default=FACTORY_MODEL, help="int8 file, its manifest.json beside it")
    model = parser.parse_args().model.resolve()
    frames = with_faces(FACES, FRAMES)
    overhead.report(frames, model)
    door.report(frames, model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
