"""Pages and answers read hour counts, never one row a pass: their cost does not grow with the number of passes."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from bench.filling import fill, fill_fleet
from bench.reading import FLEET_PAGES, Reader, measure
from contract.dataset import Answer
from contract.labels import Label
from tests.cloud.counts_kit import NOW, Counting

WEEK_AGO = (NOW - timedelta(days=7)).isoformat()


@pytest.fixture
def counting(engine: Engine, tmp_path: Path) -> Iterator[Counting]:
    with Counting(engine, tmp_path / "blobs") as served:
        served.passes("front", 30)
        served.cover("front", NOW.replace(minute=0), 30)
        served.control("front", Label.WITH_MASK, Answer.WITH_MASK, 30)
        yield served


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?span=28d",
        "/doors/front",
        "/api/v1/doors",
        "/api/v1/counts?by=door_hour",
        "/api/v1/compliance?by=day",
        f"/api/v1/counts.csv?from={WEEK_AGO.replace('+', '%2B')}",
    ],
)
def test_no_answer_reads_the_passes_themselves(counting: Counting, path: str) -> None:
    said: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    with counting.person() as reader:
        event.listen(counting.engine, "before_cursor_execute", listen)
        assert reader.get(path).status_code == 200
    event.remove(counting.engine, "before_cursor_execute", listen)
    assert any("hours" in statement for statement in said)
    assert not [statement for statement in said if " events" in statement]


def test_the_bench_fills_what_it_says_and_measures_every_page(engine: Engine, tmp_path: Path) -> None:
    filled = fill(engine, 1)
    assert filled.events == pytest.approx(25_000, rel=0.7)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one() == filled.events
        assert connection.exec_driver_sql("SELECT sum(passes) FROM hours").scalar_one() == filled.events
    found = measure([Reader(engine, str(tmp_path))], rounds=2, say=lambda _: None)
    assert all(cost.p95 > 0 and cost.cpu > 0 for (cost,) in found.values())


def test_the_bench_fills_a_large_fleet_with_sites(engine: Engine, tmp_path: Path) -> None:
    fill_fleet(engine, 60)
    found = measure([Reader(engine, str(tmp_path))], FLEET_PAGES, rounds=1, say=lambda _: None)
    assert len(found) == len(FLEET_PAGES)
