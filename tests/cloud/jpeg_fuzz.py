"""Mutated JPEGs through the gate, and whatever it lets pass into real decoders: how much memory and time they take.

`python -m tests.cloud.jpeg_fuzz --mutants 100000` prints the table; Pillow is tried where it is installed.
"""

import argparse
import io
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from cloud.ingest.jpeg import require_plain_jpeg
from contract.errors import ContractError

Decode = Callable[[bytes], object]
MARKS = bytes((0xC0, 0xC4, 0xDB, 0xDA, 0xDD, 0xE0, 0xD9, 0xD0, 0x00, 0xFF))


@dataclass(frozen=True, slots=True)
class Toll:
    """What one decoder took for some pictures."""

    decoded: int
    failed: int
    slowest_ms: float
    growth_mb: float  # of this process's peak memory


def encoded(width: int, height: int, *options: int, grey: bool = False) -> bytes:
    """A JPEG of noise."""
    shape = (height, width) if grey else (height, width, 3)
    pixels = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


def seeds() -> list[bytes]:
    """Plain pictures of every kind that the gate takes."""
    full = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return [
        encoded(64, 48), encoded(8, 8), encoded(96, 40, grey=True), encoded(40, 40, *full),
        encoded(64, 64, cv2.IMWRITE_JPEG_RST_INTERVAL, 2), encoded(512, 512, cv2.IMWRITE_JPEG_QUALITY, 10),
    ]  # fmt: skip


def bomb(side: int = 6_000) -> bytes:
    """A small file whose header claims `side` x `side` px: the gate refuses it, a decoder takes the memory."""
    plain = encoded(64, 48)
    start = plain.index(b"\xff\xc0") + 5
    return plain[:start] + side.to_bytes(2, "big") * 2 + plain[start + 4 :]


def mutants(number: int, seed: int, plain: Sequence[bytes] = ()) -> Iterator[bytes]:
    """Pictures spoilt in one to six places: bytes, headers, sizes, sampling, tables, lengths, and parts of one another."""
    rng, plain = random.Random(seed), plain or seeds()
    for _ in range(number):
        data = bytearray(rng.choice(plain))
        for _ in range(rng.randint(1, 6)):
            _spoil(data, rng, plain)
        yield bytes(data)


def passed(some: Iterator[bytes]) -> list[bytes]:
    """Those that the gate lets through."""
    through = []
    for one in some:
        try:
            require_plain_jpeg(one)
        except ContractError:
            continue
        through.append(one)
    return through


def decoders() -> dict[str, Decode]:
    """By name."""
    found: dict[str, Decode] = {"OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)}
    try:
        from PIL import Image  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return found
    return found | {"Pillow": lambda data: Image.open(io.BytesIO(data)).load()}


def toll(decode: Decode, pictures: Sequence[bytes]) -> Toll:
    """Decode all of them here."""
    decode(encoded(512, 512))  # what any picture of the greatest size takes is not what is asked
    before, slowest, failed = _peak_mb(), 0.0, 0
    for one in pictures:
        began = time.perf_counter()
        try:
            failed += decode(one) is None
        except (OSError, ValueError, SyntaxError):  # how Pillow says that it is no picture
            failed += 1
        slowest = max(slowest, time.perf_counter() - began)
    return Toll(len(pictures) - failed, failed, 1000 * slowest, _peak_mb() - before)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    through = passed(mutants(chosen.mutants, chosen.seed))
    if chosen.json:
        tolls = {name: asdict(toll(decode, through)) for name, decode in decoders().items()}
        bombed = asdict(toll(decoders()["OpenCV"], [bomb()]))
        print(json.dumps({"passed": len(through), "decoders": tolls, "without_the_gate": bombed}))
        return 0
    print(f"{chosen.mutants} mutants, {len(through)} pass the gate")
    for name, decode in decoders().items():
        told = toll(decode, through)
        print(
            f"{name}: {told.failed} are no picture to it, slowest {told.slowest_ms:.1f} ms, peak memory +{told.growth_mb:.1f} MB"
        )
    return 0


def _spoil(data: bytearray, rng: random.Random, plain: Sequence[bytes]) -> None:
    at = rng.randrange(2, len(data))
    match rng.randrange(9):
        case 0 | 1:
            data[at] = rng.randrange(256)
        case 2:
            data[at : at + 2] = bytes((0xFF, rng.choice(MARKS)))
        case 3:
            data[at:at] = rng.randbytes(rng.randint(1, 40))
        case 4:
            del data[at : at + rng.randint(1, 40)]
        case 5:
            _overwrite(data, b"\xff\xc0", 5, rng.choice((8, 64, 511, 512, 513, 4096, 65_500)).to_bytes(2, "big") * 2)
        case 6:
            _overwrite(data, b"\xff\xc0", 11, bytes((rng.choice((0x11, 0x22, 0x41, 0x14, 0x44, 0x00, 0xFF)),)))
        case 7:
            start = _at(data, rng.choice((b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xda")))
            _overwrite(data, bytes(data[start : start + 2]), rng.randint(2, 24), rng.randbytes(rng.randint(1, 8)))
        case _:
            other = rng.choice(plain)
            cut = rng.randrange(len(other))
            data[at:] = other[cut:]


def _overwrite(data: bytearray, marker: bytes, offset: int, patch: bytes) -> None:
    start = _at(data, marker) + offset
    if start + len(patch) <= len(data):
        data[start : start + len(patch)] = patch


def _at(data: bytearray, marker: bytes) -> int:
    return max(data.find(marker), 0)


def _peak_mb() -> float:
    told = Path("/proc/self/status")  # getrusage on Linux begins with the peak of whoever started us
    if told.is_file():
        return int(told.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)


if __name__ == "__main__":
    sys.exit(main())
