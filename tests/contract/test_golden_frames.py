"""Golden frames: the same frames are the same bytes, and nothing else is read."""

import io
import zipfile

import pytest

from contract.errors import ContractError
from contract.golden import GoldenDetection, GoldenFrame, read_golden, write_golden
from contract.labels import Label

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
FRAME = GoldenFrame(PNG, (GoldenDetection(label=Label.WITH_MASK, confidence=0.8, box=(0.1, 0.2, 0.3, 0.4)),))


def rewritten(content: bytes, extra: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(sink, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name, value in extra.items():
            new.writestr(name, value)
    return sink.getvalue()


def test_what_is_written_is_read_and_twice_the_same() -> None:
    frames = (FRAME, GoldenFrame(PNG, ()))
    assert write_golden(frames) == write_golden(frames)
    assert read_golden(write_golden(frames)) == frames


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK", write_golden([FRAME])[:-30],
        rewritten(write_golden([FRAME]), {"../evil.png": PNG}),
        rewritten(write_golden([FRAME]), {}, zipfile.ZIP_DEFLATED),
    ],
    ids=["nothing", "noise", "truncated", "a path", "compressed"],
)  # fmt: skip
def test_what_is_no_archive_of_golden_frames_is_refused(content: bytes) -> None:
    with pytest.raises(ContractError):
        read_golden(content)


@pytest.mark.parametrize("frames", [[], [FRAME] * 21, [GoldenFrame(b"JPEG", ())]], ids=["none", "21", "no PNG"])
def test_what_cannot_be_golden_is_not_written(frames: list[GoldenFrame]) -> None:
    with pytest.raises(ContractError):
        write_golden(frames)
