"""`python -m tests.fuzz.pictures --mutants 100000`: drawn scenes spoilt, through the gate, into OpenCV within a bounded memory."""

import argparse
import json
import resource
import sys
from pathlib import Path

import cv2
import numpy as np

from rehearsal.scene import draw_plate
from tests.cloud.jpeg_fuzz import mutants, passed

ROOM_BYTES = 64 * 1024 * 1024  # more than the process has before it decodes anything
SIDES = (16, 64, 200, 512)


def drawn() -> list[bytes]:
    """JPEGs cut from drawn scenes, of sizes as crops have."""
    plate = draw_plate("passage", np.random.default_rng(1))
    return [cv2.imencode(".jpg", cv2.resize(plate, (side, side)))[1].tobytes() for side in SIDES]


def main() -> int:
    """Print what passed and what was decoded; a decoder that asks for more than the room ends with exit code 1."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.pictures", description=__doc__)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--file", type=Path, help="decode this file instead, without the gate")
    chosen = parser.parse_args()
    through = [chosen.file.read_bytes()] if chosen.file else passed(mutants(chosen.mutants, 1, drawn()))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, used + ROOM_BYTES))
    decoded = 0
    for one in through:
        try:
            decoded += cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) is not None
        except (cv2.error, MemoryError) as error:
            print(f"a decoder asked for too much: {str(error)[:200]}", file=sys.stderr)
            return 1
    print(json.dumps({"passed": len(through), "decoded": decoded, "room_mb": ROOM_BYTES // 2**20}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
