"""Counts as files: the same rows in each format, nothing that is a formula, never all of it in memory; and the views."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from cloud.counts.export import COLUMNS, ExportRow, plain, rows
from cloud.counts.periods import Period
from cloud.store.coverage import CoveredHour
from cloud.store.passes import HourRow
from cloud.web.parquet import parquet
from tests.cloud.counts_kit import NOW, Counting

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOON = NOW.replace(minute=0)
SINCE = {"from": "2026-04-30T22:00:00Z"}


@pytest.fixture
def counting(engine: Engine, tmp_path: Path) -> Iterator[Counting]:
    with Counting(engine, tmp_path / "blobs") as found:
        found.passes("front", 18, line="left")
        found.passes("front", 2, line="left", label="without_mask")
        found.passes("front", 19, direction="out", at=NOW - DAY)
        found.passes("side", 1, release=4, at=datetime(2026, 5, 3, 21, 59, tzinfo=UTC))  # 23:59 in Paris
        found.passes("side", 1, release=4, at=datetime(2026, 5, 3, 22, 0, tzinfo=UTC))
        found.cover("quiet", NOON - 2 * HOUR, 60, 30)
        yield found


def read_csv(counting: Counting, **query: Any) -> list[dict[str, str]]:
    answer = counting.client.get("/api/v1/counts.csv", params=SINCE | query)
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_a_csv_has_counts_by_day_door_line_direction_release_and_label(counting: Counting) -> None:
    found = read_csv(counting)
    assert list(found[0]) == list(COLUMNS)
    key = ("day", "door", "line", "direction", "release", "label", "passes", "share")
    assert [tuple(row[name] for name in key) for row in found if row["passes"] != "0" or not row["label"]] == [
        ("2026-05-03", "front", "", "out", "3", "with_mask", "19", ""),
        ("2026-05-03", "side", "", "in", "4", "with_mask", "1", ""),
        ("2026-05-04", "front", "left", "in", "3", "with_mask", "18", "0.9"),
        ("2026-05-04", "front", "left", "in", "3", "without_mask", "2", "0.1"),
        ("2026-05-04", "quiet", "", "", "", "", "0", ""),
        ("2026-05-04", "side", "", "in", "4", "with_mask", "1", ""),
    ]
    quiet = next(row for row in found if row["door"] == "quiet")
    assert (quiet["open_minutes"], quiet["seen_minutes"]) == ("120", "90")


@pytest.mark.parametrize(
    ("by", "starts"),
    [
        ("hour", {"2026-05-03T12:00:00Z", "2026-05-03T21:00:00Z", "2026-05-03T22:00:00Z", "2026-05-04T10:00:00Z", "2026-05-04T11:00:00Z", "2026-05-04T12:00:00Z"}),
        ("week", {"2026-04-30T22:00:00Z", "2026-05-03T22:00:00Z"}),
        ("month", {"2026-04-30T22:00:00Z"}),
    ],
)  # fmt: skip
def test_periods_are_the_sites_and_cut_off_where_the_span_is(counting: Counting, by: str, starts: set[str]) -> None:
    found = read_csv(counting, by=by)
    assert {row["start"] for row in found} == starts
    assert sum(int(row["passes"]) for row in found) == 41
    assert max(row["end"] for row in found) <= "2026-05-04T13:00:00Z"


def test_json_and_parquet_hold_the_same_rows(counting: Counting) -> None:
    plain_rows = read_csv(counting)
    body = json.loads(counting.client.get("/api/v1/counts.json", params=SINCE).content)
    assert (body["by"], body["time_zone"]) == ("day", "Europe/Paris")
    answer = counting.client.get("/api/v1/counts.parquet", params=SINCE)
    assert answer.headers["content-disposition"] == 'attachment; filename="counts-day-20260430-20260504.parquet"'
    table = pq.read_table(io.BytesIO(answer.content))
    assert len(body["rows"]) == table.num_rows == len(plain_rows)
    for number, row in enumerate(table.to_pylist()):
        same = {
            name: value if not isinstance(value, datetime) else value.isoformat().replace("+00:00", "Z")
            for name, value in row.items()
        }
        assert same == body["rows"][number]
        assert {name: "" if value is None else str(value) for name, value in same.items()} == plain_rows[number]
    assert table.schema.metadata[b"time_zone"] == b"Europe/Paris"
    assert b"not corrected" in table.schema.metadata[b"labels"]
    assert str(table.schema.field("start").type) == "timestamp[us, tz=UTC]"
    assert b"null below 20" in table.schema.field("share").metadata[b"about"]


def test_one_door_and_an_empty_span_are_files_too(counting: Counting) -> None:
    assert {row["door"] for row in read_csv(counting, door="side")} == {"side"}
    past = {"from": "2020-01-01T00:00:00Z", "to": "2021-01-01T00:00:00Z"}
    assert counting.client.get("/api/v1/counts.csv", params=past).text == ",".join(COLUMNS) + "\r\n"
    assert counting.client.get("/api/v1/counts.json", params=past).json()["rows"] == []
    empty = counting.client.get("/api/v1/counts.parquet", params=past).content
    assert pq.read_table(io.BytesIO(empty)).num_rows == 0


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("csv", {}), ("xlsx", SINCE), ("csv", SINCE | {"to": "2026-04-01T00:00:00Z"}), ("csv", {"from": "1990-01-01T00:00:00Z"}),
        ("csv", SINCE | {"by": "minute"}), ("csv", SINCE | {"door": "x" * 40}),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused(counting: Counting, path: str, query: dict[str, str]) -> None:
    assert counting.client.get(f"/api/v1/counts.{path}", params=query).status_code == 422


def test_while_the_database_is_away_no_half_file_is_begun(counting: Counting) -> None:
    with counting.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hours RENAME TO elsewhere")
    assert counting.client.get("/api/v1/counts.csv", params=SINCE).status_code == 503


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_no_cell_is_taken_for_a_formula(cell: str) -> None:
    assert plain(cell) == f"'{cell}"
    assert plain("front-door") == "front-door"
    assert plain("") == ""


def years(number: int) -> tuple[Iterator[HourRow], Iterator[CoveredHour], datetime, datetime]:
    """So many years of one door, made while they are read."""
    first = datetime(2020, 1, 1, tzinfo=UTC)
    hours = number * 365 * 24
    passes = (
        HourRow(first + place * HOUR, "front", "", "in", label, 1, 7)
        for place in range(hours)
        for label in ("with_mask", "without_mask")
    )
    looked = (CoveredHour("front", first + place * HOUR, 60, 50, True) for place in range(hours))
    return passes, looked, first, first + hours * HOUR


def test_years_go_through_in_the_memory_of_one_period() -> None:
    def peak(number: int) -> int:
        passes, looked, start, end = years(number)
        tracemalloc.start()
        found = rows(passes, looked, Period.HOUR, ZoneInfo("UTC"), start=start, end=end)
        size = sum(len(part) for part in parquet(found, {"by": "hour"}))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size > 1_000
        return most

    peak(1)
    assert peak(4) < 1.3 * peak(2)


def test_passes_and_coverage_meet_in_their_period_whichever_comes_first() -> None:
    counted = [HourRow(NOON + number * DAY, "a", "", "in", "with_mask", 1, 1) for number in (1, 3)]
    covered = [CoveredHour("b", NOON + number * DAY, 60, 60, True) for number in (0, 1, 2, 4)]
    found = rows(counted, covered, Period.DAY, ZoneInfo("UTC"), start=NOON - DAY, end=NOON + 9 * DAY)
    assert [(one.day[-2:], one.door, one.passes) for one in found if one.label in (None, "with_mask")] == [
        ("04", "b", 0), ("05", "a", 1), ("05", "b", 0), ("06", "b", 0), ("07", "a", 1), ("08", "b", 0),
    ]  # fmt: skip


def test_a_door_that_was_open_and_never_watched_has_no_row() -> None:
    blind = [CoveredHour("a", NOON, 60, 0, True)]
    assert list(rows([], blind, Period.DAY, ZoneInfo("UTC"), start=NOON, end=NOON + DAY)) == []


def test_every_column_has_a_parquet_type() -> None:
    from cloud.web.parquet import FIELDS

    assert tuple(name for name, *_ in FIELDS) == COLUMNS == tuple(ExportRow.__slots__)


def test_the_views_for_other_programs_have_the_columns_that_the_page_promises(counting: Counting) -> None:
    with counting.engine.connect() as connection:
        hourly = connection.execute(
            text(
                "SELECT door, hour, line, direction, label, release, accelerator, passes FROM counts_hourly ORDER BY hour, label"
            )
        ).all()
        covered = connection.execute(
            text("SELECT door, hour, open_minutes, seen_minutes, clock_synchronised FROM coverage_hourly ORDER BY hour")
        ).all()
    assert sum(row.passes for row in hourly) == 41
    assert (hourly[-1].door, hourly[-1].line, hourly[-1].label, hourly[-1].passes) == (
        "front",
        "left",
        "without_mask",
        2,
    )
    assert [(row.door, row.open_minutes, row.seen_minutes) for row in covered] == [("quiet", 60, 60), ("quiet", 60, 30)]


def test_the_documentation_names_every_column_and_every_answer() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "counts.md").read_text()
    view_columns = ("hour", "line", "accelerator", "clock_synchronised", "counts_hourly", "coverage_hourly")
    fields = ("no_face", "cannot_tell", "widened", "releases", "rank", "missing", "known", "unplaced", "unsure_hours")
    assert [
        name for name in (*COLUMNS, *view_columns, *fields) if f"`{name}`" not in page and f"`{name}." not in page
    ] == []
