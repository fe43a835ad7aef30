"""The learning loop put together: labels to snapshot, snapshot to job, job to signed release."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.fleet.releases import Repository
from cloud.learning.jobs import Jobs, Retraining
from cloud.learning.labelling import Labelling
from cloud.learning.snapshots import Snapshots
from cloud.store.blobs import BlobFolder, Blobs
from contract.errors import ContractError


@dataclass(frozen=True, slots=True)
class Loop:
    """What the site and the watch share."""

    blobs: Blobs
    labelling: Labelling
    snapshots: Snapshots
    jobs: Jobs
    repository: Repository
    retraining: Retraining


def new_loop(settings: CloudSettings, engine: Engine) -> Loop:
    """Everything from a label to a release, on this database and this folder of releases."""
    blobs = BlobFolder(settings.blob_folder)
    labelling, snapshots = Labelling(engine), Snapshots(engine, blobs)
    repository = Repository(settings.release_folder)
    jobs = Jobs(engine, settings.retraining, newest_release=_newest(repository))
    retraining = Retraining(jobs, settings.retraining, labels_since=labelling.since, make_snapshot=snapshots.make)
    return Loop(blobs, labelling, snapshots, jobs, repository, retraining)


def _newest(repository: Repository) -> Callable[[], int]:
    def newest() -> int:
        try:
            return max(repository.numbers(), default=0)
        except ContractError:  # no repository here yet
            return 0

    return newest
