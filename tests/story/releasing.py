"""A trainer's last step for stories, with a model file at hand: three files, signed, uploaded, published over HTTP."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import cv2
import httpx
import numpy as np

from agent.config import FACTORY_MODEL
from agent.vision.detector import Detector
from contract.golden import GoldenDetection, GoldenFrame, write_golden
from contract.release import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME, read_manifest
from rehearsal.house import House
from rehearsal.scene import Scene
from tests.cloud.release_kit import signed


def factory_again(number: int) -> dict[str, bytes]:
    """The factory model's bytes as release `number`, with golden frames that it really passes."""
    golden = write_golden(_golden_frames())
    changes = {"release": number, "golden_digest": sha256(golden).hexdigest()}
    manifest = read_manifest(FACTORY_MODEL).model_copy(update=changes)
    return {MODEL_NAME: FACTORY_MODEL.read_bytes(), MANIFEST_NAME: manifest.encode(), GOLDEN_NAME: golden}


def publish(house: House, number: int, files: Mapping[str, bytes]) -> None:
    """Upload `files`, then the signed list of releases."""
    machine = {"Authorization": f"Bearer {house.token('trainer')}"}
    with httpx.Client(base_url=f"{house.page}api/v1/releases/{number}", headers=machine, timeout=30) as client:
        for name, content in files.items():
            client.put(f"/{name}", content=content).raise_for_status()
        listed = signed(_home(house), number, dict(files), datetime.now(UTC), key="../../trainer-keys/releases")
        client.post("/publish", content=listed).raise_for_status()


def _home(house: House) -> Path:
    return house.folder / "cloud" / "releases"


def _golden_frames() -> list[GoldenFrame]:
    detector, scene, frames = Detector.load(FACTORY_MODEL), Scene("passage", seed=61, people=3, gap_s=1.2), []
    for index in range(0, scene.frames, 6):
        pixels = np.ascontiguousarray(scene.render(index)[0])
        found = detector.detect(pixels)
        if found and min(one.confidence for one in found) > 0.6:
            told = tuple(
                GoldenDetection(label=one.label, confidence=one.confidence, box=(one.box.x0, one.box.y0, one.box.x1, one.box.y1))
                for one in found
            )  # fmt: skip
            frames.append(GoldenFrame(cv2.imencode(".png", pixels)[1].tobytes(), told))
        if len(frames) == 3:
            break
    return frames
