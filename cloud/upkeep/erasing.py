"""Erasure on demand: written down first, then done in small steps, so that nothing cut off is forgotten and nothing comes back."""

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, Engine, select

from cloud.store import erasures, pictures
from cloud.store.blobs import Blobs, sync_folder
from cloud.store.erasures import Erasure, Share
from cloud.store.schema import crops, devices, jobs, snapshots
from cloud.store.writing import mark_change
from contract.dataset import SNAPSHOT_LIMIT, Snapshot
from contract.errors import ContractError
from contract.identity import DeviceId
from contract.jobs import JobState
from contract.wire import Instant

log = logging.getLogger("cloud.erasure")
CROPS, EVENTS = 500, 5_000  # in one transaction


class Line(BaseModel):
    """One erasure in the journal beside the database."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: UUID
    device: DeviceId | None
    crop: UUID | None
    start: Instant | None
    end: Instant
    events: bool
    asked_at: Instant


@dataclass(frozen=True, slots=True)
class Taught:
    """A snapshot that names erased crops, and the releases that were trained on it."""

    snapshot: str
    crops: int
    releases: tuple[int, ...]


def require_known(engine: Engine, erasure: Erasure) -> None:
    """Raises ContractError where there is no such door, or no such crop, and never was one that we know of."""
    with engine.connect() as connection:
        if erasure.device is not None:
            names = list(connection.execute(select(devices.c.name).order_by(devices.c.name)).scalars())
            if erasure.device not in names:
                known = ", ".join(names[:20]) or "none yet"
                raise ContractError(f"no door {erasure.device[:40]!r} ever spoke to us; known are: {known}")
        if erasure.crop is not None:
            there = connection.execute(select(crops.c.id).where(crops.c.id == erasure.crop)).first()
            if there is None and not erasures.buried(connection, [erasure.crop]):
                raise ContractError(f"there is no crop {erasure.crop}")


def preview(engine: Engine, erasure: Erasure) -> Share:
    """What would go; changes nothing."""
    with engine.connect() as connection:
        return erasures.share(connection, erasure)


def taught_with(engine: Engine, listings: Blobs, erasure: Erasure) -> tuple[Taught, ...]:
    """The snapshots that name crops of this erasure, with what was trained on them; to be asked before it is done.

    Raises OSError where a snapshot's listing cannot be read now.
    """
    with engine.connect() as connection:
        wanted = set(connection.execute(select(crops.c.id).where(erasures.crops_of(erasure))).scalars())
        made = list(connection.execute(select(snapshots.c.digest).order_by(snapshots.c.made_at)).scalars())
        published = jobs.c.state == JobState.PUBLISHED
        trained = connection.execute(select(jobs.c.snapshot, jobs.c.release).where(published)).all()
    found = []
    for digest in made if wanted else ():
        try:
            listed = Snapshot.decode(listings.get(digest), limit=SNAPSHOT_LIMIT)
        except KeyError:
            continue
        number = sum(one.crop in wanted for one in listed.examples)
        if number:
            found.append(
                Taught(digest, number, tuple(sorted(row.release for row in trained if row.snapshot == digest)))
            )
    return tuple(found)


def erase(engine: Engine, blobs: Blobs, journal: Path, erasure: Erasure, now: datetime) -> None:
    """Do it. Raises OSError where a picture cannot be deleted now: the housekeeper goes on with that.

    It is in the journal and in the table before anything goes; from then on the consumer keeps out what it covers.
    """
    write_journal(journal, [erasure])
    with engine.begin() as connection:
        erasures.adopt(connection, [erasure])
    go_on(engine, now)
    while pictures.sweep(engine, blobs, now).more:
        pass


def go_on(engine: Engine, now: datetime) -> None:
    """Do what is written down and not done, whoever began it; beside another who does the same, each step is done once."""
    with engine.connect() as connection:
        open_ones = erasures.read(connection, unfinished=True)
    for one in open_ones:
        try:
            gone, passes = _go_on(engine, one, now)
        except _FinishedError:
            continue
        record(one, gone, passes)


class _FinishedError(Exception):
    """Another was quicker."""


def _go_on(engine: Engine, one: Erasure, now: datetime) -> tuple[int, int]:
    """Returns how many crops and passes went by our hand."""
    gone = passes = 0
    while True:
        with _alone(engine, one) as connection:
            number = len(erasures.erase_crops(connection, one, now, CROPS))
        gone += number
        if number < CROPS:
            break
    while one.events and one.crop is None:
        with _alone(engine, one) as connection:
            number = erasures.erase_events(connection, one, now, EVENTS)
        passes += number
        if number < EVENTS:
            break
    with _alone(engine, one) as connection:
        erasures.erase_rest(connection, one)
    with _alone(engine, one) as connection:  # of its own: whoever writes holds the table of erasures before its rows
        erasures.finish(connection, one.id, now)
        mark_change(connection)
    return gone, passes


@contextmanager
def _alone(engine: Engine, one: Erasure) -> Iterator[Connection]:
    """A transaction beside which nobody takes a step of this erasure: two would take the same passes out of the counts twice."""
    with engine.begin() as connection:
        if not erasures.claim(connection, one.id):
            raise _FinishedError
        yield connection


def record(erasure: Erasure, gone: int, passes: int) -> None:
    """The one place where an erasure is told to whoever keeps the audit trail: a line of the log."""
    what = f"crop {erasure.crop}" if erasure.crop else erasure.device or "every door"
    log.warning("audit: erasure %s of %s is done: %d crops, %d passes", erasure.id, what, gone, passes)


def read_journal(journal: Path) -> tuple[Erasure, ...]:
    """What the journal holds; nothing where there is none. Raises ContractError for a line that is none of ours."""
    try:
        lines = journal.read_text().splitlines()
    except FileNotFoundError:
        return ()
    if lines and not lines[-1].endswith("}"):
        lines.pop()  # cut off while it was written, so never acted upon
    try:
        return tuple(Erasure(**dict(Line.model_validate_json(line))) for line in lines if line)
    except ValidationError as error:
        raise ContractError(
            f"{journal} is no journal of erasures: put it aside, and the last good copy in its place"
        ) from error


def write_journal(journal: Path, some: Iterable[Erasure]) -> None:
    """Add what is not there yet, durably: the file is the old one or the new one, never half. Raises OSError."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with _locked(journal.parent):
        known = {one.id: one for one in read_journal(journal)}
        every = known | {one.id: one for one in some}
        if every.keys() == known.keys():
            return
        draft = journal.with_name(f".{journal.name}.part")
        with draft.open("w") as file:
            file.writelines(f"{json.dumps(_line(one))}\n" for one in every.values())
            file.flush()
            os.fsync(file.fileno())
        draft.rename(journal)
        sync_folder(journal.parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two commands at once: each must see what the other wrote."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _line(erasure: Erasure) -> dict[str, object]:
    values = {name: getattr(erasure, name) for name in Line.model_fields}
    return Line.model_validate(values).model_dump(mode="json")
