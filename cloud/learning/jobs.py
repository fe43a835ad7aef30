"""The table of jobs: one in flight, claimed under a lease by one trainer at a time, ended by one outcome."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Engine, func, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from cloud.duties import ALONE, Post
from cloud.learning.retraining import Labels, Outlook, Past, due, outlook
from cloud.rules import RetrainingRules
from cloud.store.schema import jobs, releases, reported
from cloud.store.writing import mark_change
from contract.errors import ContractError, TryAgainError
from contract.jobs import Job, JobKind, JobState, Outcome, Point, Progress

log = logging.getLogger(__name__)
ENDED = (JobState.PUBLISHED, JobState.REFUSED, JobState.FAILED)
JUDGED = (JobState.PUBLISHED, JobState.REFUSED)


class UnknownJobError(ContractError):
    """There is no such job."""


class LeaseLostError(ContractError):
    """The job was given to another, or is over."""


class BusyError(TryAgainError):
    """A job is in flight already, or there is nothing to learn from yet."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as pages show it; its lease is nobody's business."""

    id: UUID
    kind: JobKind
    state: JobState
    snapshot: str | None
    release: int
    champion: int
    again: int | None
    reason: str
    made_at: datetime
    attempt: int
    worker: str | None
    lease_until: datetime | None
    stage: str
    done: float  # of the stage, 0..1
    curve: tuple[Point, ...]
    outcome: Outcome | None
    ended_at: datetime | None


class Jobs:
    """What may be done to the table; `newest_release` tells the highest number in the repository, 0 for none."""

    def __init__(
        self, engine: Engine, rules: RetrainingRules, newest_release: Callable[[], int] = lambda: 0
    ) -> None:  # fmt: skip
        self._engine, self._rules, self._newest_release = engine, rules, newest_release

    def add(
        self, kind: JobKind, reason: str, now: datetime, *, snapshot: str | None = None, again: int | None = None
    ) -> UUID:
        """A waiting job, its release number above every other. Raises BusyError while one is in flight."""
        self.give_up(now)
        with self._engine.begin() as connection:
            return self.add_within(connection, kind, reason, now, snapshot=snapshot, again=again)

    def add_within(
        self, connection: Connection, kind: JobKind, reason: str, now: datetime, *, snapshot: str | None = None,
        again: int | None = None,
    ) -> UUID:  # fmt: skip
        """As `add`, in a transaction of the caller's, which is spoilt where this raises BusyError."""
        job, numbers = uuid4(), self._numbers(connection)
        row = jobs.insert().values(
            id=job, kind=kind, state=JobState.WAITING, in_flight=True, snapshot=snapshot, again=again,
            release=numbers.highest + 1, champion=numbers.champion, reason=reason[:300], made_at=now, curve=[],
        )  # fmt: skip
        try:
            connection.execute(row)
        except IntegrityError as error:
            raise BusyError("a job is in flight already: wait until it has ended") from error
        mark_change(connection)
        return job

    def claim(self, worker: str, now: datetime) -> Job | None:
        """The job that waits, or whose lease ran out, for `worker` alone; None where there is none."""
        self.give_up(now)
        with self._engine.begin() as connection:
            free = (jobs.c.state == JobState.WAITING) | (
                (jobs.c.state == JobState.CLAIMED) & (jobs.c.lease_until <= now)
            )
            row = connection.execute(select(jobs).where(free).order_by(jobs.c.made_at).limit(1)).mappings().first()
            if row is None:
                return None
            numbers, lease = self._numbers(connection), uuid4()
            # A trainer that died between publishing and saying so must find its own number again.
            first = row["attempt"] == 0
            release = numbers.highest + 1 if first and row["release"] <= numbers.champion else row["release"]
            champion = numbers.champion if first else row["champion"]
            won = connection.execute(
                update(jobs).where(jobs.c.id == row["id"], free, jobs.c.attempt == row["attempt"]).values(
                    state=JobState.CLAIMED, attempt=row["attempt"] + 1, lease=lease, worker=worker, stage="", done=0.0,
                    curve=[], lease_until=self._lease_end(now), release=release, champion=champion,
                )
            ).rowcount  # fmt: skip
            if not won:
                return None  # another was quicker
            mark_change(connection)
        return Job(
            id=row["id"], kind=row["kind"], release=release, champion=champion, snapshot=row["snapshot"],
            again=row["again"], reason=row["reason"], attempt=row["attempt"] + 1, lease=lease, lease_s=self._rules.lease_s,
        )  # fmt: skip

    def progress(self, job: UUID, word: Progress, now: datetime) -> None:
        """Renew the lease and keep what is told. Raises UnknownJobError, or LeaseLostError where it is another's."""
        values: dict[str, Any] = {"stage": word.stage, "done": word.done, "lease_until": self._lease_end(now)}
        if word.curve:
            values["curve"] = [one.model_dump(mode="json") for one in word.curve]
        self._held(job, word.lease, values)

    def end(self, job: UUID, outcome: Outcome, now: datetime) -> None:
        """Keep how it ended; the same word again changes nothing, as its first answer may have been lost.

        Raises ContractError for a state that is no end, else as `progress`.
        """
        if outcome.state not in ENDED:
            raise ContractError(f"a job cannot end as '{outcome.state}'")
        told = outcome.model_dump(mode="json")
        values = {"state": outcome.state, "outcome": told, "ended_at": now, "in_flight": None, "lease_until": None}
        try:
            self._held(job, outcome.lease, values)
        except LeaseLostError:
            with self._engine.connect() as connection:
                known = connection.execute(select(jobs.c.outcome).where(jobs.c.id == job)).scalar_one()
            if known != told:
                raise

    def give_up(self, now: datetime) -> None:
        """End the jobs whose last permitted attempt fell silent."""
        silent = (
            (jobs.c.state == JobState.CLAIMED) & (jobs.c.lease_until <= now) & (jobs.c.attempt >= self._rules.attempts)
        )
        with self._engine.begin() as connection:
            for row in connection.execute(select(jobs).where(silent)).mappings().all():
                words = f"{row['worker']} fell silent in the stage '{row['stage'] or 'claim'}', the last of {row['attempt']} attempts"
                outcome = Outcome(lease=row["lease"], state=JobState.FAILED, objections=(words[:300],))
                ended = update(jobs).where(jobs.c.id == row["id"], silent).values(
                    state=JobState.FAILED, outcome=outcome.model_dump(mode="json"), ended_at=now, in_flight=None,
                    lease_until=None,
                )  # fmt: skip
                if connection.execute(ended).rowcount:
                    mark_change(connection)

    def past(self) -> Past:
        """What the trigger must know of the trainings so far."""
        retrain = jobs.c.kind == JobKind.RETRAIN
        with self._engine.connect() as connection:

            def latest(which: ColumnElement[bool]) -> datetime | None:
                query = select(jobs.c.made_at).where(which).order_by(jobs.c.made_at.desc()).limit(1)
                return connection.execute(query).scalar()

            busy = connection.execute(select(jobs.c.id).where(jobs.c.in_flight.is_(True))).first() is not None
            return Past(busy, latest(retrain), latest(retrain & jobs.c.state.in_(JUDGED)))

    def latest(self, limit: int = 50) -> tuple[JobRow, ...]:
        """The newest jobs first."""
        columns = [jobs.c[name] for name in JobRow.__dataclass_fields__]
        query = select(*columns).order_by(jobs.c.made_at.desc(), jobs.c.id).limit(limit)
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return tuple(_row(values) for values in rows)

    def _held(self, job: UUID, lease: UUID, values: dict[str, Any]) -> None:
        mine = (jobs.c.id == job) & (jobs.c.lease == lease) & (jobs.c.state == JobState.CLAIMED)
        with self._engine.begin() as connection:
            if connection.execute(update(jobs).where(mine).values(**values)).rowcount:
                mark_change(connection)
                return
            if connection.execute(select(jobs.c.id).where(jobs.c.id == job)).first() is None:
                raise UnknownJobError(f"no job {job}")
        raise LeaseLostError("this job was given to another, or is over")

    def _lease_end(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._rules.lease_s)

    def _numbers(self, connection: Connection) -> "_Numbers":
        highest = connection.execute(select(func.max(jobs.c.release))).scalar() or 0
        known = (
            connection.execute(select(func.max(releases.c.number))).scalar() or 0
        )  # where this server has no repository
        on_doors = (
            connection.execute(select(func.max(reported.c.release))).scalar() or 0
        )  # the factory's has one as well
        published = select(func.max(jobs.c.release)).where(jobs.c.state == JobState.PUBLISHED)
        champion = max(connection.execute(published).scalar() or 0, known, self._newest_release())
        return _Numbers(champion, max(highest, champion, on_doors))


class Retraining:
    """Ties trigger and table together; `make_snapshot` answers None where no crop is labelled."""

    def __init__(
        self, table: Jobs, rules: RetrainingRules, *, labels_since: Callable[[datetime | None], Labels],
        make_snapshot: Callable[[datetime], str | None],
    ) -> None:  # fmt: skip
        self._table, self._rules = table, rules
        self._labels_since, self._make_snapshot = labels_since, make_snapshot

    def outlook(self, now: datetime) -> Outlook:
        """How far it is to the next training; changes nothing."""
        past = self._table.past()
        return outlook(self._rules, self._labels_since(past.judged_at), past, now)

    def consider(self, now: datetime) -> UUID | None:
        """Make a job where the rules say so; its id."""
        self._table.give_up(now)
        past = self._table.past()
        reason = due(self._rules, self._labels_since(past.judged_at), past, now)
        if reason is None:
            return None
        try:
            return self.train(reason, now)
        except BusyError:
            return None

    def train(self, reason: str, now: datetime) -> UUID:
        """Make a job whatever the rules say. Raises BusyError."""
        if self._table.past().in_flight:
            raise BusyError("a job is in flight already: wait until it has ended")
        snapshot = self._make_snapshot(now)
        if snapshot is None:
            raise BusyError("there is nothing to learn from yet: label some crops first")
        return self._table.add(JobKind.RETRAIN, reason, now, snapshot=snapshot)


class Watch:
    """Looks at the rules again and again, in a thread of its own; in each server, and the duty says which one looks.

    A doubled look makes no second job: the database keeps a second one in flight out.
    """

    def __init__(self, retraining: Retraining, every_s: float, duty: Post = ALONE) -> None:
        self._retraining, self._every_s, self._duty, self._done = retraining, every_s, duty, Event()

    def run(self) -> None:
        """Until `stop`; a database that does not answer is asked again."""
        while not self._done.wait(self._every_s):
            if not self._duty.held():
                continue
            try:
                job = self._retraining.consider(datetime.now(UTC))
            except (SQLAlchemyError, OSError) as error:
                log.warning("cannot look whether a training is due: %s", type(error).__name__)
            else:
                if job is not None:
                    log.info("a training is due: job %s", job)

    def stop(self) -> None:
        """Safe in any thread."""
        self._done.set()


@dataclass(frozen=True, slots=True)
class _Numbers:
    champion: int
    highest: int


def _row(values: dict[str, Any]) -> JobRow:
    outcome = values["outcome"]
    return JobRow(
        **{
            **values,
            "kind": JobKind(values["kind"]),
            "state": JobState(values["state"]),
            "curve": tuple(Point.from_parsed(one) for one in values["curve"]),
            "outcome": None if outcome is None else Outcome.from_parsed(outcome),
        }
    )
