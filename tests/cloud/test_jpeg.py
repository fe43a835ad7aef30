"""The gate before any decoder."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.ingest.jpeg import Picture, require_plain_jpeg
from contract.errors import ContractError

ROOT = Path(__file__).resolve().parents[2]


def encoded(width: int, height: int, *options: int, grey: bool = False) -> bytes:
    shape = (height, width) if grey else (height, width, 3)
    pixels = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


PLAIN = encoded(64, 48)
SOF = PLAIN.index(b"\xff\xc0")
SOS = PLAIN.index(b"\xff\xda")


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def inserted(extra: bytes, at: int = 2) -> bytes:
    return PLAIN[:at] + extra + PLAIN[at:]


def resized(width: int, height: int) -> bytes:
    return PLAIN[: SOF + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + PLAIN[SOF + 9 :]


ACCEPTED = {
    "colour": (PLAIN, Picture(64, 48, 3)),
    "grey": (encoded(8, 512, grey=True), Picture(8, 512, 1)),
    "restart markers": (encoded(64, 64, cv2.IMWRITE_JPEG_RST_INTERVAL, 2), Picture(64, 64, 3)),
    "without JFIF": (PLAIN[:2] + PLAIN[20:], Picture(64, 48, 3)),
    "full chroma": (
        encoded(40, 40, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444), Picture(40, 40, 3),
    ),
}  # fmt: skip
REFUSED = {
    "nothing": (b"", "SOI"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(60), "SOI"),
    "only SOI": (b"\xff\xd8", "before its scan"),
    "few bytes that claim 20000 x 20000 px": (resized(20_000, 20_000), "20000 x 20000"),
    "few bytes that claim 65500 x 65500 px": (resized(65_500, 65_500), "65500 x 65500"),
    "no width": (resized(0, 48), "0 x 48"),
    "one px too wide": (encoded(513, 64), "513 x 64"),
    "one px too low": (encoded(64, 7), "64 x 7"),
    "progressive": (encoded(64, 48, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "not baseline"),
    "two frames": (inserted(PLAIN[SOF : SOF + 19], SOF), "two frame headers"),
    "two scans": (PLAIN[:-2] + PLAIN[SOS:], "more than one scan"),
    "EXIF": (inserted(segment(0xE1, b"Exif\0\0" + bytes(20))), "metadata"),
    "a comment": (inserted(segment(0xFE, b"hello")), "metadata"),
    "ICC": (inserted(segment(0xE2, b"ICC_PROFILE\0")), "metadata"),
    "Adobe": (inserted(segment(0xEE, b"Adobe" + bytes(7))), "metadata"),
    "a JFIF thumbnail": (inserted(segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1\0\0\0")), "plain JFIF"),
    "JFXX": (inserted(segment(0xE0, b"JFXX\0\x10" + bytes(8))), "plain JFIF"),
    "bytes after the end": (PLAIN + b"<script>", "after the end"),
    "a second picture after the end": (PLAIN + PLAIN, "after the end"),
    "cut off in the scan": (PLAIN[:-40], "without an end"),
    "cut off in a header": (PLAIN[: SOF + 6], "beyond the file"),
    "a segment that is too long": (inserted(b"\xff\xdb\xff\xff"), "beyond the file"),
    "a segment of length 0": (inserted(b"\xff\xdb\x00\x00"), "beyond the file"),
    "fill bytes": (inserted(b"\xff\xff"), "where a segment should begin"),
    "a hierarchical marker": (inserted(segment(0xDE, bytes(6))), "unexpected segment de"),
    "no tables": (PLAIN[:2] + PLAIN[SOF : SOF + 19] + PLAIN[SOS:], "without its tables"),
    "no frame": (PLAIN[:SOF] + PLAIN[SOF + 19 :], "without a frame"),
    "12 bits": (PLAIN[: SOF + 4] + b"\x0c" + PLAIN[SOF + 5 :], "8 bits"),
    "four components": (PLAIN[: SOF + 9] + b"\x04" + PLAIN[SOF + 10 :], "4 components"),
    "a scan of one of three components": (PLAIN[:SOS] + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\xff\xd9", "all components"),
    "a zero sampling factor": (PLAIN[: SOF + 11] + b"\x00" + PLAIN[SOF + 12 :], "sampling"),
    "too many bytes": (b"\xff\xd8" + bytes(100_001), "100003 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_plain_pictures_pass_with_their_size(name: str) -> None:
    data, picture = ACCEPTED[name]
    assert require_plain_jpeg(data) == picture


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_with_its_fault(name: str) -> None:
    data, words = REFUSED[name]
    with pytest.raises(ContractError, match=words):
        require_plain_jpeg(data)


def test_no_mutant_that_passes_the_gate_is_a_bomb_to_a_decoder() -> None:
    """Faults 74 and 76; in a process of its own, since what is measured is its peak memory."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.cloud.jpeg_fuzz", "--mutants", "6000", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=280,
    )  # fmt: skip
    toll = json.loads(told.stdout)
    assert toll["passed"] > 1_500
    for decoder in toll["decoders"].values():
        assert decoder["decoded"] > 1_000
        assert decoder["growth_mb"] < 16
        assert decoder["slowest_ms"] < 2_000
    assert toll["without_the_gate"]["growth_mb"] > 64  # the same measure sees a bomb


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=6))
def test_whatever_is_overwritten_it_is_accepted_or_refused_and_never_crashes(place: int, patch: bytes) -> None:
    data = PLAIN[:place] + patch + PLAIN[place + len(patch) :]
    try:
        picture = require_plain_jpeg(data)
    except ContractError:
        return
    assert 8 <= picture.width <= 512
    assert 8 <= picture.height <= 512
