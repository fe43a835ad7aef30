"""Golden frames: a few pictures and what a release must find in them, in one archive that the trainer writes and a door reads.

The archive is a ZIP without compression and with fixed times, so that the same frames are the same bytes.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from contract.errors import ContractError
from contract.labels import Label
from contract.release import GOLDEN_LIMIT
from contract.wire import Ratio, Wire

INDEX_NAME = "golden.json"
INDEX_LIMIT = 256 * 1024  # bytes of golden.json
FRAME_LIMIT = 2 * 1024 * 1024  # bytes of one picture
FRAMES_LIMIT = 20
_PNG = b"\x89PNG\r\n\x1a\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP can say


class GoldenDetection(Wire):
    """One face that the release finds in a golden frame."""

    label: Label
    confidence: Ratio
    box: tuple[Ratio, Ratio, Ratio, Ratio] = Field(description="x0, y0, x1, y1 in the unit square.")


class GoldenEntry(Wire):
    """One picture of the archive."""

    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}\.png$")] = Field(description="Name in the archive.")
    detections: Annotated[tuple[GoldenDetection, ...], Field(max_length=100)] = ()


class GoldenIndex(Wire):
    """`golden.json`: what must be found where."""

    frames: Annotated[tuple[GoldenEntry, ...], Field(min_length=1, max_length=FRAMES_LIMIT)]


@dataclass(frozen=True, slots=True)
class GoldenFrame:
    """A picture's PNG bytes and everything that is found in it."""

    png: bytes
    detections: tuple[GoldenDetection, ...]


def write_golden(frames: Sequence[GoldenFrame]) -> bytes:
    """The archive of 1 to 20 frames; the same frames give the same bytes.

    Raises ContractError for another number of frames, a picture that is no PNG or over 2 MiB, or an archive over 8 MiB.
    """
    if not 1 <= len(frames) <= FRAMES_LIMIT:
        raise ContractError(f"{len(frames)} golden frames, but it takes 1 to {FRAMES_LIMIT}")
    entries = tuple(
        GoldenEntry(file=f"frame-{number:02}.png", detections=frame.detections) for number, frame in enumerate(frames)
    )
    files = [(INDEX_NAME, GoldenIndex(frames=entries).encode())]
    for entry, frame in zip(entries, frames, strict=True):
        _require_picture(entry.file, frame.png)
        files.append((entry.file, frame.png))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), content)
    if len(sink.getvalue()) > GOLDEN_LIMIT:
        raise ContractError(f"golden frames of {len(sink.getvalue())} bytes, but at most {GOLDEN_LIMIT} are allowed")
    return sink.getvalue()


def read_golden(content: bytes) -> tuple[GoldenFrame, ...]:
    """The inverse of `write_golden`, for bytes from outside.

    Raises ContractError for anything else: too large, compressed, entries that the index does not name, or missing ones.
    """
    if len(content) > GOLDEN_LIMIT:
        raise ContractError(f"golden frames of {len(content)} bytes, but at most {GOLDEN_LIMIT} are allowed")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if len(names) > FRAMES_LIMIT + 1 or len(set(names)) != len(names):
                raise ContractError("the golden frames' archive has too many entries, or one twice")
            index = GoldenIndex.decode(_entry(archive, INDEX_NAME, INDEX_LIMIT), limit=INDEX_LIMIT)
            if sorted(names) != sorted([INDEX_NAME, *(entry.file for entry in index.frames)]):
                raise ContractError(f"the golden frames' archive does not hold exactly what its {INDEX_NAME} names")
            return tuple(
                GoldenFrame(_require_picture(entry.file, _entry(archive, entry.file, FRAME_LIMIT)), entry.detections)
                for entry in index.frames
            )
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ContractError(f"no archive of golden frames: {error}") from error


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit or info.flag_bits & 0x1:
        raise ContractError(f"{name} in the golden frames' archive is compressed, encrypted or over {limit} bytes")
    return archive.read(info)


def _require_picture(name: str, png: bytes) -> bytes:
    if not png.startswith(_PNG) or len(png) > FRAME_LIMIT:
        raise ContractError(f"golden frame {name} is no PNG or has over {FRAME_LIMIT} bytes")
    return png
