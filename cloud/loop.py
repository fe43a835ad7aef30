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
from cloud.store.places import Bucket
from contract.errors import ContractError


@dataclass(frozen=True, slots=True)
class Loop:
    """What the site and the watch share."""

    blobs: Blobs
    listings: Blobs
    labelling: Labelling
    snapshots: Snapshots
    jobs: Jobs
    repository: Repository
    retraining: Retraining


def new_loop(settings: CloudSettings, engine: Engine) -> Loop:
    """Everything from a label to a release, on this database and this folder of releases."""
    blobs, listings = open_pictures(settings), open_listings(settings)
    labelling, snapshots = Labelling(engine), Snapshots(engine, listings)
    repository = Repository(settings.release_folder)
    jobs = Jobs(engine, settings.retraining, newest_release=_newest(repository))
    retraining = Retraining(jobs, settings.retraining, labels_since=labelling.since, make_snapshot=snapshots.make)
    return Loop(blobs, listings, labelling, snapshots, jobs, repository, retraining)


def open_pictures(settings: CloudSettings) -> Blobs:
    """Where crops' pictures lie."""
    return _open(settings, "crops/", "image/jpeg")


def open_listings(settings: CloudSettings) -> Blobs:
    """Where snapshots' listings lie: in a folder beside the pictures, in a bucket apart from them, since those expire."""
    return _open(settings, "snapshots/", "application/json")


def picture_place(bucket: Bucket) -> Bucket:
    """What in `bucket` holds pictures and nothing else."""
    return bucket._replace(prefix=f"{bucket.prefix}crops/")


def _open(settings: CloudSettings, part: str, media_type: str) -> Blobs:
    if settings.bucket is None:
        return BlobFolder(settings.blob_folder)
    from cloud.store.s3 import S3Blobs, new_client  # half a second and 30 MB that a folder does not need

    s3 = settings.s3
    return S3Blobs(
        new_client(s3.endpoint, s3.region), settings.bucket._replace(prefix=settings.bucket.prefix + part),
        encryption=s3.encryption, kms_key=s3.kms_key, media_type=media_type, presign_s=s3.presign_s,
    )  # fmt: skip


def _newest(repository: Repository) -> Callable[[], int]:
    def newest() -> int:
        try:
            return max(repository.numbers(), default=0)
        except ContractError:  # no repository here yet
            return 0

    return newest
