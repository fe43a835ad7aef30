"""What the pages of counts remember, and of which day they speak."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, select

from cloud.store import doors as doors_of
from cloud.store import schema
from cloud.store.store import Store
from cloud.web.alerts import Alerts
from cloud.web.door import DoorPages
from cloud.web.estimates import ByZone
from cloud.web.overview import KEPT, Overview, Overviews, Remembered
from cloud.web.views import Views
from contract.dataset import Answer
from tests.cloud.counts_kit import NOW, WITH, WITHOUT, Counting

WEEK = ("06:00-22:00",) * 7
PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
def counting(engine: Engine, tmp_path: Path) -> Iterator[Counting]:
    with Counting(engine, tmp_path / "blobs") as served:
        served.passes("front", 100)
        yield served


def overviews(engine: Engine) -> Overviews:
    store = Store(engine)
    views = Views(store, zone=PARIS, silent_after=timedelta(minutes=2))
    return Overviews(store, views, Alerts(engine), ByZone(engine))


def rate(view: Overview) -> float | None:
    corrected = view.answer.total.corrected
    return corrected.compliance.rate if corrected else None


def test_what_people_say_of_crops_shows_at_once(counting: Counting) -> None:
    pages = overviews(counting.engine)
    assert rate(pages.overview("today", "", NOW)) is None
    counting.control("front", WITH, Answer.WITH_MASK, 60)
    first = rate(pages.overview("today", "", NOW))
    assert first is not None and first > 0.9
    counting.control("front", WITH, Answer.WITHOUT_MASK, 60)
    second = rate(pages.overview("today", "", NOW))
    assert second is not None and second < 0.6
    with counting.engine.begin() as connection:
        connection.execute(delete(schema.labels).where(schema.labels.c.answer == Answer.WITHOUT_MASK.value))
    assert rate(pages.overview("today", "", NOW)) == first


def test_a_release_that_turns_out_to_be_another_model_shows_at_once(counting: Counting) -> None:
    pages = overviews(counting.engine)
    counting.control("front", WITH, Answer.WITH_MASK, 60, digest="b" * 64)
    assert rate(pages.overview("today", "", NOW)) is not None  # all are what cards came with
    counting.publish(3, "c" * 64)
    assert rate(pages.overview("today", "", NOW)) is None  # which has no labels


def test_the_hours_that_have_begun_and_those_to_come_are_the_whole_day(counting: Counting) -> None:
    pages = overviews(counting.engine)
    view = pages.overview("today", "", datetime(2026, 10, 25, 9, 20, tzinfo=UTC))  # clocks go back: 25 hours
    hours = [one.start for one in view.bins] + view.coming
    assert hours == [view.start + timedelta(hours=number) for number in range(25)]
    assert view.coming[0] == datetime(2026, 10, 25, 10, tzinfo=UTC)
    assert view.until == hours[-1] + timedelta(hours=1)
    assert pages.overview("today", "", datetime(2026, 10, 25, 22, 59, tzinfo=UTC)).coming == []
    assert pages.overview("7d", "", NOW).coming == []


def test_the_whole_and_the_doors_come_from_the_same_moment(counting: Counting) -> None:
    pages = overviews(counting.engine)
    for number in (7, 30):
        counting.passes("back", number, label=WITHOUT)
        view = pages.overview("today", "", NOW)
        assert view.tally.passes == view.answer.total.passes == 100 + sum((7, 30)[: (7, 30).index(number) + 1])


def test_what_is_remembered_is_made_again_only_under_another_version() -> None:
    version, made = ["1"], count()
    kept = Remembered(lambda: version[0])
    steps = (("1", "a", 0), ("1", "a", 0), ("1", "b", 1), ("2", "a", 2), ("2", "a", 2), ("1", "b", 1), ("1", "a", 3))
    for now, key, expected in steps:
        version[0] = now
        assert kept.get(key, lambda: next(made)) == expected
    for number in range(KEPT):
        kept.get(number, lambda: next(made))
    assert kept.get("a", lambda: -1) == -1  # only the last ones are kept


def test_a_failure_is_not_remembered() -> None:
    kept = Remembered(lambda: 1)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 5) == 5


def test_who_asks_for_something_else_does_not_wait() -> None:
    kept, going, free = Remembered(lambda: 1), threading.Event(), threading.Event()

    def slow() -> str:
        going.set()
        assert free.wait(10)
        return "slow"

    found: list[str] = []
    asking = [threading.Thread(target=lambda: found.append(kept.get("slow", slow))) for _ in range(2)]
    for one in asking:
        one.start()
    assert going.wait(10)
    assert kept.get("other", lambda: "other") == "other"
    free.set()
    for one in asking:
        one.join(10)
    assert found == ["slow", "slow"]


@pytest.fixture
def abroad(counting: Counting) -> Counting:
    """A door in Tokyo, where it is 21:30; its day began at 15:00 UTC of the day before."""
    counting.passes("far", 20, at=datetime(2026, 5, 3, 16, 10, tzinfo=UTC))  # today there, yesterday in Paris
    counting.passes("far", 5, at=NOW - timedelta(minutes=1))
    with counting.engine.begin() as connection:
        doors_of.write_site(connection, doors_of.Site("tokyo", "Tokyo", "Asia/Tokyo", WEEK, ()))
        described = {"device": "far", "title": "", "site": "tokyo", "note": "", "installed_at": None}
        doors_of.write_door(connection, described | {"plan": None, "sampling": None, "week": None})
    return counting


def test_a_doors_today_is_its_sites(abroad: Counting) -> None:
    store = Store(abroad.engine)
    views = Views(store, zone=PARIS, silent_after=timedelta(minutes=2))
    page = DoorPages(store, views, Alerts(abroad.engine), ByZone(abroad.engine)).page("far", NOW)
    assert page is not None and page.zone.key == "Asia/Tokyo"
    assert page.door.today.passes == page.today.passes == 25
    here = overviews(abroad.engine).overview("7d", "tokyo", NOW)
    assert [(line.name, line.door.today.passes) for line in here.doors] == [("far", 25)]
    everywhere = overviews(abroad.engine).overview("today", "", NOW)
    assert {line.name: line.estimate.passes for line in everywhere.doors} == {"far": 5, "front": 100}


def test_a_site_without_doors_and_a_door_without_passes_have_pages(abroad: Counting) -> None:
    with abroad.engine.begin() as connection:
        doors_of.write_site(connection, doors_of.Site("empty", "Empty", "Asia/Kolkata", WEEK, ()))
        silent = connection.execute(select(schema.devices).where(schema.devices.c.name == "far")).mappings().one()
        connection.execute(schema.devices.insert().values({**silent, "name": "quiet"}))
    view = overviews(abroad.engine).overview("28d", "empty", NOW)
    assert (view.doors, view.tally.passes, view.answer.total.passes, len(view.bins)) == ([], 0, None, 28)
    with abroad.person() as reader:
        for path in ("/?site=empty", "/?site=empty&span=28d", "/doors/quiet"):
            assert reader.get(path).status_code == 200
