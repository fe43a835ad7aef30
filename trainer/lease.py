"""A claimed job: told about from a thread of its own, so that no long stage lets the claim run out."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from contract.errors import ContractError, TryAgainError
from contract.jobs import Job, Point, Progress
from trainer.link import LeaseLostError, Link

log = logging.getLogger("trainer")


class Lease:
    """A context; inside it `stage` and `done` say how far the job is, and `require` stops work on a job that is lost."""

    def __init__(self, link: Link, job: Job, stop: threading.Event, *, every_s: float | None = None) -> None:
        self._link, self._job, self._stop = link, job, stop
        self._every_s = every_s or max(1.0, job.lease_s / 6)
        self._stage, self._done = "data", 0.0
        self._curve: Callable[[], tuple[Point, ...]] = tuple
        self._over = threading.Event()
        self._lost = ""
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def stage(self, name: str, *, curve: Callable[[], tuple[Point, ...]] | None = None) -> None:
        """A new stage begins; `curve` is asked for the epochs so far with every word. Raises LeaseLostError."""
        self.require()
        if curve:
            self._curve = curve
        self._stage, self._done = name, 0.0
        log.info("release %d: %s", self._job.release, name)
        self._tell()

    def done(self, part: int, whole: int) -> None:
        """So much of this stage is done. Raises LeaseLostError."""
        self._done = min(1.0, part / max(1, whole))
        self.require()

    def require(self) -> None:
        """Raises LeaseLostError where the job is no longer ours, or this trainer is to stop."""
        if not self.alive:
            raise LeaseLostError(self._lost or "this trainer is being stopped; another may go on, or this one later")

    @property
    def alive(self) -> bool:
        return not self._lost and not self._stop.is_set()

    def _run(self) -> None:
        while not self._over.wait(self._every_s) and not self._lost:
            self._tell()

    def _tell(self) -> None:
        curve = self._curve()
        word = Progress(lease=self._job.lease, stage=self._stage, done=self._done, curve=curve)
        try:
            self._link.progress(self._job.id, word)
        except LeaseLostError as error:
            self._lost = str(error)
        except TryAgainError as error:
            if time.monotonic() - self._heard > 3 * self._job.lease_s:  # by then somebody else has it
                self._lost = f"the cloud was away for too long: {error}"
        except ContractError as error:
            self._lost = str(error)
        else:
            self._heard = time.monotonic()
