"""What is erased is gone everywhere and stays gone, whoever sends it again."""

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select

from cloud.app import prepare
from cloud.config import CloudSettings
from cloud.learning.jobs import Jobs
from cloud.loop import open_pictures
from cloud.rules import RetentionRules
from cloud.store import erasures, schema
from cloud.store.blobs import Blobs
from cloud.store.erasures import Erasure, Share
from cloud.upkeep.erasing import Taught, erase, go_on, preview, read_journal, require_known, taught_with, write_journal
from cloud.upkeep.housekeeper import Housekeeper
from contract.dataset import SNAPSHOT_LIMIT, Snapshot
from contract.errors import ContractError
from contract.jobs import JobKind, JobState, Outcome
from rehearsal.processes import wait_until
from tests.cloud.conftest import pass_event
from tests.cloud.keeping_kit import Site, crop, crop_message, days, pass_message

START = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOW = START + timedelta(hours=6)


@pytest.fixture
def site(engine: Engine, blobs: Blobs) -> Site:
    return Site(engine, blobs)


def erasure(
    device: str | None = "front", *, start: datetime | None = None, end: datetime = NOW, events: bool = False
) -> Erasure:
    return Erasure(uuid4(), device, None, start, end, events, NOW)


def one_crop(one: object) -> Erasure:
    return Erasure(uuid4(), None, one, None, NOW, events=False, asked_at=NOW)  # type: ignore[arg-type]


def test_a_door_is_erased_with_pictures_labels_passes_and_counts_and_others_stay(site: Site, tmp_path: Path) -> None:
    mine = [crop(START, seed=number) for number in range(3)]
    other = crop(START, seed=9, device="back")
    site.take_crops(*mine, other, now=START)
    event = site.label(mine[0], START)
    site.desk.undo(uuid4(), "Ada", START)
    site.label(mine[0], START)
    site.desk.take("Bob", 9, START)
    site.take_passes("front", [START + timedelta(minutes=number) for number in range(90)], now=NOW)
    site.take_passes("back", [START] * 4, now=NOW)
    wanted = erasure(events=True)
    assert preview(site.engine, wanted) == Share(crops=3, pictures=3, labels=3, events=90, passes=90)
    assert site.rows("labels") == 3
    erase(site.engine, site.blobs, tmp_path / "journal", wanted, NOW)
    assert (site.rows("crops"), site.rows("labels"), site.rows("events")) == (1, 0, 4)
    assert (site.passes("front"), site.passes("back")) == (0, 4)
    assert site.kept(*mine, other) == [False, False, False, True]
    assert preview(site.engine, wanted) == Share()
    assert event is not None


def test_what_was_erased_is_told_as_stored_when_it_comes_again_and_nothing_of_it_is_kept(
    site: Site, tmp_path: Path
) -> None:
    one, fresh = crop(START, seed=1), crop(NOW + timedelta(minutes=1), seed=2)
    site.take_crops(one, now=START)
    events = site.take_passes("front", [START] * 3, now=START)
    undated = pass_event(7, at=datetime(1970, 1, 1, tzinfo=UTC))
    site.take(pass_message("front", undated), now=START)
    erase(site.engine, site.blobs, tmp_path / "journal", erasure(events=True, start=START - days(1)), NOW)
    never_came = crop(START + timedelta(minutes=3), seed=3)
    later = NOW + timedelta(hours=1)
    outcome = site.take_crops(one, never_came, fresh, now=later)
    assert set(outcome.acknowledgements["front"].stored) == {one.header.id, never_came.header.id, fresh.header.id}
    assert not outcome.postponed
    assert site.kept(one, never_came, fresh) == [False, False, True]
    new = pass_event(8, at=NOW + timedelta(minutes=2))
    told = site.take(pass_message("front", *events, undated, new), now=later).acknowledgements["front"]
    assert (len(told.stored), told.refused) == (5, ())
    assert (site.rows("crops"), site.rows("events"), site.passes()) == (1, 1, 1)
    much_later = NOW + days(40)  # now the passes' own times are too old to be believed
    site.take(pass_message("front", *events), now=much_later)
    assert (site.rows("events"), site.passes()) == (1, 1)


def test_a_crop_whose_clock_was_never_set_stays_out_though_no_span_holds_its_time(site: Site, tmp_path: Path) -> None:
    one = crop(datetime(1970, 1, 1, tzinfo=UTC))
    site.take_crops(one, now=START)
    erase(site.engine, site.blobs, tmp_path / "journal", erasure(start=START - days(1)), NOW)
    outcome = site.take_crops(one, now=NOW + timedelta(hours=1))
    assert outcome.acknowledgements["front"].stored == (one.header.id,)
    assert (site.rows("crops"), site.kept(one)) == (0, [False])


def test_one_crop_is_erased_and_its_window_stays(site: Site, tmp_path: Path) -> None:
    one, other = crop(START, seed=1), crop(START, seed=2)
    site.take_crops(one, other, now=START)
    erase(site.engine, site.blobs, tmp_path / "journal", one_crop(one.header.id), NOW)
    site.take_crops(one, other, now=NOW)
    assert site.kept(one, other) == [False, True]
    assert site.rows("crops") == 1


def test_a_picture_that_an_unerased_crop_shares_stays(site: Site, tmp_path: Path) -> None:
    one, same = crop(START, seed=1), crop(START, seed=1)
    site.take_crops(one, same, now=START)
    erase(site.engine, site.blobs, tmp_path / "journal", one_crop(one.header.id), NOW)
    assert (site.kept(same), site.rows("doomed")) == ([True], 0)


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        (None, START + timedelta(minutes=90), 30),
        (START + timedelta(minutes=30), START + timedelta(minutes=90), 60),
        (START + timedelta(minutes=60), START + timedelta(minutes=120), 60),
        (START - days(1), START, 120),
        (START + timedelta(minutes=90), NOW, 90),
    ],
)
def test_a_span_takes_its_minutes_out_of_the_hours(
    site: Site, tmp_path: Path, start: datetime | None, end: datetime, left: int
) -> None:
    site.take_passes("front", [START + timedelta(minutes=number) for number in range(120)], now=NOW)
    wanted = erasure(start=start, end=end, events=True)
    assert preview(site.engine, wanted).passes == 120 - left
    erase(site.engine, site.blobs, tmp_path / "journal", wanted, NOW)
    assert (site.rows("events"), site.passes()) == (left, left)


def test_hours_whose_passes_went_at_their_term_are_erased_whole(engine: Engine, blobs: Blobs, tmp_path: Path) -> None:
    rules = RetentionRules(event_days=60)
    site = Site(engine, blobs, rules)
    site.take_passes("front", [START] * 5, now=START)
    Housekeeper(engine, blobs, rules).turn(START + days(61))
    assert (site.rows("events"), site.passes()) == (0, 5)
    wanted = erasure(end=START + days(61), events=True)
    assert preview(engine, wanted).passes == 5
    erase(engine, blobs, tmp_path / "journal", wanted, START + days(61))
    assert site.passes() == 0


def test_a_site_is_erased_with_its_quarantine(site: Site, tmp_path: Path) -> None:
    site.take_crops(crop(START, seed=1), crop(START, seed=2, device="back"), now=START)
    broken = pass_message("front", pass_event(1, at=START))
    site.take(type(broken)(broken.topic, b"nonsense"), now=START)
    wanted = erasure(None)
    assert preview(site.engine, wanted).quarantined == 1
    erase(site.engine, site.blobs, tmp_path / "journal", wanted, NOW)
    assert (site.rows("crops"), site.rows("quarantine"), list(site.blobs.entries())) == (0, 0, [])


def test_an_erasure_that_was_cut_off_is_gone_on_with_by_the_housekeeper(site: Site, tmp_path: Path) -> None:
    some = [crop(START, seed=number) for number in range(2)]
    site.take_crops(*some, now=START)
    with site.engine.begin() as connection:
        erasures.adopt(connection, [erasure()])  # written down, and then the power went
    Housekeeper(site.engine, site.blobs, RetentionRules()).turn(NOW)
    assert (site.rows("crops"), site.kept(*some)) == (0, [False, False])
    with site.engine.connect() as connection:
        assert erasures.read(connection, unfinished=True) == ()


def test_the_snapshots_and_releases_that_learned_from_erased_crops_are_named(site: Site, tmp_path: Path) -> None:
    one, other = crop(START, seed=1), crop(START, seed=2)
    site.take_crops(one, other, now=START)
    site.label(one, START)
    site.label(other, START)
    digest = site.snapshots.make(START)
    assert digest is not None
    table = Jobs(site.engine, CloudSettings.load(None, {}).retraining)
    table.add(JobKind.RETRAIN, "labels", START, snapshot=digest)
    job = table.claim("gpu-box", START)
    assert job is not None
    table.end(job.id, Outcome(lease=job.lease, state=JobState.PUBLISHED), START)
    wanted = one_crop(one.header.id)
    assert taught_with(site.engine, site.blobs, wanted) == (Taught(digest, 1, (job.release,)),)
    erase(site.engine, site.blobs, tmp_path / "journal", wanted, NOW)
    listed = Snapshot.decode(site.snapshots.content(digest), limit=SNAPSHOT_LIMIT)
    assert {example.crop for example in listed.examples} == {one.header.id, other.header.id}
    new = site.snapshots.make(NOW)
    assert new is not None
    (example,) = Snapshot.decode(site.snapshots.content(new), limit=SNAPSHOT_LIMIT).examples
    assert example.crop == other.header.id


@pytest.mark.parametrize("wanted", [erasure("nobody"), one_crop(uuid4())])
def test_a_door_or_a_crop_that_never_was_is_refused(site: Site, wanted: Erasure) -> None:
    site.take_crops(crop(START), now=START)
    with pytest.raises(ContractError, match=r"no door 'nobody' ever spoke to us; known are: front|there is no crop"):
        require_known(site.engine, wanted)


def test_the_journal_is_read_as_written_and_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    journal = tmp_path / "erasures.jsonl"
    some = [erasure(), erasure(None, start=START, events=True), one_crop(uuid4())]
    assert read_journal(journal) == ()
    for one in (some[:1], some, some):
        write_journal(journal, one)
    assert read_journal(journal) == tuple(some)
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[:40])
    assert read_journal(journal) == tuple(some)
    write_journal(journal, [last := erasure("back")])
    assert read_journal(journal)[-1] == last
    journal.write_text(json.dumps({"id": 1}) + "\n")
    with pytest.raises(ContractError, match="no journal of erasures"):
        read_journal(journal)


def test_a_database_set_back_is_erased_again_at_the_next_start(tmp_path: Path) -> None:
    settings = CloudSettings.load(None, {"data": str(tmp_path)})
    engine = prepare(settings)
    site = Site(engine, open_pictures(settings))
    site.take_crops(crop(START), now=START)
    write_journal(settings.erasure_journal, [erasure()])
    engine.dispose()
    engine = prepare(settings)
    go_on(engine, NOW)
    with engine.connect() as connection:
        assert connection.execute(select(schema.crops.c.id)).all() == []
    engine.dispose()


def cloud(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloud", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_says_what_would_go_and_does_it_only_when_told(tmp_path: Path) -> None:
    settings = CloudSettings.load(None, {"data": str(tmp_path)})
    engine, now = prepare(settings), datetime.now(UTC)
    site, one = Site(engine, open_pictures(settings)), crop(now - days(1))
    site.take_crops(one, now=now)
    there = ("--set", f"data={tmp_path}")
    answer = cloud("erase", "--door", "front", *there)
    assert (answer.returncode, answer.stdout) == (
        0, "would erase: 1 crops, 1 pictures\nNothing was changed: --yes does it.\n",
    )  # fmt: skip
    assert site.rows("crops") == 1
    answer = cloud("erase", "--door", "front", "--yes", *there)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("erasing: 1 crops, 1 pictures\nDone. Erasure ")
    assert "audit: erasure" in answer.stderr
    assert (site.rows("crops"), site.kept(one)) == (0, [False])
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--door", "../x"), "cannot name a device"),
        (("--door", "nobody"), "known are: none yet"),
        (("--door", "nobody", "--from", "yesterday"), "write a moment as"),
        (("--door", "nobody", "--to", "2999-01-01"), "lies ahead"),
        (("--door", "nobody", "--from", "2026-05-04", "--to", "2026-05-03"), "not before"),
        (("--crop", str(uuid4()), "--events"), "goes without"),
    ],
)
def test_an_erasure_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    answer = cloud("erase", *arguments, "--set", f"data={tmp_path}")
    assert (answer.returncode, len(answer.stderr.strip().splitlines())) == (2, 1), answer.stderr
    assert words in answer.stderr


def test_nothing_slips_through_while_a_door_goes_on_sending(site: Site, tmp_path: Path) -> None:
    site.take_crops(crop(START), now=START)  # the door is known
    done, sent = threading.Event(), 0
    faults: list[Exception] = []

    def send() -> None:
        nonlocal sent
        try:
            while not done.is_set():
                events = [pass_event(number, at=START + timedelta(minutes=number)) for number in range(50)]
                site.take(crop_message(crop(START, seed=sent % 7)), pass_message("front", *events), now=NOW)
                sent += 1
        except Exception as error:  # noqa: BLE001 -- a thread's fault is told to the test
            faults.append(error)

    writers = [threading.Thread(target=send) for _ in range(1 if site.engine.dialect.name == "sqlite" else 2)]
    for one in writers:
        one.start()
    try:
        wait_until(lambda: sent > 5 or bool(faults), within_s=30, what="some messages")
        erase(site.engine, site.blobs, tmp_path / "journal", erasure(events=True), NOW)
        before = sent
        wait_until(lambda: sent > before + 5 or bool(faults), within_s=30, what="more messages")
    finally:
        done.set()
        for one in writers:
            one.join()
    assert faults == []
    assert (site.rows("crops"), site.rows("events"), site.passes()) == (0, 0, 0)
    Housekeeper(site.engine, site.blobs, RetentionRules()).turn(NOW + timedelta(minutes=1))
    assert list(site.blobs.entries()) == []
