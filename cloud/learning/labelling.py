"""Crops to labellers under leases, answers back as events; what nobody may do twice the database itself keeps out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Engine, Select, delete, exists, func, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from cloud.learning.curation import Candidate, order
from cloud.learning.retraining import Labels
from cloud.store.pictures import known_digests
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
            kept = crops.c.gone_at.is_(None)
            mine = select(crops.c.header).join(leases, held).where(leases.c.labeller == labeller, ~_has_label(), kept)
            headers = list(connection.execute(mine.order_by(leases.c.until, crops.c.id).limit(count)).scalars())
            if len(headers) < count:
                free = select(crops.c.header).where(~exists().where(held), ~_has_label(), kept)
                found = connection.execute(free.order_by(crops.c.received_at.desc(), crops.c.id).limit(LOOKED_AT))
                by_id = {UUID(one["id"]): one for one in found.scalars()}
                wanted = order([_candidate(one) for one in by_id.values()], count - len(headers), self._random())
                headers += [
                    by_id[crop] for crop in self._lease(connection, [one.crop for one in wanted], labeller, now)
                ]
        return [CropHeader.from_parsed(one) for one in headers]

    def give(self, given: Given, now: datetime) -> bool:
        """Keep an answer; False where this very event was kept before.

        Raises UnknownCropError; TakenError where another holds the crop or has labelled it: nothing is kept then.
        """
        with self._engine.begin() as connection:
            kept = _hold_crop(connection, given.crop)
            known = connection.execute(select(labels.c.crop, labels.c.answer).where(labels.c.id == given.id)).first()
            if known is not None:
                if known.crop != given.crop or known.answer is None:
                    raise ContractError(f"the id {given.id} is that of another event")
                return False
            if not kept:
                raise UnknownCropError(f"the picture of crop {given.crop} is no longer kept")
            holder = connection.execute(
                select(leases.c.labeller).where(leases.c.crop == given.crop, leases.c.until > now)
            ).scalar()
            if holder not in (None, given.labeller):
                raise TakenError("another labeller has this crop now")
            if connection.execute(_current().where(labels.c.crop == given.crop)).first() is not None:
                raise TakenError("this crop has a label already")
            if not self._lease(connection, [given.crop], given.labeller, now) and holder is None:
                raise TakenError("another labeller has this crop now")
            _keep(
                connection, id=given.id, crop=given.crop, labeller=given.labeller, answer=given.answer.value,
                box=list(given.box) if given.box else None, at=now, took_ms=given.took_ms,
            )  # fmt: skip
            connection.execute(delete(leases).where(leases.c.crop == given.crop))
            mark_change(connection)
        return True

    def undo(self, event: UUID, labeller: str, now: datetime) -> CropHeader:
        """Take this labeller's newest standing answer back, by an event of its own; the crop is its again.

        The same event again changes nothing. Raises UnknownCropError where there is none.
        """
        with self._engine.begin() as connection:
            crop = _undone(connection, event, labeller)
            while crop is None:
                mine = _current().where(labels.c.labeller == labeller, _is_kept())
                newest = connection.execute(mine.order_by(labels.c.at.desc(), labels.c.id.desc()).limit(1)).first()
                if newest is None:
                    raise UnknownCropError("there is no answer of yours to take back")
                _hold_crop(connection, newest.crop)
                crop = _undone(connection, event, labeller)  # while we waited for the crop
                if crop is None and connection.execute(mine.where(labels.c.id == newest.id)).first():
                    crop = newest.crop
                    _keep(connection, id=event, crop=crop, labeller=labeller, undoes=newest.id, at=now, took_ms=0)
                    self._lease(connection, [crop], labeller, now)
                    mark_change(connection)
            header = connection.execute(select(crops.c.header).where(crops.c.id == crop)).scalar_one()
        return CropHeader.from_parsed(header)

    def header(self, crop: UUID) -> CropHeader:
        """What the door said of a crop. Raises UnknownCropError."""
        with self._engine.connect() as connection:
            header = connection.execute(select(crops.c.header).where(crops.c.id == crop)).scalar()
        if header is None:
            raise UnknownCropError(f"there is no crop {crop}")
        return CropHeader.from_parsed(header)

    def keeps(self, digest: str) -> bool:
        """Whether a crop's row says that the picture of this name is kept."""
        with self._engine.connect() as connection:
            return bool(known_digests(connection, [digest]))

    def progress(self, now: datetime) -> Progress:
        """Counts of crops with a standing answer, and of those without one that have a picture to look at."""
        with self._engine.connect() as connection:
            here = crops.c.gone_at.is_(None)
            waiting = connection.execute(
                select(func.count()).select_from(crops).where(here, ~_has_label())
            ).scalar_one()
            standing = _current().subquery()
            tally = {row[0]: row[1] for row in connection.execute(_tally(standing.c.answer))}
            people = {row[0]: row[1] for row in connection.execute(_tally(standing.c.labeller))}
            lately = select(func.count()).select_from(standing).where(standing.c.at > now - timedelta(hours=1))
            last_hour = connection.execute(lately).scalar_one()
        done = sum(tally.values())
        return Progress(waiting, done, {answer: tally.get(answer.value, 0) for answer in Answer}, people, last_hour)

    def since(self, at: datetime | None) -> Labels:
        """What the trigger must know: standing answers that teach, and those of them given after `at`."""
        teaching = _current().where(labels.c.answer != Answer.CANNOT_TELL, _is_kept()).subquery()
        new = teaching.c.at > at if at is not None else true()
        rare = teaching.c.answer == Answer.MASK_WORN_INCORRECTLY
        with self._engine.connect() as connection:
            total = connection.execute(select(func.count()).select_from(teaching)).scalar_one()
            fresh = connection.execute(select(func.count(), func.min(teaching.c.at)).where(new)).one()
            scarce = connection.execute(select(func.count()).select_from(teaching).where(new, rare)).scalar_one()
        return Labels(total, fresh[0], scarce, fresh[1])

    def _lease(self, connection: Connection, wanted: Iterable[UUID], labeller: str, now: datetime) -> list[UUID]:
        """Lease these crops; returns those that nobody else was quicker to take."""
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(leases)
        mine = insert.on_conflict_do_update(
            index_elements=[leases.c.crop], set_={"labeller": labeller, "until": now + LEASE},
            where=(leases.c.labeller == labeller) | (leases.c.until <= now),
        ).returning(leases.c.crop)  # fmt: skip
        asked = list(wanted)
        rows = [{"crop": crop, "labeller": labeller, "until": now + LEASE} for crop in sorted(asked)]  # never in a ring
        won = set(connection.execute(mine, rows).scalars()) if rows else set()
        return [crop for crop in asked if crop in won]


def standing(connection: Connection) -> list[dict[str, Any]]:
    """Every standing answer whose picture is kept, with its crop's header, in the order of the crops' ids."""
    query = _current().where(_is_kept()).add_columns(crops.c.header).join(crops, crops.c.id == labels.c.crop)
    query = query.order_by(labels.c.crop)
    return [dict(row) for row in connection.execute(query).mappings()]


def _hold_crop(connection: Connection, crop: UUID) -> bool:
    """Whether its picture is kept; nobody else labels it until the transaction ends. Raises UnknownCropError."""
    held = update(crops).where(crops.c.id == crop).values(gone_at=crops.c.gone_at).returning(crops.c.gone_at)
    row = connection.execute(held).first()
    if row is None:
        raise UnknownCropError(f"there is no crop {crop}")
    return row.gone_at is None


def _undone(connection: Connection, event: UUID, labeller: str) -> UUID | None:
    """The crop whose answer this event took back, where it was kept before."""
    known = connection.execute(select(labels).where(labels.c.id == event)).first()
    if known is not None and (known.undoes is None or known.labeller != labeller):
        raise ContractError(f"the id {event} is that of another event")
    return None if known is None else UUID(str(known.crop))


def _keep(connection: Connection, **values: Any) -> None:
    try:
        connection.execute(labels.insert().values(prediction_seen=False, guideline=GUIDELINE, **values))
    except IntegrityError as error:  # two crops at the same moment
        raise ContractError(f"the id {values['id']} is that of another event") from error


def _current() -> Select[Any]:
    """Answers that nobody took back."""
    undo = aliased(labels)
    return select(labels).where(labels.c.answer.is_not(None), ~exists().where(undo.c.undoes == labels.c.id))


def _is_kept() -> Any:
    """Whether the picture of a label's crop is there to teach."""
    here = crops.alias()
    return exists().where(here.c.id == labels.c.crop, here.c.gone_at.is_(None))


def _tally(column: ColumnElement[Any]) -> Select[Any]:
    return select(column, func.count()).group_by(column).order_by(func.count().desc(), column)


def _has_label() -> Any:
    return _current().where(labels.c.crop == crops.c.id).correlate(crops).exists()


def _candidate(header: dict[str, Any]) -> Candidate:
    known = CropHeader.from_parsed(header)
    return Candidate(
        known.id, known.device, known.at.date().isoformat(), known.role, known.jpeg_digest, known.scores, known.weight
    )
