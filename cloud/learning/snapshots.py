"""Standing answers to a snapshot: what teaches, what judges, frozen under the digest of its content."""

from collections import Counter
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite

from cloud.learning.labelling import standing
from cloud.store.blobs import Blobs
from cloud.store.schema import jobs, snapshots
from contract.crops import CropHeader, Role
from contract.dataset import Answer, Example, Snapshot, Use
from contract.jobs import JobState


class Snapshots:
    """Made from the labels, kept among the blobs."""

    def __init__(self, engine: Engine, blobs: Blobs) -> None:
        self._engine, self._blobs = engine, blobs

    def make(self, now: datetime) -> str | None:
        """Freeze what is labelled now; the digest, or None where nothing that teaches is labelled. Raises OSError."""
        with self._engine.connect() as connection:
            rows = standing(connection)
            released_at = _last_released(connection)
        examples = [_example(row, released_at) for row in rows if row["answer"] != Answer.CANNOT_TELL]
        if not any(one.use is Use.TRAIN for one in examples):
            return None
        snapshot = Snapshot.of(examples)
        digest = self._blobs.put(snapshot.encode())
        tally = Counter((one.use.value, one.answer.value) for one in examples)
        counted: dict[str, dict[str, int]] = {}
        for (use, answer), number in sorted(tally.items()):
            counted.setdefault(use, {})[answer] = number
        with self._engine.begin() as connection:
            insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(snapshots)
            row = insert.values(digest=digest, made_at=now, examples=len(examples), tally=counted)
            connection.execute(row.on_conflict_do_nothing())
        return digest

    def content(self, digest: str) -> bytes:
        """The encoded snapshot. Raises KeyError where it was never made here."""
        with self._engine.connect() as connection:
            if connection.execute(select(snapshots.c.digest).where(snapshots.c.digest == digest)).first() is None:
                raise KeyError(digest)
        return self._blobs.get(digest)


def use_of(header: CropHeader, labelled_at: datetime, released_at: datetime | None) -> Use:
    """Chosen crops teach. Control crops judge; half of them also teach, once a release was made after their label."""
    if header.role is not Role.CONTROL:
        return Use.TRAIN
    always_judges = sha256(header.id.bytes).digest()[0] % 2 == 0
    if always_judges or released_at is None or labelled_at > released_at:
        return Use.JUDGE
    return Use.TRAIN


def _example(row: dict[str, Any], released_at: datetime | None) -> Example:
    header = CropHeader.from_parsed(row["header"])
    return Example(
        crop=header.id, jpeg_digest=header.jpeg_digest, answer=Answer(row["answer"]),
        box=tuple(row["box"]) if row["box"] else header.box, use=use_of(header, row["at"], released_at),
        role=header.role, device=header.device, at=header.at, weight=header.weight, scores=header.scores,
        model_digest=header.model_digest, frame_size=header.frame_size, origin=header.origin, scale=header.scale,
    )  # fmt: skip


def _last_released(connection: Connection) -> datetime | None:
    """When the newest published training began to learn: control labels after it have never judged."""
    query = select(func.max(jobs.c.made_at)).where(jobs.c.state == JobState.PUBLISHED, jobs.c.snapshot.is_not(None))
    return connection.execute(query).scalar()
