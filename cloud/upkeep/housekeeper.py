"""Takes away what has had its time, goes on with erasures that were cut off, and sweeps up after crashes; in a thread of its own."""

import logging
import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.duties import ALONE, LostDutyError, Post
from cloud.rules import RetentionRules
from cloud.store import pictures, upkeep
from cloud.store.blobs import Blobs
from cloud.store.database import reason
from cloud.store.writing import mark_change
from cloud.upkeep.erasing import go_on
from cloud.upkeep.terms import due

log = logging.getLogger("cloud.housekeeper")
LOOK_S = 1.0  # between two looks whether the duty is ours, at first
ORPHAN_AGE = timedelta(days=1)
ORPHAN_PAUSE = timedelta(hours=1)  # between finding one and deleting it: its row may be on the way
ORPHANS_EVERY = timedelta(days=1)  # a listing of everything is dear


class Housekeeper:
    """In each server; the duty says which one keeps house.

    A second one beside it does no harm: a row goes once, an erasure is claimed step by step (two commands may run too), and
    a picture's entry is held until its bytes are gone.
    """

    def __init__(self, engine: Engine, blobs: Blobs, rules: RetentionRules, *, duty: Post = ALONE) -> None:
        self._engine, self._blobs, self._rules, self._duty = engine, blobs, rules, duty
        self._stop = threading.Event()
        self._listed_at: datetime | None = None
        self._told = ""

    def run(self) -> None:
        """Turn as soon as the duty is ours and then again and again, until `stop`; what goes wrong is said once."""
        while not self._duty.held():
            if self._stop.wait(LOOK_S):
                return
        while True:
            try:
                if self._duty.held():
                    self.turn(datetime.now(UTC))
            except LostDutyError as error:
                log.info("%s", error)
            except SQLAlchemyError as error:
                self._tell(f"the database does not do it ({reason(error)})")
            except OSError as error:
                self._tell(f"pictures cannot be deleted: {error}")
            else:
                self._told = ""
            if self._stop.wait(self._rules.check_every_s):
                return

    def stop(self) -> None:
        """Ask `run` to return. Safe in any thread."""
        self._stop.set()

    def turn(self, now: datetime) -> dict[str, int]:
        """One round; returns what went, by kind. Raises SQLAlchemyError, LostDutyError or OSError; the next goes on from there."""
        go_on(self._engine, now)
        gone: dict[str, int] = {}
        for subject, step in self._steps(now):
            number = upkeep.repeat(self._engine, step, lambda: not self._stop.is_set(), self._duty.require)
            self._count(gone, subject, number, now)
        if self._listed_at is None or now - self._listed_at >= ORPHANS_EVERY:
            found = pictures.doom_orphans(
                self._engine, self._blobs, older_than=now - ORPHAN_AGE, due_at=now + ORPHAN_PAUSE,
                wanted=lambda: not self._stop.is_set(),
            )  # fmt: skip
            self._count(gone, "pictures without a row", found, now)
            self._listed_at = now
        more = True
        while more:
            number, more = pictures.sweep(self._engine, self._blobs, now)
            self._count(gone, "pictures deleted", number, now)
            more = more and not self._stop.is_set()
        return gone

    def _steps(self, now: datetime) -> list[tuple[str, upkeep.Step]]:
        terms = due(self._rules, now)
        steps = [
            ("unlabelled crops", upkeep.pictures_gone(terms.unlabelled, now, labelled=False)),
            ("labelled crops", upkeep.pictures_gone(terms.labelled, now, labelled=True)),
            ("rows of unlabelled crops", upkeep.rows_of_unlabelled(terms.rows)),
            ("quarantined bytes", upkeep.heads_of(terms.quarantine)),
            ("quarantine", upkeep.misfits_of(terms.quarantine)),
            ("consumers", upkeep.consumers_of(terms.consumers)),
            ("leases", upkeep.leases_of(now)),
        ]
        return [*steps, ("passes", upkeep.passes_of(terms.events))] if terms.events else steps

    def _count(self, gone: dict[str, int], subject: str, number: int, now: datetime) -> None:
        if not number:
            return
        gone[subject] = gone.get(subject, 0) + number
        log.info("%s: %d", subject, number)
        with self._engine.begin() as connection:
            upkeep.note(connection, subject, number, now)
            mark_change(connection)

    def _tell(self, what: str) -> None:
        if what != self._told:
            log.warning("%s; trying again", what)
            self._told = what
