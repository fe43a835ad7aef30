"""Crops as a door sends them and as the consumer stores them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from cloud.store import writing
from contract.crops import CropHeader

Sent = tuple[CropHeader, bytes]


def crops_of(clip: Path, folder: Path) -> list[Sent]:
    """What a door at the passage would have sent of a drawn clip; `folder` gets the files."""
    command = [sys.executable, "-m", "agent", "replay", clip, "--line", "0.5,1,0.5,0", "--crops", folder]
    subprocess.run([str(part) for part in command], check=True, timeout=280, capture_output=True)
    return [
        (CropHeader.from_parsed(json.loads(path.read_text())), path.with_suffix(".jpg").read_bytes())
        for path in sorted(folder.glob("*.json"))
    ]


def store_rows(engine: Engine, crops: Sequence[Sent], now: datetime) -> None:
    """The rows of crops whose pictures lie among the blobs already."""
    rows = [
        {
            "id": header.id, "device": header.device, "at": header.at, "claimed_at": None, "received_at": now,
            "role": header.role.value, "window": header.window, "jpeg_digest": header.jpeg_digest,
            "jpeg_bytes": len(jpeg), "width": 64, "height": 64, "header": header.model_dump(mode="json"),
            "fingerprint": header.id.bytes,
        }
        for header, jpeg in crops
    ]  # fmt: skip
    with engine.begin() as connection:
        writing.touch_devices(connection, {header.device for header, _ in crops}, now)
        writing.write_crops(connection, rows)
