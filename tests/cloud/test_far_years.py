"""Rows with years that the wire no longer allows, put in by SQL as earlier versions may have, fail no page and no answer."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from cloud.rules import RetentionRules
from cloud.store.blobs import BlobFolder
from cloud.store.schema import FIRST, LAST, Instant, devices, metadata
from cloud.upkeep.housekeeper import Housekeeper
from cloud.web.access import ROUTES
from tests.cloud.keeping_kit import crop, crop_message
from tests.cloud.site_kit import Site, served

YEARS = {"first": "0001-01-01 00:00:00.000000", "last": "9999-12-31 23:59:59.999999"}
PEOPLES_OWN = {"accounts", "sessions", "invitations", "attempts", "tokens", "audit", "audit_head"}  # nobody sent those


@pytest.fixture(params=["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def site(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Site]:
    with served(engine, tmp_path, time_zone=request.param) as one:
        yield one


def move(engine: Engine, moment: str) -> int:
    """Put `moment` into every time that a door, the consumer or a duty wrote; returns into how many."""
    moved = 0
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, Instant) and table.name not in PEOPLES_OWN:
                zone = "" if engine.dialect.name == "sqlite" else "+00"
                change = text(
                    f'UPDATE {table.name} SET "{column.name}" = \'{moment}{zone}\' WHERE "{column.name}" IS NOT NULL'
                )
                with engine.begin() as connection:
                    moved += connection.execute(change).rowcount
    return moved


@pytest.mark.parametrize("moment", YEARS.values(), ids=YEARS)
def test_no_page_and_no_answer_fails_by_them(site: Site, moment: str, tmp_path: Path) -> None:
    coverage = {"since": site.now.replace(minute=0), "open": [30], "seen": [9], "today": 0.3}
    site.heartbeat("front", coverage=coverage, certificate_ends=site.now, accelerator="edgetpu", events_lost=1)
    site.heartbeat("front", events_lost=2)
    site.passes("front", 1)
    site.report("front")
    site.put("/sites/hall", name="Hall", time_zone="Pacific/Kiritimati")
    site.put("/door-settings/front", site="hall")
    one = crop(site.now)
    site.take("front", "crops", crop_message(one).payload)  # type: ignore[arg-type]
    site.take("front", "events", b"{not json")  # type: ignore[arg-type]
    assert move(site.engine, moment) > 10
    asked = 0
    for route in ROUTES:
        method, path = route.split()
        for name, value in {
            "{name}": "front",
            "{device}": "front",
            "{kind}": "csv",
            "{crop}": str(one.header.id),
        }.items():
            path = path.replace(name, value)
        if method == "GET" and "{" not in path and path not in ("/api/v1/live", "/static/"):
            answer = site.client.get(path)
            assert answer.status_code < 500, (path, answer.status_code, answer.text[:300])
            asked += 1
    assert asked > 25
    Housekeeper(site.engine, BlobFolder(tmp_path / "blobs"), RetentionRules(event_days=60)).turn(
        site.now + timedelta(days=1)
    )


@pytest.mark.parametrize(("moment", "read"), [(YEARS["first"], FIRST), (YEARS["last"], LAST)], ids=YEARS)
def test_they_are_read_as_the_nearest_moment_that_any_zone_can_shift(
    engine: Engine, moment: str, read: datetime
) -> None:
    now = datetime(2026, 5, 4, tzinfo=UTC)
    with engine.begin() as connection:
        connection.execute(devices.insert().values(name="front", first_seen=now, last_seen=now))
    assert move(engine, moment) == 2
    with engine.connect() as connection:
        assert connection.execute(select(devices.c.first_seen)).scalar_one() == read
