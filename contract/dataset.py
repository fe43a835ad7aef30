"""A snapshot of the labelled crops: what a model was trained and judged on, named by the digest of its content."""

from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from contract.crops import Digest, Role
from contract.errors import ContractError
from contract.identity import DeviceId
from contract.labels import Label
from contract.wire import SCHEMA_VERSION, Count, Instant, Ratio, SchemaVersion, Wire

SNAPSHOT_LIMIT = 256 * 1024 * 1024  # bytes


class Answer(StrEnum):
    """What a labeller can say of a crop; the first three are the labels themselves."""

    WITH_MASK = "with_mask"
    WITHOUT_MASK = "without_mask"
    MASK_WORN_INCORRECTLY = "mask_worn_incorrectly"
    NOT_A_FACE = "not_a_face"
    CANNOT_TELL = "cannot_tell"

    @property
    def label(self) -> Label | None:
        """The class, where the answer is one."""
        return Label(self.value) if self.value in Label.__members__.values() else None


class Use(StrEnum):
    """What a crop may be used for: control crops judge first, and half of them never teach."""

    TRAIN = "train"
    JUDGE = "judge"


class Example(Wire):
    """One labelled crop."""

    crop: UUID
    jpeg_digest: Digest = Field(description="SHA-256 of the picture: its name among the objects.")
    answer: Answer = Field(description="Never `cannot_tell`: those teach nothing.")
    box: tuple[Ratio, Ratio, Ratio, Ratio] = Field(description="The face in the crop, corners in the unit square.")
    use: Use
    role: Role
    device: DeviceId
    at: Instant
    weight: Annotated[float, Field(ge=1)] | None = Field(default=None, description="As in the crop's header.")
    scores: tuple[Ratio, Ratio, Ratio] = Field(description="What the model said, in label order.")
    model_digest: Digest
    frame_size: tuple[Count, Count]
    origin: tuple[Count, Count]
    scale: Annotated[float, Field(gt=0, le=1)]


class Snapshot(Wire):
    """Examples in the order of their crops' ids; its digest is its name."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    examples: Annotated[tuple[Example, ...], Field(min_length=1)]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Self:
        """The snapshot of these examples in whatever order; raises ContractError for none, or one crop twice."""
        ordered = tuple(sorted(examples, key=lambda one: one.crop.bytes))
        if not ordered:
            raise ContractError("a snapshot needs at least one labelled crop: label some first")
        if len({one.crop for one in ordered}) < len(ordered):
            raise ContractError("a snapshot holds each crop once")
        return cls(examples=ordered)

    @property
    def digest(self) -> str:
        """SHA-256 of the encoded snapshot."""
        return sha256(self.encode()).hexdigest()

    def of_use(self, use: Use) -> tuple[Example, ...]:
        """The examples for one use."""
        return tuple(one for one in self.examples if one.use is use)
