"""What ultralytics' own `predict` costs with our float weights; runs in the training environment.

`python -m bench.peer WEIGHTS.npz FRAMES.npy INPUT_SIZE OUT.json`; frames are uint8 BGR (n, height, width, 3).
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"

from trainer import backend

backend.prepare()

import cv2  # noqa: E402
import torch  # noqa: E402
from ultralytics import YOLO  # noqa: E402

from contract.labels import LABELS  # noqa: E402
from trainer import network  # noqa: E402

CONFIDENCE, IOU = 0.35, 0.6  # as the device's


def measure(weights: Path, frames: Path, size: int) -> dict[str, list[float]]:
    """Milliseconds a frame: by its own clock before, in and after inference, and of the whole call; its memory in MB."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    full = network.build(len(LABELS))
    network.load_all(full, weights)
    full.names = dict(enumerate(LABELS))
    model = YOLO(network.ARCHITECTURE)
    model.model = full.eval()
    looks: dict[str, list[float]] = {"before": [], "inference": [], "after": [], "whole": []}
    faces = 0
    pictures = np.load(frames)
    for turn, pixels in enumerate([*pictures[:5], *pictures]):
        begun = time.perf_counter()
        (result,) = model.predict(
            pixels, imgsz=size, conf=CONFIDENCE, iou=IOU, agnostic_nms=True, rect=False, device="cpu", verbose=False
        )
        whole = (time.perf_counter() - begun) * 1000
        if turn < 5:
            continue  # what is made at first use
        faces += len(result.boxes)
        looks["before"].append(result.speed["preprocess"])
        looks["inference"].append(result.speed["inference"])
        looks["after"].append(result.speed["postprocess"])
        looks["whole"].append(whole)
    return {"faces": [faces / len(pictures)], "memory_mb": [_resident_mb()], **looks}


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    Path(sys.argv[4]).write_text(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
