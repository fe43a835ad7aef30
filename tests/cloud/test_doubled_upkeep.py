"""Two that act at once, servers, commands and people: nothing is counted off twice, nothing that came again is lost, no word is overwritten."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select

from cloud.fleet.rollout import Group, Rollout, State
from cloud.store import alerts as store
from cloud.store import erasures, fleet, pictures
from cloud.store.blobs import BlobFolder
from cloud.store.erasures import Erasure
from cloud.store.schema import doomed, releases, rollouts
from cloud.store.schema_doors import alerts
from cloud.upkeep import erasing
from contract.crops import Crop
from tests.cloud.keeping_kit import Site, crop
from tests.cloud.test_sharing import at_once

START = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOW = START + timedelta(hours=6)


@pytest.mark.parametrize("end", [NOW, START + timedelta(minutes=17)], ids=["whole hours", "within an hour"])
def test_an_erasure_that_two_go_on_with_takes_each_pass_out_of_the_counts_once(
    engine: Engine, tmp_path: Path, end: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "EVENTS", 7)  # many small steps, for many chances to meet
    site = Site(engine, BlobFolder(tmp_path))
    site.take_passes("front", [START + timedelta(seconds=11 * number) for number in range(180)], now=NOW)
    wanted = Erasure(uuid4(), "front", None, None, end, True, NOW)
    with engine.connect() as connection:
        share = erasures.share(connection, wanted)
    with engine.begin() as connection:
        erasures.adopt(connection, [wanted])
    assert at_once(*(lambda: erasing.go_on(engine, NOW) for _ in range(3))) == []
    assert site.passes() == site.rows("events") == 180 - share.events
    with engine.connect() as connection:
        assert erasures.read(connection, unfinished=True) == ()


class _Held(BlobFolder):
    """A folder whose first deletion waits until it is let go."""

    def __init__(self, inner: BlobFolder) -> None:
        super().__init__(inner._folder)
        self.reached, self.go_on = threading.Event(), threading.Event()

    def delete(self, digest: str) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(20)
        super().delete(digest)


def test_a_sweep_that_stalled_does_not_take_a_picture_that_came_again_meanwhile(engine: Engine, tmp_path: Path) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("the stalled one would hold SQLite's only place for a writer, so nothing can come meanwhile")
    blobs = BlobFolder(tmp_path)
    site = Site(engine, blobs)
    crops = {one.header.jpeg_digest: one for one in (crop(START, seed=number) for number in range(3))}
    site.take_crops(*crops.values(), now=START)
    with engine.begin() as connection:
        pictures.mark_gone(connection, ~pictures.is_labelled(), NOW, 100)
    slow = _Held(blobs)
    stalled = threading.Thread(target=pictures.sweep, args=(engine, slow, NOW))
    stalled.start()
    assert slow.reached.wait(20)
    with engine.begin() as connection:  # another sweep, that takes what the stalled one does not hold
        free = list(connection.execute(select(doomed.c.digest).with_for_update(skip_locked=True)).scalars())
        for digest in free:
            blobs.delete(digest)
        connection.execute(doomed.delete().where(doomed.c.digest.in_(free)))
    assert len(free) == 2
    again = [Crop(crops[one].header.model_copy(update={"id": uuid4()}), crops[one].jpeg) for one in free]
    assert not site.take_crops(*again, now=NOW).postponed
    slow.go_on.set()
    stalled.join(20)
    assert site.kept(*again) == [True, True]
    assert (len(list(blobs.entries())), site.rows("doomed")) == (2, 0)


class _Returning(BlobFolder):
    """A folder of which each deletion makes a door send one more; after some dozens it has had enough."""

    def __init__(self, folder: Path, send: Callable[[], object]) -> None:
        super().__init__(folder)
        self.deleted, self._send = 0, send

    def delete(self, digest: str) -> None:
        self.deleted += 1
        if self.deleted < 50:
            self._send()
        super().delete(digest)


def test_an_erasure_ends_though_a_door_sends_as_fast_as_pictures_go(engine: Engine, tmp_path: Path) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip(
            "while a picture is deleted SQLite's only place for a writer is taken, so nothing can come meanwhile"
        )
    seeds = count()
    site = Site(engine, BlobFolder(tmp_path / "pictures"))
    busy = _Returning(tmp_path / "pictures", lambda: site.take_crops(crop(START, seed=next(seeds)), now=NOW))
    site.take_crops(*(crop(START, seed=next(seeds)) for _ in range(3)), now=START)
    erasing.erase(engine, busy, tmp_path / "journal", Erasure(uuid4(), "front", None, None, NOW, False, NOW), NOW)
    assert busy.deleted == 3
    assert (site.rows("crops"), list(site.blobs.entries())) == (0, [])


def test_two_commands_at_once_lose_neither_ones_line_in_the_journal(tmp_path: Path) -> None:
    some = [Erasure(uuid4(), "front", None, None, NOW, False, NOW) for _ in range(8)]
    journal = tmp_path / "data" / "erasures.jsonl"
    assert at_once(*(lambda one=one: erasing.write_journal(journal, [one]) for one in some)) == []
    assert {one.id for one in erasing.read_journal(journal)} == {one.id for one in some}


def test_a_pause_by_hand_is_not_overwritten_by_a_decision_that_was_under_way(engine: Engine) -> None:
    running = Rollout(4, State.RUNNING, Group.CANARY, NOW)
    paused = replace(running, state=State.PAUSED, reason="pause by hand")
    with engine.begin() as connection:
        connection.execute(releases.insert().values(number=4, digest="a" * 64, published_at=NOW, manifest={}))
        start = {"release": 4, "state": "running", "group": "canary", "began_at": NOW, "group_began_at": NOW}
        connection.execute(rollouts.insert().values(**start, reason=""))
        seen = fleet.read_rollout(connection)
        assert seen == running
        assert fleet.write_rollout(connection, paused, running)
        assert not fleet.write_rollout(connection, replace(running, group=Group.REST), running)
        assert fleet.read_rollout(connection) == paused


def test_an_alert_of_a_kind_that_only_a_newer_version_knows_fails_no_reader(engine: Engine) -> None:
    with engine.begin() as connection:
        row = {"kind": "of_tomorrow", "subject": "x", "reason": "", "opened_at": NOW, "reminded_at": NOW, "open": True}
        connection.execute(alerts.insert().values(id=uuid4(), **row))
        assert store.read_alerts(connection, 10) == ()
        assert store.read_open(connection) == {}
        assert set(store.count_open_by_kind(connection).values()) == {0}
