"""Pictures that may leave, with real processes: from a drawn clip through a door's outbox into the cloud's blobs."""

import json
import sqlite3
from collections import Counter
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from cloud.ingest.jpeg import require_plain_jpeg
from contract.crops import CropHeader
from rehearsal.house import Doorway, House
from rehearsal.processes import wait_until
from rehearsal.scene import LINES, Scene, write_clip
from tests.zones import afternoon

LEARNING = "[learning]\ncrops = true\nwindow_s = 10\nbudget = 4\ncontrol_share = 0.5\n"


@pytest.mark.parametrize("crops", [True, False])
def test_from_frame_to_crop(tmp_path: Path, crops: bool) -> None:
    clip = tmp_path / "door.mp4"
    write_clip(Scene("passage", seed=61, people=6, gap_s=1.2), clip)
    house = House(tmp_path / "house", cloud_settings=f'time_zone = "{afternoon()}"\n')
    try:
        house.broker.start()
        house.start_cloud()
        settings = LEARNING if crops else ""
        house.start_door(Doorway("door-1", clip, LINES["passage"], loop=False, settings=settings))
        wait_until(lambda: not house.doors["door-1"].running, within_s=180, what="the clip's end")
        assert house.doors["door-1"].process.returncode == 0
        wait_until(lambda: house.overview()[0]["state"] == "offline", within_s=20, what="the door's goodbye")
        (told,) = house.overview()
    finally:
        house.stop()
    assert told["waiting"] == 0
    assert told["today"]["passes"] >= 3
    with sqlite3.connect(house.folder / "cloud" / "maskfleet.sqlite") as database:
        rows = database.execute("SELECT header, jpeg_digest FROM crops").fetchall()
        (quarantined,) = database.execute("SELECT count(*) FROM quarantine").fetchone()
    database.close()
    blobs = [path for path in (house.folder / "cloud" / "blobs").rglob("*") if path.is_file()]
    assert quarantined == 0
    assert len(blobs) == len({digest for _, digest in rows})
    assert bool(rows) == crops
    for header, digest in rows:
        require_sound(CropHeader.from_parsed(json.loads(header)), digest, blobs)
    windows = Counter(json.loads(header)["window"] for header, _ in rows)
    assert all(number <= 4 for number in windows.values())


def require_sound(header: CropHeader, digest: str, blobs: list[Path]) -> None:
    """The header's picture lies among the blobs, decodes, and shows a part of its frame."""
    (jpeg,) = [content for path in blobs if sha256(content := path.read_bytes()).hexdigest() == digest]
    assert len(jpeg) <= 60_000
    assert header.jpeg_digest == digest
    size = require_plain_jpeg(jpeg)
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (size.height, size.width, 3)
    assert max(size.width, size.height) <= 320
    assert header.origin[0] + size.width / header.scale <= header.frame_size[0]
    assert header.origin[1] + size.height / header.scale <= header.frame_size[1]
