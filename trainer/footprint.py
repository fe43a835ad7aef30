"""Resident memory of one way of looking, in a process that does nothing else.

`python -m trainer.footprint neither|one_model|two_models MODEL FRAME.npy` looks at the frame twenty times and prints KiB.
"""

import sys
from pathlib import Path

import numpy as np

from agent.vision.detector import Detector
from contract.labels import LABELS
from trainer.two_stage import Cascade, Classifier, Pair


def main() -> None:
    """Load only what the way needs, look, and print what the process holds then (Linux)."""
    way, model, frame = sys.argv[1], Path(sys.argv[2]), np.load(sys.argv[3])
    if way != "neither":
        eyes = Detector.load(model) if way == "one_model" else _pair(model)
        for _ in range(20):
            eyes.detect(frame)
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS")]
    print(line.split()[1])


def _pair(folder: Path) -> Pair:
    return Pair(Cascade(), Classifier.load(folder), thresholds=dict.fromkeys(LABELS, 0.5))


if __name__ == "__main__":
    main()
