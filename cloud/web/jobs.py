"""Jobs over HTTP: people look and ask for one; machines with a token claim, tell and end them."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool

from cloud.learning.jobs import BusyError, JobRow, Jobs, LeaseLostError, Retraining, UnknownJobError
from cloud.web.asking import note
from contract.errors import ContractError
from contract.jobs import JOB_LIMIT, Claim, Job, JobKind, JobState, Outcome, Point, Progress

Message = TypeVar("Message", Claim, Progress, Outcome)
Result = TypeVar("Result")


class Wish(BaseModel):
    """What a person may ask for."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal[JobKind.RETRAIN, JobKind.REPUBLISH] = JobKind.RETRAIN
    again: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        default=None, description="For `republish`: which release."
    )

    @model_validator(mode="after")
    def _fits(self) -> "Wish":
        if (self.kind is JobKind.REPUBLISH) != (self.again is not None):
            raise ValueError("'again' goes with kind 'republish', and only with it")
        return self


class JobAnswer(BaseModel):
    """A job as it stands."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    kind: JobKind
    state: JobState
    reason: str
    snapshot: str | None
    release: int
    champion: int
    again: int | None
    attempt: int
    worker: str | None
    stage: str
    done: float = Field(description="Of this stage, 0 to 1.")
    curve: tuple[Point, ...]
    outcome: dict[str, Any] | None = Field(description="How it ended; without the lease.")
    made_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, row: JobRow) -> "JobAnswer":
        told = None if row.outcome is None else row.outcome.model_dump(mode="json", exclude={"lease"})
        values = {name: getattr(row, name) for name in cls.model_fields if name != "outcome"}
        return cls(outcome=told, **values)


def new_job_api(
    table: Jobs, retraining: Retraining, require_machine: Callable[..., Any], clock: Callable[[], datetime]
) -> APIRouter:
    """Every route under /api/v1/jobs."""
    api = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
    machine = [Depends(require_machine)]

    @api.get("", summary="The newest jobs, how far they are and how they ended")
    def listing() -> list[JobAnswer]:
        return [JobAnswer.of(row) for row in table.latest()]

    @api.post(
        "", status_code=201,
        summary="Ask for a training now, or for an earlier release again; from this site's own pages, or with a token",
    )  # fmt: skip
    def ask(wish: Wish) -> dict[str, UUID]:
        def act() -> UUID:
            if wish.kind is JobKind.RETRAIN:
                return retraining.train("asked for by hand", clock())
            reason = f"release {wish.again} again, asked for by hand"
            return table.add(JobKind.REPUBLISH, reason, clock(), again=wish.again)

        note(wish.kind.value, again=wish.again)
        return {"id": _or_refuse(act)}

    @api.post(
        "/claim", response_model=Job, dependencies=machine,
        responses={204: {"description": "Nothing to do."}, 422: {"description": "That is no claim."}},
        summary="For a trainer: the job that waits, if there is one",
    )  # fmt: skip
    async def claim(request: Request) -> Response:
        asked = _decode(Claim, await _body(request))
        job = await run_in_threadpool(_or_refuse, lambda: table.claim(asked.worker, clock()))
        return Response(status_code=204) if job is None else Response(job.encode(), media_type="application/json")

    @api.post("/{job}/progress", status_code=204, dependencies=machine, summary="For a trainer: a sign of life")
    async def progress(job: UUID, request: Request) -> None:
        word = _decode(Progress, await _body(request))
        await run_in_threadpool(_or_refuse, lambda: table.progress(job, word, clock()))

    @api.post("/{job}/outcome", status_code=204, dependencies=machine, summary="For a trainer: how it ended, once")
    async def outcome(job: UUID, request: Request) -> None:
        word = _decode(Outcome, await _body(request))
        note(str(job), state=word.state.value)
        await run_in_threadpool(_or_refuse, lambda: table.end(job, word, clock()))

    return api


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > JOB_LIMIT:
            raise HTTPException(413, f"at most {JOB_LIMIT} bytes are allowed here")
    return bytes(content)


def _decode(kind: type[Message], content: bytes) -> Message:
    return _or_refuse(lambda: kind.decode(content, limit=JOB_LIMIT))


def _or_refuse(act: Callable[[], Result]) -> Result:
    try:
        return act()
    except UnknownJobError as error:
        raise HTTPException(404, str(error)) from error
    except (LeaseLostError, BusyError) as error:
        raise HTTPException(409, str(error)) from error
    except ContractError as error:
        raise HTTPException(422, str(error)) from error
    except OSError as error:
        raise HTTPException(503, "the snapshot cannot be kept now; try again", {"Retry-After": "20"}) from error
