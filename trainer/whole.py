"""Files that are there whole or not at all: what a power cut leaves must not be taken for a finished stage."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` in one step, once all of it is on the disk. Raises OSError."""
    half = path.with_name(f"{path.name}.half")
    with half.open("wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    half.replace(path)
