"""`trainer work`: claims what the cloud asks for, does it, and says how it ended."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from contract.errors import ContractError, TryAgainError
from contract.jobs import Comparison, Job, JobKind, JobState, Outcome
from trainer.lease import Lease
from trainer.link import LeaseLostError, Link, patiently
from trainer.release import Signer, renumbered

ASK_S = 5.0  # between two questions whether there is work
LATER_S = 30.0  # after the cloud did not answer

log = logging.getLogger("trainer")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a training came to."""

    files: Mapping[str, bytes]  # of the candidate, by their names in a release
    objections: tuple[str, ...]  # empty: it may ship
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    digest: str  # SHA-256 of the candidate


class Trains(Protocol):
    """Makes a candidate of a job and judges it."""

    def candidate(
        self, job: Job, link: Link, lease: Lease, champion: Mapping[str, bytes] | None, folder: Path
    ) -> Verdict:
        """Raises ContractError where it cannot be done, TryAgainError where not now, LeaseLostError where it is in vain."""


class Worker:
    """One trainer: one job at a time, each in a folder of its own under `folder`."""

    def __init__(self, link: Link, signer: Signer, folder: Path, name: str, trains: Trains) -> None:
        self._link, self._signer, self._folder, self._name, self._trains = link, signer, folder, name, trains

    def run(self, *, once: bool, done: threading.Event) -> None:
        """Work until `done`, or for one job; a cloud that does not answer is asked again.

        Raises ContractError where the cloud refuses us.
        """
        log.info("%s asks for work", self._name)
        while not done.is_set():
            try:
                self._signer.prolong(self._link, datetime.now(UTC))
                job = self._link.claim(self._name)
            except TryAgainError as error:
                log.warning("%s; asking again", error)
                done.wait(LATER_S)
                continue
            if job is None:
                done.wait(ASK_S)
                continue
            log.info(
                "job %s: %s, for release %d (%s), attempt %d", job.id, job.kind, job.release, job.reason, job.attempt
            )
            outcome = self._do(job, done)
            if outcome:
                log.info("release %d: %s. %s", job.release, outcome.state, " ".join(outcome.objections))
                self._tell(job, outcome, done)
            if once:
                return

    def _do(self, job: Job, done: threading.Event) -> Outcome | None:
        """How it ended; None where the job is no longer ours, so that there is nothing to say."""
        try:
            with Lease(self._link, job, done) as lease:
                return self._republish(job, lease) if job.kind is JobKind.REPUBLISH else self._retrain(job, lease)
        except LeaseLostError as error:
            log.warning("job %s is lost: %s", job.id, error)
            return None
        except (ContractError, TryAgainError) as error:
            return Outcome(lease=job.lease, state=JobState.FAILED, objections=(str(error)[:300],))
        except OSError as error:
            why = f"this trainer's disk: {error.strerror or error}"
            return Outcome(lease=job.lease, state=JobState.FAILED, objections=(why[:300],))

    def _republish(self, job: Job, lease: Lease) -> Outcome:
        lease.stage("fetch")
        if not job.again:
            raise ContractError("the job does not say which release to bring back")
        files = renumbered(self._signer.files(self._link, job.again), job.release)
        lease.stage("publish")
        self._signer.publish(self._link, job.release, files, datetime.now(UTC))
        notes = (f"release {job.release} has the bytes of release {job.again}",)
        return Outcome(lease=job.lease, state=JobState.PUBLISHED, notes=notes)

    def _retrain(self, job: Job, lease: Lease) -> Outcome:
        champion = self._signer.files(self._link, job.champion) if job.champion else None
        verdict = self._trains.candidate(job, self._link, lease, champion, self._folder / "jobs" / str(job.id))
        told = {
            "lease": job.lease, "comparisons": verdict.comparisons, "notes": verdict.notes,
            "candidate_digest": verdict.digest,
        }  # fmt: skip
        if verdict.objections:
            said = tuple(one[:300] for one in verdict.objections[:50])
            return Outcome(state=JobState.REFUSED, objections=said, **told)
        lease.stage("publish")
        self._signer.publish(self._link, job.release, verdict.files, datetime.now(UTC))
        return Outcome(state=JobState.PUBLISHED, **told)

    def _tell(self, job: Job, outcome: Outcome, done: threading.Event) -> None:
        try:
            patiently(lambda: self._link.end(job.id, outcome), wait=done.wait)
        except (ContractError, TryAgainError) as error:
            log.warning("the cloud did not take the outcome of job %s: %s", job.id, error)
