"""Nothing is kept longer than its term and a day, on both kinds of pictures' place and both databases."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select

from cloud.config import CloudSettings
from cloud.ingest.parcels import Message
from cloud.learning.labelling import UnknownCropError
from cloud.rules import RetentionRules
from cloud.store import pictures, schema, upkeep
from cloud.store.blobs import BlobFolder, Blobs, Entry
from cloud.upkeep.housekeeper import Housekeeper
from cloud.upkeep.terms import due, lifecycle_days, too_late
from cloud.web.keeping import keeping_view
from contract.errors import ContractError
from contract.topics import Channel, Topic
from tests.cloud.conftest import pass_event
from tests.cloud.keeping_kit import Site, crop, crop_message, days, pass_message

START = datetime(2026, 5, 4, 12, tzinfo=UTC)
RULES = RetentionRules()


@pytest.fixture
def site(engine: Engine, blobs: Blobs) -> Site:
    return Site(engine, blobs)


def keeper(site: Site, rules: RetentionRules = RULES) -> Housekeeper:
    return Housekeeper(site.engine, site.blobs, rules)


def ages(site: Site) -> dict[str, datetime]:
    """When the oldest of each kind came."""
    crops, quarantine = schema.crops, schema.quarantine
    with site.engine.connect() as connection:
        kept = [row[0] for row in connection.execute(select(crops.c.received_at).where(crops.c.gone_at.is_(None)))]
        heads = [row[0] for row in connection.execute(select(quarantine.c.received_at).where(quarantine.c.head != b""))]
    return {name: min(some) for name, some in (("pictures", kept), ("heads", heads)) if some}


def test_nothing_is_older_than_its_term_and_a_day_while_crops_come_every_day(site: Site) -> None:
    """Fault 103."""
    house, labelled, unlabelled = keeper(site), [], []
    for day in range(40):
        now = START + days(day)
        two = crop(now, seed=2 * day), crop(now, seed=2 * day + 1)
        site.take_crops(*two, now=now)
        site.take(Message(Topic("front", Channel.EVENTS).text, b"nonsense %d" % day), now=now)
        site.label(two[0], now)
        labelled.append((now, two[0]))
        unlabelled.append((now, two[1]))
        turned = now + timedelta(hours=20)
        house.turn(turned)
        for term, some in ((30, labelled), (14, unlabelled)):
            wanted = [turned - came < days(term) for came, _ in some]
            assert site.kept(*(one for _, one in some)) == wanted
        assert all(turned - came <= days(31) for came in ages(site).values())
    assert site.rows("labels") == 40  # answers stay: they speak for counts, and show nobody
    with site.engine.connect() as connection:
        told = {one.subject: one.total for one in upkeep.read(connection)}
    assert told["labelled crops"] == 10
    assert told["unlabelled crops"] == 26
    assert told["pictures deleted"] == 36


def test_a_picture_that_another_row_or_a_snapshot_names_stays(site: Site) -> None:
    first, again = crop(START, seed=1), crop(START, seed=1)
    site.take_crops(first, now=START)
    site.take_crops(again, now=START + days(5))
    site.label(again, START + days(5))
    listing = site.snapshots.make(START + days(5))
    assert listing is not None
    house = keeper(site)
    house.turn(START + days(15))
    assert site.rows("crops", schema.crops.c.gone_at.is_(None)) == 1
    assert site.kept(first) == [True]
    house.turn(START + days(36))
    assert site.kept(first) == [False]
    assert site.snapshots.content(listing)  # the listing names what is gone, and stays


def test_a_crop_whose_time_is_over_is_not_handed_out_not_taught_and_not_taken_again(site: Site) -> None:
    taught, free = crop(START, seed=1), crop(START, seed=2)
    site.take_crops(taught, free, now=START)
    site.label(taught, START)
    keeper(site).turn(START + days(31))
    later = START + days(31)
    assert site.desk.take("Bob", 9, later) == []
    assert (site.desk.progress(later).waiting, site.desk.progress(later).labelled) == (0, 1)
    assert site.desk.since(None).total == 0
    assert site.snapshots.make(later) is None
    with pytest.raises(UnknownCropError, match="no longer kept"):
        site.label(free, later)
    with pytest.raises(UnknownCropError, match="of yours"):
        site.desk.undo(uuid4(), "Ada", later)
    outcome = site.take_crops(taught, free, now=later)
    assert set(outcome.acknowledgements["front"].stored) == {taught.header.id, free.header.id}
    assert site.kept(taught, free) == [False, False]


def test_an_answer_taken_back_makes_a_crop_unlabelled_again(site: Site) -> None:
    one = crop(START)
    site.take_crops(one, now=START)
    site.label(one, START)
    site.desk.undo(crop(START).header.id, "Ada", START)
    keeper(site).turn(START + days(14.5))
    assert site.kept(one) == [False]


def test_rows_of_unlabelled_crops_go_at_last_and_those_of_labelled_ones_stay(site: Site) -> None:
    one, other = crop(START, seed=1), crop(START, seed=2)
    site.take_crops(one, other, now=START)
    site.label(one, START)
    house = keeper(site)
    for day in (31, 59):
        house.turn(START + days(day))
        assert site.rows("crops") == 2
    house.turn(START + days(61))
    assert (site.rows("crops"), site.rows("labels")) == (1, 1)


def test_passes_stay_unless_a_term_is_set_and_hour_counts_always_do(engine: Engine, blobs: Blobs) -> None:
    rules = RetentionRules(event_days=60)
    site = Site(engine, blobs, rules)
    old = site.take_passes("front", [START] * 3, now=START)
    site.take_passes("front", [START + days(50)] * 2, now=START + days(50))
    keeper(site).turn(START + days(61))
    assert (site.rows("events"), site.passes()) == (5, 5)
    keeper(site, rules).turn(START + days(61))
    assert (site.rows("events"), site.passes()) == (2, 5)
    outcome = site.take(pass_message("front", *old), now=START + days(62))  # a door that was dark all that time
    assert len(outcome.acknowledgements["front"].stored) == 3
    assert (site.rows("events"), site.passes()) == (2, 5)
    unset = pass_event(9, at=datetime(1970, 1, 1, tzinfo=UTC), clock_synchronised=False)
    site.take(pass_message("front", unset), now=START + days(62))  # its clock was never set: it is no old pass
    assert (site.rows("events"), site.passes()) == (3, 6)


def test_quarantined_bytes_go_though_the_message_comes_again_and_again(site: Site) -> None:
    house, message = keeper(site), Message(Topic("front", Channel.EVENTS).text, b"nonsense")
    for day in range(0, 60, 10):
        site.take(message, now=START + days(day))
        house.turn(START + days(day))
    assert site.rows("quarantine", schema.quarantine.c.head != b"") == 0
    assert site.rows("quarantine") == 1
    house.turn(START + days(82))
    assert site.rows("quarantine") == 0


def test_leases_and_consumers_of_yesterday_go(site: Site) -> None:
    site.take_crops(crop(START), now=START)
    site.desk.take("Ada", 1, START)
    with site.engine.begin() as connection:
        connection.execute(schema.consumers.insert().values(name="old", connected=False, since=START, alive_at=START))
    house = keeper(site)
    house.turn(START + timedelta(minutes=9))
    assert (site.rows("leases"), site.rows("consumers")) == (1, 1)
    house.turn(START + days(31))
    assert (site.rows("leases"), site.rows("consumers")) == (0, 0)


def test_a_picture_whose_row_never_came_is_swept_after_a_day_and_not_before(engine: Engine, tmp_path: Path) -> None:
    store = _Dated(BlobFolder(tmp_path), START)
    site = Site(engine, store)
    lonely = store.put(b"lonely")
    one = crop(START)
    site.take_crops(one, now=START)
    keeper(site).turn(START + timedelta(hours=23))
    assert len(list(store.entries())) == 2
    house = keeper(site)
    house.turn(START + timedelta(hours=25))
    assert len(list(store.entries())) == 2  # found, and given an hour in which its row may still come
    house.turn(START + timedelta(hours=26, minutes=1))
    assert lonely not in {entry.digest for entry in store.entries()}
    assert site.kept(one) == [True]


def test_an_orphan_whose_row_comes_after_all_stays(engine: Engine, tmp_path: Path) -> None:
    store = _Dated(BlobFolder(tmp_path), START)
    site, one = Site(engine, store), crop(START)
    store.put(one.jpeg)
    house = keeper(site)
    house.turn(START + timedelta(hours=25))
    assert site.rows("doomed") == 1
    site.take_crops(one, now=START + timedelta(hours=25, minutes=30))
    house.turn(START + timedelta(hours=27))
    assert site.kept(one) == [True]


class _Dated(BlobFolder):
    """A folder whose files all came at one moment of the test's."""

    def __init__(self, inner: BlobFolder, at: datetime) -> None:
        super().__init__(inner._folder)
        self._at = at

    def entries(self) -> Iterator[Entry]:
        for one in super().entries():
            yield Entry(one.digest, self._at)


class _KilledError(Exception):
    """The process is gone."""


class _Fragile:
    """A place for pictures that takes the process with it at the `fatal`-th deletion, before or after the act."""

    def __init__(self, inner: Blobs, fatal: int, *, after: bool) -> None:
        self._inner, self._left, self._after = inner, fatal, after
        self.put, self.get, self.entries, self.address = inner.put, inner.get, inner.entries, inner.address

    def delete(self, digest: str) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise _KilledError
        self._inner.delete(digest)
        if self._left == 0:
            raise _KilledError


@pytest.mark.parametrize("after", [False, True], ids=["before the act", "after the act"])
@pytest.mark.parametrize("fatal", [1, 3])
def test_a_housekeeper_killed_at_a_deletion_goes_on_there(site: Site, fatal: int, after: bool) -> None:
    crops = [crop(START, seed=number) for number in range(3)]
    site.take_crops(*crops, now=START)
    now = START + days(15)
    with pytest.raises(_KilledError):
        Housekeeper(site.engine, _Fragile(site.blobs, fatal, after=after), RULES).turn(now)
    assert any(site.kept(*crops)) or (fatal, after) == (3, True)
    assert site.rows("crops", schema.crops.c.gone_at.is_(None)) == 0
    keeper(site).turn(now + timedelta(minutes=1))
    assert (site.kept(*crops), site.rows("doomed")) == ([False] * 3, 0)


def test_a_picture_that_is_being_deleted_is_postponed_and_then_kept_anew(site: Site) -> None:
    one, same = crop(START, seed=1), crop(START, seed=1)
    site.take_crops(one, now=START)
    now = START + days(15)
    with pytest.raises(_KilledError):
        Housekeeper(site.engine, _Fragile(site.blobs, 1, after=False), RULES).turn(now)
    assert [p.shot.crop.header.id for p in site.take_crops(same, now=now).postponed if p.shot] == [same.header.id]
    pictures.sweep(site.engine, site.blobs, now)
    assert not site.take_crops(same, now=now).postponed
    assert site.kept(same) == [True]
    pictures.sweep(site.engine, site.blobs, now + days(1))
    assert site.kept(same) == [True]


def test_a_row_that_goes_between_looking_and_writing_postpones_whoever_trusted_it(site: Site, engine: Engine) -> None:
    one, same = crop(START, seed=1), crop(START, seed=1)
    site.take_crops(one, now=START)
    house = keeper(site)
    meddling = Site(engine, _Meddling(site.blobs, lambda: house.turn(START + days(15))))
    other = crop(START, seed=2)
    outcome = meddling.take_crops(same, other, now=START + days(15))  # putting `other` gives the housekeeper its moment
    assert [p.shot.crop.header.id for p in outcome.postponed if p.shot] == [same.header.id]
    assert outcome.acknowledgements["front"].stored == (other.header.id,)
    assert not site.take_crops(same, now=START + days(15)).postponed
    assert site.kept(same, other) == [True, True]


class _Meddling:
    """A place for pictures where something else happens at the first put."""

    def __init__(self, inner: Blobs, act: Callable[[], object]) -> None:
        self._inner, self._act, self._done = inner, act, False
        self.get, self.entries, self.address, self.delete = inner.get, inner.entries, inner.address, inner.delete

    def put(self, data: bytes) -> str:
        if not self._done:
            self._done = True
            self._act()
        return self._inner.put(data)


def test_a_picture_that_a_row_names_is_not_sent_again(site: Site) -> None:
    one, same = crop(START, seed=1), crop(START, seed=1)
    site.take_crops(one, now=START)
    watched = _Counted(site.blobs)
    for message in (crop_message(one), crop_message(same)):
        assert Site(site.engine, watched).take(message, now=START).acknowledgements["front"].stored
    assert (watched.puts, site.rows("crops")) == (0, 2)


class _Counted:
    """A place for pictures that counts what is brought."""

    def __init__(self, inner: Blobs) -> None:
        self._inner, self.puts = inner, 0
        self.get, self.entries, self.address, self.delete = inner.get, inner.entries, inner.address, inner.delete

    def put(self, data: bytes) -> str:
        self.puts += 1
        return self._inner.put(data)


def test_after_one_picture_that_cannot_be_kept_the_others_of_the_batch_are_not_tried(engine: Engine) -> None:
    broken = _Broken()
    site = Site(engine, broken)
    crops = [crop(START, seed=number) for number in range(5)]
    outcome = site.take(*(crop_message(one) for one in crops), pass_message("front", pass_event(at=START)), now=START)
    assert (len(outcome.postponed), broken.tries) == (5, 1)
    assert len(outcome.acknowledgements["front"].stored) == 1


class _Broken(BlobFolder):
    """A place that takes nothing."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.tries = 0

    def put(self, data: bytes) -> str:
        self.tries += 1
        raise OSError("no space left")


@pytest.mark.parametrize(
    ("claimed", "late"),
    [(START - days(61), True), (START - days(60), False), (START, False), (START + days(1), False)],
)
def test_a_pass_is_too_late_only_where_passes_have_a_term(claimed: datetime, late: bool) -> None:
    assert too_late(claimed, RetentionRules(event_days=60), START) is late
    assert not too_late(claimed, RULES, START)


def test_the_terms_follow_the_settings() -> None:
    terms = due(RetentionRules(unlabelled_days=7, labelled_days=20, quarantine_days=5), START)
    assert (terms.unlabelled, terms.labelled, terms.quarantine) == tuple(START - days(one) for one in (7, 20, 5))
    assert terms.events is None
    assert lifecycle_days(RULES) == 31


@pytest.mark.parametrize(
    ("key", "value"), [("unlabelled_days", "0"), ("event_days", "59"), ("row_days", "1"), ("s3.encryption", "rot13")]
)
def test_a_term_that_cannot_be_is_refused(key: str, value: str) -> None:
    name = key if "." in key else f"retention.{key}"
    with pytest.raises(ContractError):
        CloudSettings.load(None, {name: value})


def test_what_is_kept_and_what_went_can_be_asked(site: Site) -> None:
    site.take_crops(crop(START, seed=1), now=START)
    site.take_crops(crop(START + days(10), seed=2), now=START + days(10))
    keeper(site).turn(START + days(15))
    view = keeping_view(site.engine, RULES)
    assert (view.pictures, view.oldest, view.waiting) == (1, START + days(10), 0)
    assert {one.subject: one.removed for one in view.went} == {"unlabelled crops": 1, "pictures deleted": 1}
