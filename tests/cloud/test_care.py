"""The health of the doors: what is wrong with each, the list filtered, sorted, in pages, and as CSV."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from cloud.counts.trust import Observed
from cloud.fleet.care import Concern, Filter, Lines, Patient, Sort, Wish, chosen, needs, page_of, summary
from cloud.store.schema_accounts import audit
from cloud.web.advice import ADVICE
from cloud.web.doors import address, wish_of
from contract.health import LITTLE_DISK
from contract.trouble import Trouble
from tests.cloud.site_kit import served

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
WELL = Patient(
    name="front", title="", site=None, site_name="", state=Filter.ONLINE, since=NOW - timedelta(days=2), last_seen=NOW,
    release=4, asked=4, on_cpu=False, fps=14.0, temperature_c=55.0, under_voltage=False, throttled=False,
    disk_free_bytes=10**10, today=Observed(600, 590, 10), week=Observed(6000, 5900, 100), waiting=0, missing=0, lost=0,
    losing_at=None, drift=0.4,
)  # fmt: skip

LINES = Lines(coverage=0.8, certificate=timedelta(days=14))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ()),
        ({"state": Filter.OFFLINE, "sentences": ("the picture is black",)}, (Concern.OFFLINE,)),
        ({"state": Filter.SILENT}, (Concern.SILENT,)),
        ({"release": None, "asked": None}, (Concern.NO_HEARTBEAT,)),
        ({"on_cpu": True}, (Concern.ON_CPU,)),
        ({"asked": 5}, (Concern.OLD_RELEASE,)),
        ({"asked": 3}, ()),
        ({"lost": 9, "losing_at": NOW - timedelta(hours=23)}, (Concern.LOSING,)),
        ({"lost": 9, "losing_at": NOW - timedelta(hours=25)}, ()),
        ({"today": Observed(600, 300, 10)}, (Concern.COVERAGE,)),
        ({"today": Observed(600, 590, 10, unsure_hours=1)}, (Trouble.CLOCK_UNKNOWN,)),
        ({"today": Observed()}, ()),
        ({"drift": 0.001}, (Trouble.VIEW_DRIFTED,)),
        ({"disk_free_bytes": LITTLE_DISK - 1}, (Concern.DISK_LOW,)),
        ({"disk_free_bytes": LITTLE_DISK}, ()),
        ({"certificate_ends": NOW + timedelta(days=14)}, (Concern.CERTIFICATE,)),
        ({"certificate_ends": NOW + timedelta(days=15)}, ()),
        ({"under_voltage": True, "words": ("under_voltage",)}, (Trouble.UNDER_VOLTAGE,)),
        ({"sentences": ("the picture is black, 40 s",)}, (Trouble.CAMERA_BLACK,)),
        ({"words": ("not_yet_invented",)}, (Trouble.OTHER,)),
    ],
)
def test_what_is_wrong_with_a_door(changes: dict[str, object], wrong: tuple[str, ...]) -> None:
    assert needs(replace(WELL, **changes), NOW, LINES) == wrong  # type: ignore[arg-type]


@pytest.mark.parametrize(("line", "wrong"), [(0.98, ()), (0.99, (Concern.COVERAGE,)), (None, ())])
def test_coverage_is_judged_by_the_line_of_the_alerts(line: float | None, wrong: tuple[str, ...]) -> None:
    assert needs(WELL, NOW, replace(LINES, coverage=line)) == wrong


def test_there_is_advice_for_everything_that_can_be_wrong() -> None:
    assert set(ADVICE) == {*Concern, *Trouble}


def test_the_list_is_filtered_and_sorted_and_the_unknown_stands_last() -> None:
    hot, cool, unknown = (
        replace(WELL, name=name, site=site, site_name=site.title(), temperature_c=degrees)
        for name, site, degrees in (("hot", "hall", 80.0), ("cool", "hall", 40.0), ("unknown", "school", None))
    )
    doors = [hot, unknown, cool]

    def names(**wish: object) -> list[str]:
        return [one.name for one in chosen(doors, Wish(**wish), NOW, LINES)]  # type: ignore[arg-type]

    assert names() == ["cool", "hot", "unknown"]
    assert names(sort=Sort.TEMPERATURE) == ["cool", "hot", "unknown"]
    assert names(sort=Sort.TEMPERATURE, down=True) == ["hot", "cool", "unknown"]
    assert names(text="HALL") == ["cool", "hot"]
    assert names(site="school") == ["unknown"]
    assert names(state=Filter.TROUBLE) == []
    doors.append(replace(WELL, name="lost", on_cpu=True))
    assert names(state=Filter.TROUBLE) == names(trouble="on_cpu") == ["lost"]
    assert summary(doors, NOW, LINES)[Filter.ONLINE] == 4


def test_pages_hold_fifty_and_none_is_beyond_the_last() -> None:
    doors = [replace(WELL, name=f"door-{number}") for number in range(101)]
    assert [(len(page_of(doors, number).rows), page_of(doors, number).page) for number in (1, 3, 9)] == [
        (50, 1), (1, 3), (1, 3),
    ]  # fmt: skip
    assert page_of([], 7).page == 1


def test_what_the_address_says_is_read_back_and_nonsense_is_nothing() -> None:
    wish = Wish("a&b", "hall", Filter.SILENT, "camera_black", Sort.FPS, True, 3)
    assert address(wish) == "/doors?text=a%26b&at=hall&state=silent&trouble=camera_black&sort=fps&down=1&page=3"
    assert wish_of("a&b", "hall", "silent", "camera_black", "fps", "1", "3") == wish
    assert wish_of("", "", "x", "x", "x", "x", "-1") == Wish()


def test_the_page_and_its_csv_show_a_hostile_door_as_text(engine: Engine, tmp_path: Path) -> None:
    with served(engine, tmp_path) as site:
        site.heartbeat("front", release=2, accelerator="cpu", fps=6.1, trouble=("=cmd|' /C calc'!A0",))
        site.put("/door-settings/front", title="<b>=1+1", note="").raise_for_status()
        site.heartbeat("gate", release=2, accelerator="edgetpu")
        page = site.client.get("/doors?state=on_cpu").text
        assert "&lt;b&gt;=1+1" in page
        assert "counting on the CPU" in page
        assert 'href="/doors/gate"' not in page
        rows = list(csv.DictReader(io.StringIO(site.client.get("/doors.csv?sort=fps&down=1").text)))
        assert [row["door"] for row in rows] == ["front", "gate"]
        assert rows[0]["in_its_own_words"] == "'=cmd|' /C calc'!A0"
        assert rows[0]["trouble"].split() == ["other", "on_cpu"]
        assert any(row["what"] == "door health exported" for row in _log(engine))


def test_the_page_asks_as_often_for_many_doors_as_for_one(engine: Engine, tmp_path: Path) -> None:
    with served(engine, tmp_path) as site:
        asked: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
        numbers = []
        for doors in (1, 40):
            for number in range(doors):
                site.heartbeat(f"door-{number}", release=2)
            site.client.get("/doors").raise_for_status()  # signed in by now
            asked.clear()
            site.client.get("/doors").raise_for_status()
            numbers.append(len(asked))
        assert numbers[0] == numbers[1]


def _log(engine: Engine) -> list[dict[str, object]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(audit.select()).mappings()]
