"""The town: the same every time, and what it says is what passed there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from sqlalchemy import func, select

from cloud.learning.labelling import Labelling
from cloud.store.blobs import BlobFolder
from cloud.store.database import migrate, open_database
from cloud.store.schema import events, quarantine
from cloud.store.store import Store
from contract.events import Direction
from rehearsal.history import write_history
from rehearsal.town import TOWN, Town

END = datetime(2026, 11, 25, 8, tzinfo=UTC)
DOORS = (TOWN[0], TOWN[6])


def town(seed: int) -> Town:
    return Town(seed, start=END - timedelta(days=2), end=END, doors=DOORS)


def test_the_same_seed_is_the_same_town() -> None:
    one, same, other = list(town(1).messages()), list(town(1).messages()), list(town(2).messages())
    assert one == same
    assert one != other


def test_the_cloud_takes_all_of_it_and_counts_what_was_seen(tmp_path: Path) -> None:
    made = town(1)
    sent = list(made.messages())
    engine = open_database(f"sqlite:///{tmp_path / 'town.sqlite'}")
    migrate(engine)
    assert write_history(engine, BlobFolder(tmp_path / "blobs"), sent, random=Random(1)) == len(sent)
    with engine.connect() as connection:
        stored = connection.execute(select(func.count()).select_from(events)).scalar_one()
        assert connection.execute(select(func.count()).select_from(quarantine)).scalar_one() == 0
    counts = Store(engine).hour_counts(END - timedelta(days=2), END)
    passed = sum(sum(truth.values()) for truth in made.truths.values())
    assert 0.8 * passed < stored < passed  # a camera was lost now and then
    assert sum(one.passes for one in counts) == stored
    assert {one.direction for one in counts} == set(Direction)
    progress = Labelling(engine).progress(END)
    assert (progress.waiting, progress.labelled) == (0, sum(one.truth is not None for one in sent))
    engine.dispose()
