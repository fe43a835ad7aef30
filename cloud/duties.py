"""Who does what where several servers run: each duty has one holder at a time, and another takes over when it falls silent.

No clock is compared with another's. A holder moves a number; whoever has watched that number stand still for LEASE_S, on
its own steady clock, takes the duty. A transaction that writes asks first whether the duty is still its own, so that a
holder which woke up late changes nothing.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol
from uuid import uuid4

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.store import duties as store
from cloud.store.database import reason
from cloud.store.duties import DutyRow
from contract.errors import TryAgainError

log = logging.getLogger("cloud.duties")

BEAT_S, LEASE_S = 3.0, 12.0
TAKEN_WITHIN_S = LEASE_S + 2 * BEAT_S  # since the last sign of life; the database's own time comes on top


class Duty(StrEnum):
    """What is done once for the whole service."""

    ROLLOUTS = "rollouts"  # who is asked for which release, and when to stop
    RELEASES = "releases"  # signatures kept fresh; only where the releases and their online keys lie
    ALERTS = "alerts"
    MESSAGES = "messages"  # about alerts
    UPKEEP = "upkeep"  # terms, erasures, leftovers
    TRAINING = "training"  # whether one is due


class LostDutyError(TryAgainError):
    """The duty is another server's now; nothing was written."""


class Post(Protocol):
    """A duty as the one sees it who does it."""

    def held(self) -> bool:
        """Whether it is ours, as far as we know."""
        ...

    def require(self, connection: Connection) -> None:
        """First in each transaction that writes: nobody takes the duty before it ends. Raises LostDutyError."""
        ...


class Alone:
    """The post of whoever has no other beside it: a command, or a test."""

    def held(self) -> bool:
        return True

    def require(self, connection: Connection) -> None:
        """It is always ours."""


ALONE = Alone()


class Place:
    """One process's place in the line for one duty."""

    def __init__(self, duty: Duty, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is steady, in s."""
        self.duty = duty
        self._holder, self._clock = holder, clock
        self._mine: tuple[int, float] | None = None  # term, and until when we may believe in it
        self._seen: tuple[int, int] | None = None  # another's term and beats
        self._seen_at = 0.0

    def held(self) -> bool:
        """Whether it is ours and we have said so lately."""
        mine = self._mine
        return mine is not None and self._clock() < mine[1]

    def require(self, connection: Connection) -> None:
        """As `Post` says."""
        mine = self._mine
        if mine is None or not store.hold(connection, self.duty, self._holder, mine[0]):
            raise LostDutyError(f"the duty '{self.duty}' is another server's now")

    def attend(self, connection: Connection, row: DutyRow | None, now: datetime) -> int | None:
        """Keep it or try to take it; returns the term, None where it is not ours. `settle` follows once that is committed."""
        if self._mine is not None:
            term = self._mine[0]
            return term if store.beat(connection, self.duty, self._holder, term, now) else None
        if row is None or not row.holder or self._silent(row):
            return store.take(connection, self.duty, self._holder, row, now)
        return None

    def settle(self, term: int | None, asked_at: float) -> None:
        """What `attend` found, `asked_at` on the steady clock, holds from then on."""
        had = self._mine is not None
        self._mine = None if term is None else (term, asked_at + LEASE_S)
        if had != (term is not None):
            log.info("the duty '%s' is %s", self.duty, "ours" if term is not None else "another's now")

    def give_up(self, connection: Connection) -> None:
        """Let the next one have it at once."""
        if self._mine is not None:
            store.give_up(connection, self.duty, self._holder, self._mine[0])

    def _silent(self, row: DutyRow) -> bool:
        mark, tick = (row.term, row.beats), self._clock()
        if mark != self._seen:
            self._seen, self._seen_at = mark, tick
        return tick - self._seen_at >= LEASE_S


class Roster:
    """Keeps this process's places, in a thread of its own, so that a long turn of a duty does not lose it."""

    def __init__(self, engine: Engine, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._holder, self._clock = engine, holder, clock
        self._places: list[Place] = []
        self._stop = threading.Event()
        self._told = ""

    def place(self, duty: Duty) -> Place:
        """From now on this process stands in line for `duty`."""
        place = Place(duty, self._holder, self._clock)
        self._places = sorted([*self._places, place], key=lambda one: one.duty)  # one order for all: no ring of locks
        return place

    def run(self) -> None:
        """At once and then again and again until `stop`; a database that does not answer is asked again."""
        while True:
            try:
                self.turn(datetime.now(UTC))
            except SQLAlchemyError as error:
                if self._told != (told := reason(error)):
                    log.warning("duties cannot be kept while the database is away (%s); trying again", told)
                    self._told = told
            else:
                self._told = ""
            if self._stop.wait(BEAT_S):
                return

    def stop(self) -> None:
        """Ask `run` to return. Safe in any thread."""
        self._stop.set()

    def turn(self, now: datetime) -> None:
        """Keep what is ours, take what is free. Raises SQLAlchemyError; then we believe in what we had for its rest."""
        asked_at = self._clock()
        with self._engine.begin() as connection:
            rows = {row.duty: row for row in store.read(connection)}
            terms = [one.attend(connection, rows.get(one.duty), now) for one in self._places]
        for one, term in zip(self._places, terms, strict=True):
            one.settle(term, asked_at)

    def give_up(self) -> None:
        """After all that had a duty have ended: the next server takes it at once, not after LEASE_S."""
        try:
            with self._engine.begin() as connection:
                for one in self._places:
                    one.give_up(connection)
        except SQLAlchemyError as error:
            log.warning("duties could not be given up (%s): others take them in %.0f s", reason(error), TAKEN_WITHIN_S)


def holder_name() -> str:
    """Another for each process, and one that people know."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid4().hex[:6]}"
