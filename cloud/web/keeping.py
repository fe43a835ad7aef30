"""How long what is kept here, and what went: for people and for whoever watches."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from cloud.rules import RetentionRules
from cloud.store import pictures, upkeep


class WentAnswer(BaseModel):
    """What the housekeeper took away of one kind."""

    model_config = ConfigDict(from_attributes=True)
    subject: str
    at: datetime = Field(description="Of the latest turn that found something.")
    removed: int = Field(description="In that turn.")
    total: int


class KeepingAnswer(BaseModel):
    """What is kept, and for how long."""

    pictures: int = Field(description="Crops whose picture is kept.")
    oldest: datetime | None = Field(description="When the oldest of them came.")
    waiting: int = Field(description="Pictures on their way out.")
    unlabelled_days: int
    labelled_days: int
    event_days: int | None = Field(description="Null: passes stay.")
    went: tuple[WentAnswer, ...]


def keeping_view(engine: Engine, rules: RetentionRules) -> KeepingAnswer:
    """As it stands."""
    with engine.connect() as connection:
        number, oldest = pictures.kept(connection)
        return KeepingAnswer(
            pictures=number, oldest=oldest, waiting=pictures.waiting(connection),
            unlabelled_days=rules.unlabelled_days, labelled_days=rules.labelled_days, event_days=rules.event_days,
            went=tuple(WentAnswer.model_validate(one) for one in upkeep.read(connection)),
        )  # fmt: skip


def new_keeping_api(view: Callable[[], KeepingAnswer]) -> APIRouter:
    """The route /api/v1/retention."""
    api = APIRouter(prefix="/api/v1", tags=["service"])

    @api.get("/retention", summary="How long what is kept, and what went")
    def retention() -> KeepingAnswer:
        return view()

    return api
