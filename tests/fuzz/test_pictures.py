"""Hostile pictures: the gate refuses bombs and polyglots, and what it lets through is decoded within bounds."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from cloud.ingest.jpeg import require_plain_jpeg
from contract.errors import ContractError
from tests.cloud.jpeg_fuzz import bomb, encoded
from tests.fuzz.conftest import MORE
from tests.fuzz.hostile import SCRIPT
from tests.fuzz.pictures import drawn

PLAIN = drawn()[1]
SCAN = PLAIN.index(b"\xff\xda")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil.js", SCRIPT)
    return buffer.getvalue()


def small_bomb() -> bytes:
    """No more than the headers of 20000 x 20000 px and an empty scan: under 700 bytes."""
    frame = PLAIN.index(b"\xff\xc0") + 5
    side = (20_000).to_bytes(2, "big")
    return PLAIN[:frame] + side * 2 + PLAIN[frame + 4 : SCAN + 14] + b"\xff\xd9"


def four_components() -> bytes:
    frame = PLAIN.index(b"\xff\xc0")
    body = PLAIN[frame + 4 : frame + 9] + b"\x04" + b"".join(bytes((one, 0x11, 0)) for one in range(1, 5))
    return PLAIN[:frame] + b"\xff\xc0" + (len(body) + 2).to_bytes(2, "big") + body + PLAIN[frame + 19 :]


HOSTILE = {
    "a bomb of a few hundred bytes": small_bomb(),
    "a bomb": bomb(12_000),
    "progressive": encoded(64, 48, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "a thousand scans": PLAIN[:-2] + PLAIN[SCAN:-2] * 1_000 + b"\xff\xd9",
    "HTML after the end": PLAIN + SCRIPT.encode(),
    "a ZIP after the end": PLAIN + zipped(),
    "a picture after the end": PLAIN + PLAIN,
    "HTML in a comment": PLAIN[:2] + b"\xff\xfe\x00\x1b" + SCRIPT.encode() + PLAIN[2:],
    "a script in APP15": PLAIN[:2] + b"\xff\xef\x00\x0c/*alert(1)" + PLAIN[2:],
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "GIF": b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)",
    "CMYK": four_components(),
    "bytes before the start": b"\n" + PLAIN,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_the_gate_refuses(what: str) -> None:
    with pytest.raises(ContractError):
        require_plain_jpeg(HOSTILE[what])


def test_a_picture_cut_anywhere_is_refused() -> None:
    for length in range(len(PLAIN)):
        with pytest.raises(ContractError):
            require_plain_jpeg(PLAIN[:length])


def test_the_small_bomb_is_small_and_would_take_what_the_gate_spares(tmp_path: Path) -> None:
    """So that the bound of the next test means something."""
    path = tmp_path / "bomb.jpg"
    path.write_bytes(small_bomb())
    assert path.stat().st_size < 700
    answer = run("--file", str(path))
    assert answer.returncode != 0, answer.stdout


def test_what_passes_the_gate_is_decoded_in_bounded_memory() -> None:
    answer = run("--mutants", str(int(5_000 * MORE)))
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert 0 < told["decoded"] <= told["passed"]


def test_a_sound_picture_passes() -> None:
    for one in drawn():
        require_plain_jpeg(one)
        assert cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) is not None


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.pictures", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
