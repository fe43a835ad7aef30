"""Messages that went over the wire once must be understood for ever: these files are only added to."""

from pathlib import Path

import pytest

from contract.crops import Crop
from contract.document import MESSAGES
from contract.topics import Channel

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
LIMIT = 1 << 20


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_a_golden_message_reads_and_writes_byte_for_byte(path: Path) -> None:
    model = MESSAGES[Channel(path.stem.split("-")[0])]
    payload = path.read_bytes().removesuffix(b"\n")
    assert model.decode(payload, limit=LIMIT).encode() == payload


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("crops-*.bin")), ids=lambda path: path.stem)
def test_a_golden_crop_reads_and_writes_byte_for_byte(path: Path) -> None:
    payload = path.read_bytes()
    assert Crop.decode(payload, device="door-1").encode() == payload


def test_every_channel_with_messages_has_a_golden_one() -> None:
    assert {path.name.split("-")[0] for path in GOLDEN.iterdir()} == {str(channel) for channel in MESSAGES}
