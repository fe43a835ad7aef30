"""The statements that read what labellers said of control crops, and which release is which model."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, exists, func, select
from sqlalchemy.orm import aliased

from cloud.counts.evidence import Labelled, by_model
from cloud.counts.periods import local_day
from cloud.store.schema import crops, labels, releases, reported
from contract.crops import CropHeader, Role
from contract.dataset import Answer

FACTORY = "factory"  # stands for the digests of all cards' own models


@dataclass(frozen=True, slots=True)
class Models:
    """Which model a release is: the SHA-256 of its file, so that bytes that come again bring their labels along."""

    by_release: Mapping[int, str]

    def of_release(self, release: int) -> str:
        """A release below all that are known is what cards came with; a later one that nobody described has a name that no
        label has.
        """
        if release in self.by_release:
            return self.by_release[release]
        return FACTORY if release < min(self.by_release, default=release + 1) else f"release {release}"

    def of_digest(self, digest: str) -> str:
        """A crop's model; what was never released came with a card."""
        return digest if digest in self.by_release.values() else FACTORY


class ControlLabels:
    """The standing answers to control crops, read again only when there are new ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[tuple[object, ...], dict[str, list[Labelled]]] | None = None

    def read(self, connection: Connection, models: Models, zone: ZoneInfo) -> Mapping[str, Sequence[Labelled]]:
        """By model, the earliest crop first; their days are those of `zone`."""
        version = evidence_version(connection, models)
        with self._lock:
            if self._known is None or self._known[0] != version:
                self._known = (version, by_model(_control_labels(connection, models, zone)))
            return self._known[1]


def evidence_version(connection: Connection, models: Models) -> tuple[object, ...]:
    """Another one whenever there are other labels, or a release is another model."""
    now = connection.execute(select(func.count(), func.max(labels.c.at)).select_from(labels)).one()
    return (*now, frozenset(models.by_release.items()))


def read_models(connection: Connection) -> Models:
    """What was published; for other releases, what doors say that they run, where all say the same."""
    said: dict[int, set[str]] = defaultdict(set)
    for row in connection.execute(select(reported.c.release, reported.c.digest).where(reported.c.release > 0)):
        said[row.release].add(row.digest)
    known = {release: digests.pop() for release, digests in said.items() if len(digests) == 1}
    published = connection.execute(select(releases.c.number, releases.c.digest))
    return Models(known | {row.number: row.digest for row in published})


def _control_labels(connection: Connection, models: Models, zone: ZoneInfo) -> tuple[Labelled, ...]:
    undo = aliased(labels)
    query = (
        select(labels.c.crop, labels.c.answer, crops.c.device, crops.c.at, crops.c.header)
        .join(crops, crops.c.id == labels.c.crop)
        .where(labels.c.answer.is_not(None), ~exists().where(undo.c.undoes == labels.c.id))
        .where(crops.c.role == Role.CONTROL.value)
        .order_by(labels.c.at.desc(), labels.c.id)
    )
    found = {}
    for row in connection.execute(query):
        header = CropHeader.from_parsed(row.header)
        found[row.crop] = Labelled(
            row.device, row.at, local_day(row.at.replace(minute=0), zone).isoformat(), header.counted_as,
            Answer(row.answer), header.weight or 1.0, models.of_digest(header.model_digest),
        )  # fmt: skip
    return tuple(found.values())
