"""Crops to labellers under leases, answers back as events; what nobody may do twice the database itself keeps out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Engine, Select, delete, exists, func, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from cloud.learning.curation import Candidate, order
from cloud.learning.retraining import Labels
from cloud.store.schema import crops, labels, leases
from cloud.store.writing import mark_change
from contract.crops import CropHeader
from contract.dataset import Answer
from contract.errors import ContractError

GUIDELINE = 1  # version of the definition card
LEASE = timedelta(minutes=10)
LOOKED_AT = 2_000  # crops without a label that one request chooses from
Box = tuple[float, float, float, float]


class UnknownCropError(ContractError):
    """There is no such crop, or no such label."""


class TakenError(ContractError):
    """Another labeller holds the crop, or has labelled it."""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer, as the labeller's page sends it; `id` makes a repeat harmless."""

    id: UUID
    crop: UUID
    labeller: str
    answer: Answer
    took_ms: int = 0
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the labellers are, in crops."""

    waiting: int
    labelled: int
    by_answer: dict[Answer, int]
    by_labeller: dict[str, int]
    last_hour: int


class Labelling:
    """The labellers' desk."""

    def __init__(self, engine: Engine, *, random: Callable[[], Random] = Random) -> None:
        self._engine, self._random = engine, random

    def take(self, labeller: str, count: int, now: datetime) -> list[CropHeader]:
        """Up to `count` crops for this labeller alone, those first that it holds already; held for ten minutes."""
        with self._engine.begin() as connection:
            connection.execute(delete(leases).where(leases.c.until <= now))
            held = leases.c.crop == crops.c.id
            mine = select(crops.c.header).join(leases, held).where(leases.c.labeller == labeller, ~_has_label())
            headers = list(connection.execute(mine.order_by(leases.c.until, crops.c.id).limit(count)).scalars())
            if len(headers) < count:
                free = select(crops.c.header).where(~exists().where(held), ~_has_label())
                found = connection.execute(free.order_by(crops.c.received_at.desc(), crops.c.id).limit(LOOKED_AT))
                by_id = {UUID(one["id"]): one for one in found.scalars()}
                wanted = order([_candidate(one) for one in by_id.values()], count - len(headers), self._random())
                headers += [by_id[crop] for crop in self._hold(connection, [one.crop for one in wanted], labeller, now)]
        return [CropHeader.from_parsed(one) for one in headers]

    def give(self, given: Given, now: datetime) -> bool:
        """Keep an answer; False where this very event was kept before.

        Raises UnknownCropError; TakenError where another holds the crop or has labelled it: nothing is kept then.
        """
        with self._engine.begin() as connection:
            if connection.execute(select(crops.c.id).where(crops.c.id == given.crop)).first() is None:
                raise UnknownCropError(f"there is no crop {given.crop}")
            known = connection.execute(select(labels.c.crop).where(labels.c.id == given.id)).scalar()
            if known is not None:
                if known != given.crop:
                    raise ContractError(f"the label {given.id} was given to another crop")
                return False
            holder = connection.execute(
                select(leases.c.labeller).where(leases.c.crop == given.crop, leases.c.until > now)
            ).scalar()
            if holder not in (None, given.labeller):
                raise TakenError("another labeller has this crop now")
            if connection.execute(_current().where(labels.c.crop == given.crop)).first() is not None:
                raise TakenError("this crop has a label already")
            if not self._hold(connection, [given.crop], given.labeller, now) and holder is None:
                raise TakenError("another labeller has this crop now")
            connection.execute(
                labels.insert().values(
                    id=given.id, crop=given.crop, labeller=given.labeller, answer=given.answer.value,
                    box=list(given.box) if given.box else None, at=now, took_ms=given.took_ms,
                    prediction_seen=False, guideline=GUIDELINE,
                )
            )  # fmt: skip
            connection.execute(delete(leases).where(leases.c.crop == given.crop))
            mark_change(connection)
        return True

    def undo(self, event: UUID, labeller: str, now: datetime) -> CropHeader:
        """Take this labeller's newest standing answer back, by an event of its own; the crop is its again.

        Raises UnknownCropError where there is none.
        """
        with self._engine.begin() as connection:
            newest = _current().where(labels.c.labeller == labeller).order_by(labels.c.at.desc(), labels.c.id.desc())
            row = connection.execute(newest.limit(1)).mappings().first()
            if row is None:
                raise UnknownCropError("there is no answer of yours to take back")
            connection.execute(
                labels.insert().values(
                    id=event, crop=row["crop"], labeller=labeller, undoes=row["id"], at=now, took_ms=0,
                    prediction_seen=False, guideline=GUIDELINE,
                )
            )  # fmt: skip
            self._hold(connection, [row["crop"]], labeller, now)
            mark_change(connection)
            header = connection.execute(select(crops.c.header).where(crops.c.id == row["crop"])).scalar_one()
        return CropHeader.from_parsed(header)

    def header(self, crop: UUID) -> CropHeader:
        """What the door said of a crop. Raises UnknownCropError."""
        with self._engine.connect() as connection:
            header = connection.execute(select(crops.c.header).where(crops.c.id == crop)).scalar()
        if header is None:
            raise UnknownCropError(f"there is no crop {crop}")
        return CropHeader.from_parsed(header)

    def progress(self, now: datetime) -> Progress:
        """Counts of crops with and without a standing answer."""
        with self._engine.connect() as connection:
            whole = connection.execute(select(func.count()).select_from(crops)).scalar_one()
            standing = _current().subquery()
            tally = {row[0]: row[1] for row in connection.execute(_tally(standing.c.answer))}
            people = {row[0]: row[1] for row in connection.execute(_tally(standing.c.labeller))}
            lately = select(func.count()).select_from(standing).where(standing.c.at > now - timedelta(hours=1))
            last_hour = connection.execute(lately).scalar_one()
        done = sum(tally.values())
        return Progress(
            whole - done, done, {answer: tally.get(answer.value, 0) for answer in Answer}, people, last_hour
        )

    def since(self, at: datetime | None) -> Labels:
        """What the trigger must know: standing answers that teach, and those of them given after `at`."""
        teaching = _current().where(labels.c.answer != Answer.CANNOT_TELL).subquery()
        new = teaching.c.at > at if at is not None else true()
        rare = teaching.c.answer == Answer.MASK_WORN_INCORRECTLY
        with self._engine.connect() as connection:
            total = connection.execute(select(func.count()).select_from(teaching)).scalar_one()
            fresh = connection.execute(select(func.count(), func.min(teaching.c.at)).where(new)).one()
            scarce = connection.execute(select(func.count()).select_from(teaching).where(new, rare)).scalar_one()
        return Labels(total, fresh[0], scarce, fresh[1])

    def _hold(self, connection: Connection, wanted: Iterable[UUID], labeller: str, now: datetime) -> list[UUID]:
        """Lease these crops; returns those that nobody else was quicker to take."""
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(leases)
        mine = insert.on_conflict_do_update(
            index_elements=[leases.c.crop], set_={"labeller": labeller, "until": now + LEASE},
            where=(leases.c.labeller == labeller) | (leases.c.until <= now),
        ).returning(leases.c.crop)  # fmt: skip
        asked = list(wanted)
        rows = [{"crop": crop, "labeller": labeller, "until": now + LEASE} for crop in asked]
        won = set(connection.execute(mine, rows).scalars()) if rows else set()
        return [crop for crop in asked if crop in won]


def standing(connection: Connection) -> list[dict[str, Any]]:
    """Every standing answer with its crop's header, in the order of the crops' ids."""
    query = _current().add_columns(crops.c.header).join(crops, crops.c.id == labels.c.crop).order_by(labels.c.crop)
    return [dict(row) for row in connection.execute(query).mappings()]


def _current() -> Select[Any]:
    """Answers that nobody took back."""
    undo = aliased(labels)
    return select(labels).where(labels.c.answer.is_not(None), ~exists().where(undo.c.undoes == labels.c.id))


def _tally(column: ColumnElement[Any]) -> Select[Any]:
    return select(column, func.count()).group_by(column).order_by(func.count().desc(), column)


def _has_label() -> Any:
    return _current().where(labels.c.crop == crops.c.id).correlate(crops).exists()


def _candidate(header: dict[str, Any]) -> Candidate:
    known = CropHeader.from_parsed(header)
    return Candidate(
        known.id, known.device, known.at.date().isoformat(), known.role, known.jpeg_digest, known.scores, known.weight
    )
