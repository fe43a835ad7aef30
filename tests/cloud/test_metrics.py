"""What Prometheus scrapes, read with Prometheus' own parser."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, event

from cloud.fleet.alerts import Change, Finding, Kind, What
from cloud.store import alerts, writing
from tests.cloud.conftest import BOOT
from tests.cloud.site_kit import NOW, Site, served

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    with served(engine, tmp_path) as one:
        yield one


def scrape(site: Site) -> Samples:
    answer = site.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"maskfleet_{name}", frozenset(labels.items())))


def test_a_door_is_measured(site: Site) -> None:
    site.passes("front", 7)
    site.passes("front", 2, label="without_mask", direction="out", at=NOW - timedelta(days=20))
    board = {"temperature_c": 61.5}
    coverage = {"since": NOW.replace(minute=0), "open": [30], "seen": [27], "today": 0.9}
    site.heartbeat(
        "front", fps=14.5, waiting=3, passes=12, events_lost=1, trouble=("hot",), board=board, coverage=coverage, release=4,
        accelerator="edgetpu", at=NOW - timedelta(seconds=2),
    )  # fmt: skip
    site.heartbeat("side", state="offline")
    site.put("/sites/hall", name="Hall", time_zone="UTC")
    site.put("/door-settings/front", site="hall", title='A "quoted" \\ title')
    found = scrape(site)
    wanted: dict[str, Any] = {
        "door_up": 1, "door_last_seen_timestamp_seconds": NOW.timestamp(), "door_fps": 14.5, "door_waiting": 3, "door_missing": 3,
        "door_events_lost": 1, "door_trouble": 1, "door_temperature_celsius": 61.5, "door_coverage_ratio": 0.9,
    }  # fmt: skip
    assert {name: value(found, name, door="front") for name in wanted} == wanted
    assert (value(found, "door_up", door="side"), value(found, "door_coverage_ratio", door="side")) == (0, None)
    assert value(found, "door_info", door="front", site="hall", release="4", accelerator="edgetpu") == 1
    assert value(found, "passes_total", door="front", direction="in", label="with_mask") == 7
    assert value(found, "passes_total", door="front", direction="out", label="without_mask") == 2
    assert value(found, "ingest_lag_seconds") == 1.0  # the median of 2 s and 0 s
    assert value(found, "database_up") == 1


def test_the_service_is_measured(site: Site) -> None:
    site.take("front", "events", b"{not json")  # type: ignore[arg-type]
    with site.engine.begin() as connection:
        writing.write_consumer(connection, "c", connected=True, since=NOW, alive_at=NOW)
        alerts.write_change(connection, Change(What.OPENED, Finding(Kind.CAMERA, "front", bad=True)), BOOT, NOW)
    found = scrape(site)
    assert value(found, "quarantine_messages_total", kind="malformed") == 1
    assert [value(found, "alerts_open", kind=kind) for kind in ("camera", "door_silent")] == [1, 0]
    assert [value(found, name) for name in ("consumer_up", "broker_up")] == [1, 1]


def test_the_sum_of_passes_never_falls_while_days_go_by(site: Site) -> None:
    site.passes("front", 5)
    for days in (0, 20, 31, 32, 33, 34, 60):
        site.now = NOW + timedelta(days=days)
        assert value(scrape(site), "passes_total", door="front", direction="in", label="with_mask") == 5
    site.passes("front", 2)
    assert value(scrape(site), "passes_total", door="front", direction="in", label="with_mask") == 7


def test_a_scrape_costs_a_few_queries_however_many_doors_there_are(site: Site) -> None:
    for number in range(30):
        site.heartbeat(f"door-{number}")
    scrape(site)
    asked: list[str] = []
    event.listen(site.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    found = scrape(site)
    assert len([one for one in asked if "SELECT" in one]) <= 11  # one of them asks who asks
    doors = [key for key in found if ("door", "door-7") in key[1]]
    assert len(doors) <= 20


def test_a_database_that_is_away_is_a_measurement_too(site: Site, tmp_path: Path) -> None:
    with site.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE vitals")
    assert scrape(site) == {("maskfleet_database_up", frozenset()): 0.0}
