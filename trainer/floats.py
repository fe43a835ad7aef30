"""What the float network says before it is quantised: raw maps of letterboxed pictures.

Runs in the training environment: `python -m trainer.floats WEIGHTS.npz PICTURES.npy OUT_FOLDER`; pictures are uint8 RGB (n, size, size, 3).
"""

import sys
from pathlib import Path

import numpy as np

from trainer import backend

backend.prepare()

import torch  # noqa: E402

from contract.labels import LABELS  # noqa: E402
from trainer import network  # noqa: E402
from trainer.cut import CutGraph  # noqa: E402

BATCH = 8


def write_maps(weights: Path, pictures: Path, out: Path) -> None:
    """Write `boxes_STRIDE.npy` and `classes_STRIDE.npy`, float32 (n, rows, columns, channels), into `out`."""
    full = network.build(len(LABELS))
    network.load_all(full, weights)
    full.eval()
    full.fuse(verbose=False)
    cut = CutGraph(full).eval()
    images = np.load(pictures, mmap_mode="r")
    parts: dict[str, list[np.ndarray]] = {}  # type: ignore[type-arg]
    names = [f"{kind}_{stride}" for kind in ("boxes", "classes") for stride in (8, 16, 32)]
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2).float() / 255
            for name, values in zip(names, cut(batch), strict=True):
                parts.setdefault(name, []).append(values.permute(0, 2, 3, 1).numpy())
    for name, values in parts.items():
        np.save(out / f"{name}.npy", np.concatenate(values))


if __name__ == "__main__":
    write_maps(*(Path(one) for one in sys.argv[1:4]))
