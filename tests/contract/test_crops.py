from hashlib import sha256
from uuid import UUID

import pytest

from contract.crops import CROP_LIMIT, Crop, CropHeader
from contract.errors import ContractError

JPEG = b"\xff\xd8 any bytes \n\n even newlines \xff\xd9"


def header(**fields: object) -> CropHeader:
    return CropHeader.from_parsed(
        {
            "id": UUID(int=7), "device": "door-1", "at": "2026-11-24T08:00:00Z", "role": "control", "window": UUID(int=8),
            "window_passes": 40, "weight": 8.0, "scores": (0.5, 0.4, 0.1), "box": (0.25, 0.25, 0.75, 0.75),
            "frame_size": (640, 480), "origin": (100, 50), "scale": 1.0, "model_digest": "a" * 64,
            "jpeg_digest": sha256(JPEG).hexdigest(),
        } | fields
    )  # fmt: skip


def test_a_crop_survives_writing_and_reading() -> None:
    crop = Crop(header(), JPEG)
    assert Crop.decode(crop.encode(), device="door-1") == crop


def test_a_crop_without_a_weight_is_for_training_only() -> None:
    assert Crop.decode(Crop(header(weight=None), JPEG).encode(), device="door-1").header.weight is None


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"no newline here", "no header line"),
        (b"{}\n", "id: Field required"),
        (Crop(header(), JPEG).encode()[:-1], "do not match the header's digest"),
        (Crop(header(device="door-2"), JPEG).encode(), "under the name of door-1"),
        (b"x" * (CROP_LIMIT + 1), "at most"),
        (b"x" * 5000 + b"\n", "at most 4096"),
    ],
)
def test_a_crop_that_breaks_the_contract_is_refused(payload: bytes, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        Crop.decode(payload, device="door-1")


@pytest.mark.parametrize("fields", [{"weight": 0.5}, {"scale": 0}, {"box": (0, 0, 1, 1.1)}, {"jpeg_digest": "A" * 64}])
def test_geometry_and_weights_have_bounds(fields: dict[str, object]) -> None:
    with pytest.raises(ContractError):
        header(**fields)
