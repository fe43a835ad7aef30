"""A crop on the wire: one line of JSON, a newline, and the JPEG as it is."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from contract.errors import ContractError
from contract.identity import DeviceId
from contract.labels import LABELS, Label
from contract.wire import SCHEMA_VERSION, Count, Instant, Ratio, SchemaVersion, Wire

CROP_LIMIT = 64 * 1024  # bytes of one crops message, header and picture
HEADER_LIMIT = 4 * 1024
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Role(StrEnum):
    """Why a crop was chosen: control crops may speak for all passes, the others only teach."""

    CONTROL = "control"
    PRIORITY = "priority"
    NEAR_MISS = "near_miss"


class CropHeader(Wire):
    """What must be known of a picture to label it, weigh it and paste it back at its scale."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    id: UUID
    device: DeviceId
    at: Instant
    role: Role
    window: UUID = Field(description="The sampling window it was drawn in.")
    window_passes: Count = Field(description="Passes in that window: what the sample stands for.")
    weight: Annotated[float, Field(ge=1)] | None = Field(
        default=None, description="Inverse inclusion probability; null: training only."
    )
    scores: tuple[Ratio, Ratio, Ratio] = Field(description="Class scores in label order, of this picture alone.")
    label: Label | None = Field(
        default=None,
        description="What its pass speaks for, all looks together; absent: a near miss, or an older agent.",
    )
    box: tuple[Ratio, Ratio, Ratio, Ratio] = Field(description="The face in the crop, corners in the unit square.")
    frame_size: tuple[Count, Count] = Field(description="Width and height in px of the frame it was cut from.")
    origin: tuple[Count, Count] = Field(description="Left and top in px of the crop in that frame.")
    scale: Annotated[float, Field(gt=0, le=1)] = Field(description="Crop px per frame px.")
    model_digest: Digest = Field(description="SHA-256 of the model file that saw it.")
    jpeg_digest: Digest = Field(description="SHA-256 of the picture's bytes.")

    @property
    def counted_as(self) -> Label:
        """What its pass was counted as; of an older agent's crop, what the model said of the picture."""
        return self.label or LABELS[max(range(len(LABELS)), key=self.scores.__getitem__)]


@dataclass(frozen=True, slots=True)
class Crop:
    """The payload of a `crops` message."""

    header: CropHeader
    jpeg: bytes

    def encode(self) -> bytes:
        """Header line, newline, picture."""
        return self.header.encode() + b"\n" + self.jpeg

    @classmethod
    def decode(cls, payload: bytes, *, device: str) -> Self:
        """The inverse of `encode`, for bytes from `device`.

        Raises ContractError for too many bytes, a bad header, another device's name or a picture that is not the header's.
        The picture itself is not looked into.
        """
        if len(payload) > CROP_LIMIT:
            raise ContractError(f"{len(payload)} bytes, but at most {CROP_LIMIT} are allowed")
        line, newline, jpeg = payload.partition(b"\n")
        if not newline:
            raise ContractError("no header line")
        header = CropHeader.decode(line, limit=HEADER_LIMIT)
        if header.device != device:
            raise ContractError(f"carries a crop of {header.device!r} under the name of {device}")
        if sha256(jpeg).hexdigest() != header.jpeg_digest:
            raise ContractError("the picture's bytes do not match the header's digest")
        return cls(header, jpeg)
