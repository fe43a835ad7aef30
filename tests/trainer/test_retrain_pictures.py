"""A trainer keeps no picture of a crop longer than its job, and learns without those that are gone."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest

from contract.crops import Role
from contract.dataset import Answer, Example, Snapshot, Use
from contract.errors import ContractError
from contract.jobs import Job, JobKind
from trainer.lease import Lease
from trainer.link import GoneError, Link
from trainer.retrain import Retraining, composites_of

PICTURES = [cv2.imencode(".jpg", np.full((100, 80, 3), shade, np.uint8))[1].tobytes() for shade in (60, 120, 200)]


@dataclass
class Cloud:
    """What a link is to the trainer: a snapshot, and those of its pictures that are still kept."""

    listed: Snapshot
    kept: dict[str, bytes]
    asked: list[str] = field(default_factory=list)

    def snapshot(self, _digest: str) -> Snapshot:
        return self.listed

    def picture(self, digest: str) -> bytes:
        self.asked.append(digest)
        if digest not in self.kept:
            raise GoneError("its time is over")
        return self.kept[digest]


class Patient:
    """A lease that nobody takes away."""

    def stage(self, _name: str) -> None:
        """Nobody listens."""

    def done(self, _number: int, _of: int) -> None:
        """Nobody listens."""


def example(number: int) -> Example:
    values: dict[str, Any] = {
        "crop": UUID(int=number + 1), "jpeg_digest": sha256(PICTURES[number]).hexdigest(), "answer": Answer.WITH_MASK,
        "box": (0.25, 0.2, 0.75, 0.8), "use": Use.TRAIN, "role": Role.PRIORITY, "device": "front",
        "at": datetime(2026, 5, 4, 12, tzinfo=UTC), "scores": (0.8, 0.1, 0.1), "model_digest": "0" * 64,
        "frame_size": (640, 480), "origin": (100, 50), "scale": 0.5,
    }  # fmt: skip
    return Example(**values)


def job() -> Job:
    return Job(
        id=uuid4(), kind=JobKind.RETRAIN, release=3, champion=2, snapshot="a" * 64, reason="labels", attempt=1,
        lease=uuid4(), lease_s=60,
    )  # fmt: skip


def cloud(*numbers: int) -> Cloud:
    snapshot = Snapshot.of([example(number) for number in range(3)])
    return Cloud(snapshot, {sha256(PICTURES[number]).hexdigest(): PICTURES[number] for number in numbers})


def composites(site: Cloud, folder: Path) -> Any:
    return composites_of(job(), cast(Link, site), cast(Lease, Patient()), folder)


def test_what_is_gone_is_left_out_and_what_an_earlier_job_left_is_removed(tmp_path: Path) -> None:
    for left in ("jobs/killed/crops/images/x.jpg", "pictures/y.jpg"):
        (tmp_path / left).parent.mkdir(parents=True)
        (tmp_path / left).write_bytes(b"somebody")
    built = composites(cloud(0, 2), tmp_path / "jobs" / "now")
    assert ([path.stem[-1] for path in built.train], built.gone) == (["1", "3"], 1)
    assert {path.parent.parent.parent.name for path in tmp_path.rglob("*.jpg")} == {"now"}


def test_a_snapshot_of_which_nothing_is_left_teaches_nothing(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="none of the 3 crops"):
        composites(cloud(), tmp_path / "jobs" / "now")


def test_a_job_that_ends_badly_leaves_no_picture_either(tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / "now"
    composites(cloud(0, 1, 2), folder)
    assert list(folder.rglob("*.jpg"))
    ill = Retraining(tmp_path / "no-base", (), epochs=1, image_size=None, batch=1, rate=0.1)
    with pytest.raises(ContractError, match="no base weights"):
        ill.candidate(job(), cast(Link, cloud()), cast(Lease, Patient()), None, folder)
    assert list(tmp_path.rglob("*.jpg")) == []
