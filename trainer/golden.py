"""Golden frames of a release: a few pictures and what this very file finds in them, for every door to try before it trusts."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.vision.detector import Detection, Detector
from contract.errors import ContractError
from contract.golden import GoldenDetection, GoldenFrame, write_golden
from contract.labels import LABELS
from contract.release import GOLDEN_NAME, MANIFEST_NAME, Manifest, read_manifest
from trainer.dataset import Split
from trainer.whole import write_whole

WANTED, LOOKED_AT = 6, 60
LONGER_SIDE = 480  # px


def write_golden_frames(model: Path, split: Split, *, wanted: int = WANTED) -> Manifest:
    """Pick 4 to 8 pictures of `split`, write `golden.zip` beside `model`, and name it in the manifest, which is returned.

    Raises ContractError where a picture cannot be read or the file finds no face in any of them.
    """
    manifest, detector = read_manifest(model), Detector.load(model)
    spots = np.linspace(0, len(split.images) - 1, min(LOOKED_AT, len(split.images))).astype(int)
    frames = [_look(detector, split.images[index]) for index in spots]
    chosen = _choose([frame for frame in frames if frame.detections], max(4, min(8, wanted)))
    if not chosen:
        raise ContractError(f"the model finds no face in {len(frames)} pictures of '{split.name}': no golden frames")
    content = write_golden(chosen)
    manifest = manifest.model_copy(update={"golden_digest": sha256(content).hexdigest()})
    save_manifest(manifest, model.parent)
    write_whole(model.with_name(GOLDEN_NAME), content)  # last: where it is, the stage is done
    return manifest


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` into `folder`, in one step: where it is, it is whole."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    write_whole(folder / MANIFEST_NAME, text.encode())


def _look(detector: Detector, image: Path) -> GoldenFrame:
    pixels: Any = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ContractError(f"cannot read the image {image}")
    shrink = min(1.0, LONGER_SIDE / max(pixels.shape[:2]))
    pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return GoldenFrame(
        cv2.imencode(".png", pixels)[1].tobytes(), tuple(_detection(one) for one in detector.detect(pixels))
    )


def _detection(one: Detection) -> GoldenDetection:
    box = (one.box.x0, one.box.y0, one.box.x1, one.box.y1)
    return GoldenDetection(label=one.label, confidence=one.confidence, box=box)


def _choose(frames: list[GoldenFrame], wanted: int) -> list[GoldenFrame]:
    """The surest frames of each class in turn: a sure face stays found on another processor."""
    ranked = [
        sorted(
            (frame for frame in frames if label in {one.label for one in frame.detections}),
            key=lambda frame: -min(one.confidence for one in frame.detections),
        )
        for label in LABELS
    ]
    chosen: list[GoldenFrame] = []
    for turn in range(len(frames)):
        chosen += [some[turn] for some in ranked if turn < len(some) and some[turn] not in chosen]
    return chosen[:wanted]
