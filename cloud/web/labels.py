"""Labels over HTTP: crops to label, answers back, the pictures, and snapshots for a trainer."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.learning.labelling import Given, Labelling, TakenError, UnknownCropError
from cloud.learning.snapshots import Snapshots
from cloud.store.blobs import Blobs
from contract.crops import CropHeader, Digest
from contract.dataset import Answer
from contract.errors import ContractError
from contract.wire import Ratio

Labeller = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")]
Result = TypeVar("Result")
MOST = 40  # crops in one answer
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


class CropAnswer(BaseModel):
    """A crop to label, blind: without what the model thought of it and why it was chosen."""

    crop: UUID
    door: str
    at: datetime
    box: tuple[float, float, float, float] = Field(description="The face in the picture, corners in the unit square.")
    picture: str = Field(description="Address of the JPEG on this site.")

    @classmethod
    def of(cls, header: CropHeader) -> "CropAnswer":
        return cls(
            crop=header.id, door=header.device, at=header.at, box=header.box,
            picture=f"/api/v1/crops/{header.jpeg_digest}.jpg",
        )  # fmt: skip


class LabelWish(BaseModel):
    """One answer."""

    model_config = ConfigDict(extra="forbid")
    id: UUID = Field(description="Made by the labeller's page, so that sending it twice is harmless.")
    crop: UUID
    labeller: Labeller
    answer: Answer
    took_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 0
    box: tuple[Ratio, Ratio, Ratio, Ratio] | None = Field(default=None, description="The mended box.")


class UndoWish(BaseModel):
    """Take my last answer back."""

    model_config = ConfigDict(extra="forbid")
    id: UUID
    labeller: Labeller


class ProgressAnswer(BaseModel):
    """How far the labellers are, in crops."""

    waiting: int
    labelled: int
    by_answer: dict[Answer, int]
    by_labeller: dict[str, int]
    last_hour: int


def new_label_api(
    labelling: Labelling, snapshots: Snapshots, blobs: Blobs, *, require_person: Callable[..., Any],
    require_machine: Callable[..., Any], clock: Callable[[], datetime],
) -> APIRouter:  # fmt: skip
    """Every route about labels; there are no accounts yet, so pictures are shown like every other page."""
    api = APIRouter(prefix="/api/v1", tags=["labels"])
    writes = [Depends(require_person)]

    @api.get("/labels/next", summary="Crops for one labeller, held for ten minutes")
    def following(
        labeller: Annotated[str, Query(min_length=1, max_length=60)],
        count: Annotated[int, Query(ge=1, le=MOST)] = 20,
    ) -> list[CropAnswer]:
        return [CropAnswer.of(header) for header in labelling.take(labeller, count, clock())]

    @api.post("/labels", status_code=201, dependencies=writes, summary="One answer; from this site's pages, or a token")
    def give(wish: LabelWish) -> dict[str, bool]:
        given = Given(wish.id, wish.crop, wish.labeller, wish.answer, wish.took_ms, wish.box)
        return {"new": _or_refuse(lambda: labelling.give(given, clock()))}

    @api.post("/labels/undo", dependencies=writes, summary="Take my last answer back; the crop comes again")
    def undo(wish: UndoWish) -> CropAnswer:
        return CropAnswer.of(_or_refuse(lambda: labelling.undo(wish.id, wish.labeller, clock())))

    @api.get("/labels/progress", summary="Labelled and waiting, by answer")
    def progress() -> ProgressAnswer:
        return ProgressAnswer(**asdict(labelling.progress(clock())))

    @api.get("/crops/{digest}.jpg", response_class=Response, summary="A crop's picture")
    def picture(digest: Digest) -> Response:
        return Response(_blob(blobs.get, digest), media_type="image/jpeg", headers=FOREVER)

    @api.get(
        "/crops/{crop}/header", dependencies=[Depends(require_machine)],
        summary="For machines: everything that the door said of a crop",
    )  # fmt: skip
    def header(crop: UUID) -> dict[str, Any]:
        return _or_refuse(lambda: labelling.header(crop)).model_dump(mode="json")

    @api.get(
        "/snapshots/{digest}", response_class=Response, dependencies=[Depends(require_machine)],
        summary="For trainers: a snapshot by its digest",
    )  # fmt: skip
    def snapshot(digest: Digest) -> Response:
        return Response(_blob(snapshots.content, digest), media_type="application/json", headers=FOREVER)

    return api


def _blob(get: Callable[[str], bytes], digest: str) -> bytes:
    try:
        return get(digest)
    except KeyError as error:
        raise HTTPException(404, "there is nothing of this name") from error


def _or_refuse(act: Callable[[], Result]) -> Result:
    try:
        return act()
    except UnknownCropError as error:
        raise HTTPException(404, str(error)) from error
    except TakenError as error:
        raise HTTPException(409, str(error)) from error
    except ContractError as error:
        raise HTTPException(422, str(error)) from error
