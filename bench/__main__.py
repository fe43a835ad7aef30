"""`make bench`: the device's loop against the bare interpreter and against ultralytics, side by side in one run."""

import sys

from bench import door, overhead
from bench.frames import with_faces

FACES, FRAMES = 4, 300


def main() -> int:
    """Print everything; returns the exit code."""
    frames = with_faces(FACES, FRAMES)
    overhead.report(frames)
    door.report(frames)
    return 0


if __name__ == "__main__":
    sys.exit(main())
