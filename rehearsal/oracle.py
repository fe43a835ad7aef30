"""Labels crops by a drawn scene's own truth: which frame of the clip shows these pixels, and who stood there."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import httpx
import numpy as np
import numpy.typing as npt

from contract.crops import CropHeader
from contract.dataset import Answer
from contract.eyes import FILL
from rehearsal.scene import truth_path

LABELLER = "oracle (drawn truth)"
ALIKE = 22.0  # grey levels: the most a crop differs from the frame it was cut from, JPEG noise included
NEAR_FILL = 6  # grey levels: what JPEG makes of the fill
OVERLAP = 0.35  # IoU of the crop's box with the drawn face, from which the face is meant
STEP = 2  # every second pixel is looked at
AT_ONCE = 40  # crops in one request
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sight:
    """A crop as the cloud has it."""

    header: CropHeader
    jpeg: bytes


def answers(sights: Sequence[Sight], clip: Path) -> list[Answer]:
    """What is true of each crop of a drawn clip; `cannot_tell` for pixels that the clip never showed."""
    crops = [_decode(one.jpeg) for one in sights]
    best: list[tuple[float, int]] = [(np.inf, -1)] * len(sights)
    for index, frame in enumerate(_frames(clip)):
        for number, (sight, crop) in enumerate(zip(sights, crops, strict=True)):
            distance = _distance(crop, frame, sight.header)
            if distance < best[number][0]:
                best[number] = (distance, index)
    faces = json.loads(truth_path(clip).read_text())["faces"]
    return [
        _answer(sight.header, crop, faces[index]) if distance <= ALIKE else Answer.CANNOT_TELL
        for sight, crop, (distance, index) in zip(sights, crops, best, strict=True)
    ]


def label_all(page: str, token: str, clips: Mapping[str, Path]) -> int:
    """Answer every crop that waits at the cloud, door by door; returns how many.

    Crops of doors without a drawn clip get `cannot_tell`: nobody knows. Raises httpx.HTTPError.
    """
    done = 0
    with httpx.Client(base_url=f"{page}api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30) as cloud:
        while waiting := _get(cloud, "/labels/next", labeller=LABELLER, count=AT_ONCE):
            by_door = defaultdict(list)
            for one in waiting:
                header = CropHeader.from_parsed(_get(cloud, f"/crops/{one['crop']}/header"))
                picture = cloud.get(one["picture"].removeprefix("/api/v1")).raise_for_status().content
                by_door[header.device].append(Sight(header, picture))
            for door, sights in by_door.items():
                found = answers(sights, clips[door]) if door in clips else [Answer.CANNOT_TELL] * len(sights)
                for sight, answer in zip(sights, found, strict=True):
                    body = {
                        "id": str(uuid4()),
                        "crop": str(sight.header.id),
                        "labeller": LABELLER,
                        "answer": answer.value,
                    }
                    cloud.post("/labels", json=body).raise_for_status()
                    done += 1
    return done


def _get(cloud: httpx.Client, path: str, **query: Any) -> Any:
    return cloud.get(path, params=query).raise_for_status().json()


def _decode(jpeg: bytes) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("a crop in the cloud is no picture")
    return pixels.astype(np.uint8)


def _frames(clip: Path) -> Any:
    source = cv2.VideoCapture(str(clip))
    try:
        while (read := source.read())[0]:
            yield read[1]
    finally:
        source.release()


def _distance(crop: Pixels, frame: Pixels, header: CropHeader) -> float:
    """Mean difference in grey levels, without what was filled before sending."""
    left, top = header.origin
    width, height = (max(1, round(side / header.scale)) for side in (crop.shape[1], crop.shape[0]))
    piece = frame[top : top + height, left : left + width]
    if piece.shape[0] != height or piece.shape[1] != width:
        return float("inf")
    if header.scale < 1:
        piece = cv2.resize(piece, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_AREA).astype(np.uint8)
    y, x = (side // 4 for side in crop.shape[:2])  # the middle: the background is the same in many frames
    seen, shown = (one[y : y + 2 * y : STEP, x : x + 2 * x : STEP].astype(np.int16) for one in (piece, crop))
    kept = (np.abs(shown - FILL) > NEAR_FILL).any(axis=2)
    return float(np.minimum(np.abs(seen - shown)[kept], 60).mean()) if kept.any() else float("inf")


def _answer(header: CropHeader, crop: Pixels, faces: Sequence[Mapping[str, Any]]) -> Answer:
    spot = np.array(header.box) * np.array([crop.shape[1], crop.shape[0]] * 2) / header.scale
    spot += np.array([*header.origin, *header.origin])
    shared = [(_iou(spot, np.array(face["box"])), face["label"]) for face in faces if face["visible"] >= 0.3]
    overlap, label = max(shared, default=(0.0, ""))
    return Answer(label) if overlap >= OVERLAP else Answer.NOT_A_FACE


def _iou(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    return shared / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)
