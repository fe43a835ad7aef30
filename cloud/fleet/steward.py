"""Turns the rules of the rollout once a second, keeps the repository's metadata fresh, and answers the page's buttons."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.duties import ALONE, LostDutyError, Post
from cloud.fleet.releases import Repository
from cloud.fleet.rollout import Rules, State, decide
from cloud.store import fleet, writing
from cloud.store.database import reason
from contract.errors import ContractError, TryAgainError
from contract.fleet import Desired

log = logging.getLogger("cloud.steward")
EVERY_S = 1.0


class Steward:
    """In each server; two duties say which one decides, and which one of those that have the releases signs."""

    def __init__(
        self, engine: Engine, repository: Repository | None, rules: Rules, *, present_s: float, rollouts: Post = ALONE,
        releases: Post = ALONE,
    ) -> None:  # fmt: skip
        self._engine, self._repository, self._rules, self._present_s = engine, repository, rules, present_s
        self._rollouts, self._releases = rollouts, releases
        self._stop = threading.Event()
        self._told = ""

    def run(self) -> None:
        """Turn until `stop`; what goes wrong is said once and tried again."""
        while not self._stop.wait(EVERY_S):
            try:
                self.turn(datetime.now(UTC))
            except SQLAlchemyError as error:
                self._tell(f"the database is away ({reason(error)})")
            except LostDutyError as error:
                log.info("%s", error)
            except (ContractError, OSError) as error:
                self._tell(str(error))
            else:
                self._told = ""

    def stop(self) -> None:
        """Ask `run` to return. Safe in any thread."""
        self._stop.set()

    def turn(self, now: datetime) -> None:
        """One step. Raises SQLAlchemyError, LostDutyError, ContractError (repository) or OSError; nothing is half done then.

        Who signs needs no more than the duty: a doubled turn waits for the folder's lock, and then finds nothing to do.
        """
        if self._rollouts.held():
            self._decide(now)
        if self._repository and self._releases.held():
            self._repository.refresh(now)
            record_releases(self._engine, self._repository, now)

    def _decide(self, now: datetime) -> None:
        with self._engine.begin() as connection:
            self._rollouts.require(connection)
            rollout = fleet.read_rollout(connection)
            if rollout is None:
                return
            decision = decide(now, rollout, fleet.read_doors(connection, now, self._present_s), self._rules)
            if not decision.ask and decision.rollout == rollout:
                return
            if not fleet.write_rollout(connection, decision.rollout, rollout):
                return  # somebody paused it, or a release came: the next turn sees it
            fleet.write_desired(connection, decision.ask, rollout.release, rollout.group, now)
            if decision.rollout != rollout:
                after = decision.rollout
                log.info("release %d: %s, %s. %s", after.release, after.state, after.group, after.reason)
            writing.mark_change(connection)

    def _tell(self, what: str) -> None:
        if what != self._told:
            log.warning("%s; trying again", what)
            self._told = what


class TableOfWishes:
    """The consumer's view of what doors should run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def waiting(self) -> Sequence[Desired]:
        """Not yet confirmed by the broker. Raises TryAgainError."""
        try:
            with self._engine.connect() as connection:
                return fleet.read_waiting(connection)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error

    def published(self, device: str, number: int, now: datetime) -> None:
        """Confirmed. Raises TryAgainError."""
        try:
            with self._engine.begin() as connection:
                fleet.mark_published(connection, device, number, now)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error


def record_releases(engine: Engine, repository: Repository, now: datetime) -> None:
    """Rows for what is in the repository: after a publish, and after a crash between files and rows."""
    with engine.begin() as connection:
        known = {row["number"] for row in fleet.read_releases(connection)}
        for number in repository.numbers():
            if number not in known and fleet.write_release(connection, repository.manifest(number), now):
                writing.mark_change(connection)


def change_by_hand(engine: Engine, verb: str, republish: Callable[[Connection, int], object]) -> State:
    """`pause`, `resume` or `revert` the newest rollout; `republish` asks for an earlier release's bytes again.

    Raises ContractError where that makes no sense now, TryAgainError where it moved meanwhile, and what `republish` raises;
    nothing is changed then.
    """
    with engine.begin() as connection:
        rollout = fleet.read_rollout(connection)
        if rollout is None:
            raise ContractError("nothing is being rolled out")
        allowed = {
            "pause": ((State.RUNNING,), State.PAUSED),
            "resume": ((State.PAUSED,), State.RUNNING),
            "revert": ((State.RUNNING, State.PAUSED, State.HALTED, State.DONE), State.REVERTED),
        }
        if verb not in allowed or rollout.state not in allowed[verb][0]:
            raise ContractError(f"a rollout that is {rollout.state} cannot be told to {verb[:20]}")
        if verb == "revert":
            good = fleet.last_good(connection, rollout.release)
            if good is None:
                raise ContractError("no earlier release was ever on all doors, so there is none to go back to")
            republish(connection, good)
        after = replace(rollout, state=allowed[verb][1], reason=f"{verb} by hand")
        if not fleet.write_rollout(connection, after, rollout):
            raise TryAgainError("the rollout has moved on meanwhile: look, and try again")
        writing.mark_change(connection)
        return after.state
