"""What a trainer and the cloud say to each other over HTTPS: a job is claimed, told about, and ends in one outcome."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field

from contract.crops import Digest
from contract.labels import Label
from contract.wire import SCHEMA_VERSION, Count, Ratio, SchemaVersion, Wire

JOB_LIMIT = 1024 * 1024  # bytes of any message here
Line = Annotated[str, Field(max_length=300)]
WorkerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]


class JobKind(StrEnum):
    """What is to be done."""

    RETRAIN = "retrain"  # snapshot -> candidate -> gate -> release
    REPUBLISH = "republish"  # an earlier release's bytes under a higher number: the way back


class JobState(StrEnum):
    """A job moves only downwards here; a lease that runs out makes it `waiting` again."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    PUBLISHED = "published"  # its release is in the repository
    REFUSED = "refused"  # the gate objected: a normal outcome
    FAILED = "failed"  # it could not be done, as often as was tried


class Claim(Wire):
    """`POST /api/v1/jobs/claim`: who asks for work."""

    worker: WorkerName


class Job(Wire):
    """The answer to a claim: what to do, and until when it is the claimant's alone."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    id: UUID
    kind: JobKind
    release: Count = Field(description="The number the new release will bear.")
    champion: Count = Field(description="The newest release in the repository; 0: only the factory model.")
    snapshot: Digest | None = Field(default=None, description="For `retrain`: what to learn from.")
    again: Count | None = Field(default=None, description="For `republish`: the release whose bytes are wanted.")
    reason: Line = Field(description="What triggered it.")
    attempt: Count = Field(description="1 for the first claimant.")
    lease: UUID = Field(description="Goes with every word about this job; another claimant has another one.")
    lease_s: Count = Field(description="Seconds without a word after which the job is given to somebody else.")


class Point(Wire):
    """One epoch of a training."""

    epoch: Count
    loss: Annotated[float, Field(ge=0)]
    map50: Ratio | None = Field(default=None, description="Float network on the validation split.")


class Progress(Wire):
    """`POST /api/v1/jobs/{id}/progress`: a sign of life that renews the lease."""

    lease: UUID
    stage: Annotated[str, Field(pattern=r"^[a-z ]{1,30}$")] = Field(description="data, train, export, evaluate, ...")
    done: Ratio = Field(description="Of this stage.")
    curve: Annotated[tuple[Point, ...], Field(max_length=1000)] = Field(
        default=(), description="All epochs so far; empty: as before."
    )


class ClassScore(Wire):
    """One class of one file on one split, as `trainer evaluate` counts."""

    ap50: Ratio
    ap50_95: Ratio
    recall: Ratio
    precision: Ratio


class Scores(Wire):
    """One int8 file on one split."""

    map50: Ratio
    map50_95: Ratio
    images: Count
    per_class: dict[Label, ClassScore]


class Comparison(Wire):
    """Champion and candidate on the same images, scored by the same program on the same day."""

    split: Line = Field(description="What the images are.")
    champion: Scores
    candidate: Scores


class Outcome(Wire):
    """`POST /api/v1/jobs/{id}/outcome`: how it ended, once."""

    lease: UUID
    state: JobState = Field(description="`published`, `refused` or `failed`.")
    objections: Annotated[tuple[Line, ...], Field(max_length=50)] = Field(
        default=(), description="Why the gate refused, or what failed; empty when published."
    )
    comparisons: Annotated[tuple[Comparison, ...], Field(max_length=10)] = ()
    candidate_digest: Digest | None = None
    notes: Annotated[tuple[Line, ...], Field(max_length=50)] = Field(
        default=(), description="What a reader should know: data counts, times, what was left out."
    )
