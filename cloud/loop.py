"""The learning loop put together: labels to snapshot, snapshot to job, job to signed release."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.fleet.releases import Repository
from cloud.learning.jobs import Jobs, Retraining
from cloud.learning.retraining import Labels
from contract.errors import ContractError


@dataclass(frozen=True, slots=True)
class Loop:
    """What the site and the watch share."""

    repository: Repository
    jobs: Jobs
    retraining: Retraining


def new_loop(settings: CloudSettings, engine: Engine) -> Loop:
    """Everything from a label to a release, on this database and this folder of releases."""
    repository = Repository(settings.release_folder)
    jobs = Jobs(engine, settings.retraining, newest_release=_newest(repository))
    retraining = Retraining(jobs, settings.retraining, labels_since=_no_labels, make_snapshot=lambda _: None)
    return Loop(repository, jobs, retraining)


def _no_labels(_since: datetime | None) -> Labels:
    return Labels()


def _newest(repository: Repository) -> Callable[[], int]:
    def newest() -> int:
        try:
            return max(repository.numbers(), default=0)
        except ContractError:  # no repository here yet
            return 0

    return newest
