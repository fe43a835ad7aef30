"""Doors' messages, sound and spoilt, into the real database; then what must be there is compared with what is.

`python -m tests.fuzz.messages --examples 1000000` prints the account (SQLite; `--postgres` for a cluster of its own).
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from uuid import UUID

from sqlalchemy import Engine, text

from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import digest, open_message
from cloud.rules import PictureRules
from cloud.store import writing
from cloud.store.blobs import BlobFolder
from cloud.store.database import migrate, open_database
from rehearsal.postgres import Postgres
from tests.fuzz.hostile import NIL
from tests.fuzz.mischief import Fate, Mischief, Sent

AT_ONCE = 250
AN_ID = re.compile(rb"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Account:
    """What was sent, and what the database says that does not fit it: everything from `lost` on must be nought."""

    messages: int
    sound: int
    bad: int
    either: int
    rows: int
    quarantined: int
    seconds: float
    lost: int  # passes of sound messages that are not there
    untold: int  # passes of sound messages that no door was told of
    invented: int
    let_in: int  # bad messages that are not in quarantine, or not with every delivery
    shut_out: int  # sound messages in quarantine
    miscounted: int  # either messages that are in quarantine with another number of deliveries than were sent
    unknown: int  # messages in quarantine that nobody sent
    wrong_hours: int
    wrong_boots: int

    @property
    def exact(self) -> bool:
        values = asdict(self)
        return not any(values[name] for name in list(values)[list(values).index("lost") :])


class Books:
    """Feeds a database, and knows what must be in it."""

    def __init__(self, engine: Engine, folder: Path, now: datetime) -> None:
        self._engine, self._blobs, self._now = engine, BlobFolder(folder), now
        self._make_row = writing.row_maker(engine)
        self._sent: Counter[bytes] = Counter()
        self._fates: dict[bytes, Fate] = {}
        self._known: dict[Fate, set[UUID]] = {fate: set() for fate in Fate}
        self._told: set[UUID] = set()
        self._began = time.perf_counter()

    def take(self, sent: Iterable[Sent]) -> None:
        """One batch, as the consumer would."""
        some = list(sent)
        parcels = [
            open_message(one.message, now=self._now, pictures=PictureRules(), make_row=self._make_row) for one in some
        ]
        outcome = ingest(self._engine, self._blobs, parcels, now=self._now)
        for answer in outcome.acknowledgements.values():
            self._told.update(answer.stored)
            list(answer.payloads())
        assert not outcome.postponed
        for one in some:
            self.note(one)

    def note(self, one: Sent) -> None:
        """It was sent, by whatever way."""
        key = digest(one.message)
        self._sent[key] += 1
        self._fates[key] = one.fate
        found = (
            one.ids if one.fate is Fate.SOUND else [UUID(text.decode()) for text in AN_ID.findall(one.message.payload)]
        )
        self._known[one.fate].update(found)

    def told(self, ids: Iterable[UUID]) -> None:
        """A door was told that these are stored."""
        self._told.update(ids)

    def close(self) -> Account:
        """Compare."""
        with self._engine.connect() as connection:
            rows = {UUID(str(one)) for one in connection.execute(text("SELECT id FROM events")).scalars()}
            kept = {
                bytes(key): number
                for key, number in connection.execute(text("SELECT digest, deliveries FROM quarantine"))
            }
            hours = connection.execute(text("SELECT coalesce(sum(passes), 0) FROM hours")).scalar_one()
            boots = connection.execute(text("SELECT coalesce(sum(stored), 0) FROM boots")).scalar_one()
        sound = self._known[Fate.SOUND]
        fates = Counter(self._fates[key] for key in self._sent.elements())
        of = {fate: {key for key, known in self._fates.items() if known is fate} for fate in Fate}
        return Account(
            messages=self._sent.total(), sound=fates[Fate.SOUND], bad=fates[Fate.BAD], either=fates[Fate.EITHER],
            rows=len(rows), quarantined=len(kept), seconds=round(time.perf_counter() - self._began, 1),
            lost=len(sound - rows), untold=len(sound - self._told),
            invented=len(rows - sound - self._known[Fate.EITHER] - {NIL}),
            let_in=sum(kept.get(key) != self._sent[key] for key in of[Fate.BAD]),
            shut_out=len(of[Fate.SOUND] & kept.keys()),
            miscounted=sum(kept[key] != self._sent[key] for key in of[Fate.EITHER] & kept.keys()),
            unknown=len(kept.keys() - self._fates.keys()),
            wrong_hours=int(hours) - len(rows), wrong_boots=int(boots) - len(rows),
        )  # fmt: skip


def main() -> int:
    """Print the account; the exit code is 1 where it is not exact."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.messages", description=__doc__)
    parser.add_argument("--examples", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL of its own instead of SQLite")
    chosen = parser.parse_args()
    cluster = Postgres().start() if chosen.postgres else None
    try:
        with tempfile.TemporaryDirectory(prefix="mf-fuzz-") as name:
            folder, now = Path(name), datetime.now(UTC)
            engine = open_database(cluster.new_database() if cluster else f"sqlite:///{folder / 'fuzz.sqlite'}")
            migrate(engine)
            mischief, books = Mischief(Random(chosen.seed), now), Books(engine, folder / "blobs", now)
            for done in range(0, chosen.examples, AT_ONCE):
                books.take(mischief.next() for _ in range(min(AT_ONCE, chosen.examples - done)))
            account = books.close()
            engine.dispose()
    finally:
        if cluster:
            cluster.stop(remove=True)
    print(json.dumps(asdict(account)))
    return 0 if account.exact else 1


if __name__ == "__main__":
    sys.exit(main())
