"""Golden frames from drawn scenes, small enough to be committed: `python -m rehearsal golden-frames` beside the factory model."""

import tempfile
from pathlib import Path

import cv2

from agent.config import FACTORY_MODEL
from contract.release import Manifest
from rehearsal.scene import Scene
from trainer.dataset import Split
from trainer.golden import write_golden_frames

SIZE = (320, 240)  # px
STEP = 8  # between two shades of a channel
SEEDS, EVERY = (31, 33, 61), 20  # frames


def write_drawn_golden_frames(model: Path = FACTORY_MODEL) -> Manifest:
    """Draw, let `model` look, write `golden.zip` beside it and its digest into the manifest, which is returned."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for seed in SEEDS:
            scene = Scene("passage", seed=seed, people=6, gap_s=0.5)
            for index in range(30, scene.frames, EVERY):
                path = Path(folder) / f"{seed}-{index:04}.png"
                cv2.imwrite(str(path), _smooth(scene.render(index)[0]))
                pictures.append(path)
        return write_golden_frames(model, Split("drawn", tuple(pictures)), wanted=4)


def _smooth(pixels: cv2.typing.MatLike) -> cv2.typing.MatLike:
    """Smaller, without the drawn noise and in few shades, since noise is what a PNG cannot pack."""
    small = cv2.resize(cv2.medianBlur(pixels, 5), SIZE, interpolation=cv2.INTER_AREA)
    return small // STEP * STEP + STEP // 2
