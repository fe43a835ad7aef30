"""Labels over HTTP: crops to label, answers back, the pictures, and snapshots for a trainer."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.learning.labelling import Given, Labelling, TakenError, UnknownCropError
from cloud.learning.snapshots import Snapshots
from cloud.store.blobs import Blobs
from cloud.web.asking import name_of, note
from contract.crops import CropHeader, Digest
from contract.dataset import Answer
from contract.errors import ContractError
from contract.wire import Ratio

Labeller = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")]
Result = TypeVar("Result")
MOST = 40  # crops in one answer
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
NEVER = {"Cache-Control": "no-store"}  # a person's picture stays on no labeller's disk


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
    labeller: Labeller | None = Field(default=None, description="For machines; people's answers bear their own name.")
    answer: Answer
    took_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 0
    box: tuple[Ratio, Ratio, Ratio, Ratio] | None = Field(default=None, description="The mended box.")


class UndoWish(BaseModel):
    """Take my last answer back."""

    model_config = ConfigDict(extra="forbid")
    id: UUID
    labeller: Labeller | None = None


class ProgressAnswer(BaseModel):
    """How far the labellers are, in crops."""

    waiting: int
    labelled: int
    by_answer: dict[Answer, int]
    by_labeller: dict[str, int]
    last_hour: int


def new_label_api(
    labelling: Labelling, snapshots: Snapshots, blobs: Blobs, *, require_machine: Callable[..., Any],
    clock: Callable[[], datetime],
) -> APIRouter:  # fmt: skip
    """Every route about labels; who gives one is who is signed in."""
    api = APIRouter(prefix="/api/v1", tags=["labels"])

    @api.get("/labels/next", summary="Crops for one labeller, held for ten minutes")
    def following(
        labeller: Annotated[Labeller | None, Query(description="For machines: whom they speak for.")] = None,
        count: Annotated[int, Query(ge=1, le=MOST)] = 20,
    ) -> list[CropAnswer]:
        return [CropAnswer.of(header) for header in labelling.take(name_of(labeller), count, clock())]

    @api.post("/labels", status_code=201, summary="One answer; from this site's pages, or a token")
    def give(wish: LabelWish) -> dict[str, bool]:
        labeller = name_of(wish.labeller)
        note(str(wish.crop), answer=wish.answer.value, labeller=labeller)
        given = Given(wish.id, wish.crop, labeller, wish.answer, wish.took_ms, wish.box)
        return {"new": _or_refuse(lambda: labelling.give(given, clock()))}

    @api.post("/labels/undo", summary="Take my last answer back; the crop comes again")
    def undo(wish: UndoWish) -> CropAnswer:
        labeller = name_of(wish.labeller)
        header = _or_refuse(lambda: labelling.undo(wish.id, labeller, clock()))
        note(str(header.id), labeller=labeller)
        return CropAnswer.of(header)

    @api.get("/labels/progress", summary="Labelled and waiting, by answer")
    def progress() -> ProgressAnswer:
        return ProgressAnswer(**asdict(labelling.progress(clock())))

    @api.get(
        "/crops/{digest}.jpg", response_class=Response, summary="A crop's picture; machines may be sent to the store",
        responses={307: {"description": "For a machine: fetch it there, without the token."}},
    )  # fmt: skip
    def picture(digest: Digest, request: Request) -> Response:
        note(digest)
        if "authorization" in request.headers:
            elsewhere = _blob(blobs.address, digest) if labelling.keeps(digest) else None
            if elsewhere:
                return Response(status_code=307, headers={"Location": elsewhere, "Cache-Control": "no-store"})
        return Response(_blob(blobs.get, digest), media_type="image/jpeg", headers=NEVER)

    @api.get(
        "/crops/{crop}/header", dependencies=[Depends(require_machine)],
        summary="For machines: everything that the door said of a crop",
    )  # fmt: skip
    def header(crop: UUID) -> dict[str, Any]:
        note(str(crop))
        return _or_refuse(lambda: labelling.header(crop)).model_dump(mode="json")

    @api.get(
        "/snapshots/{digest}", response_class=Response, dependencies=[Depends(require_machine)],
        summary="For trainers: a snapshot by its digest",
    )  # fmt: skip
    def snapshot(digest: Digest) -> Response:
        return Response(_blob(snapshots.content, digest), media_type="application/json", headers=FOREVER)

    return api


def _blob(get: Callable[[str], Result], digest: str) -> Result:
    try:
        return get(digest)
    except KeyError as error:
        raise HTTPException(404, "there is nothing of this name: it never was here, or its time is over") from error
    except OSError as error:
        raise HTTPException(503, "the pictures cannot be read now; try again", {"Retry-After": "20"}) from error


def _or_refuse(act: Callable[[], Result]) -> Result:
    try:
        return act()
    except UnknownCropError as error:
        raise HTTPException(404, str(error)) from error
    except TakenError as error:
        raise HTTPException(409, str(error)) from error
    except ContractError as error:
        raise HTTPException(422, str(error)) from error
