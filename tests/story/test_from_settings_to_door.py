"""An operator draws a line: the door counts there, says so, and refuses what makes no sense to it; all of it by mutual TLS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.store.database import open_database
from cloud.web.roles import Role
from rehearsal.house import Doorway, House
from rehearsal.processes import wait_until
from rehearsal.scene import LINES, Scene, write_clip
from tests.cloud.people_kit import person_headers
from tests.zones import afternoon

NOBODY = (0.0, 0.98, 1.0, 0.98)  # the people of the clip walk across, and far above
HALL = {"name": "Hall", "week": ["08:00-18:00"] * 7}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", cloud_settings=f'time_zone = "{afternoon()}"\n')
    house.broker.start()
    house.start_cloud()
    write_clip(Scene("passage", seed=61, people=3, gap_s=1.0), tmp_path / "door.mp4")
    house.start_door(Doorway("front", tmp_path / "door.mp4", NOBODY))
    house.wait_online()
    yield house
    house.stop()


def put(house: House, path: str, **body: Any) -> None:
    engine = open_database(f"sqlite:///{house.folder / 'cloud' / 'maskfleet.sqlite'}")
    operator = person_headers(engine, house.page, "Olga", Role.OPERATOR)
    engine.dispose()
    answer = httpx.put(f"{house.page}api/v1/{path}", json=body, headers=operator, timeout=30)
    assert answer.status_code == 200, answer.text


def stage(house: House) -> str:
    (door,) = house.ask("door-settings")
    return str(door["stage"])


def test_a_line_drawn_in_the_cloud_is_where_the_door_counts(house: House) -> None:
    assert stage(house) == "none"
    put(house, "sites/hall", **HALL, time_zone=afternoon())
    put(house, "door-settings/front", title="Front door", site="hall", lines=[{"line": list(LINES["passage"])}])
    wait_until(lambda: stage(house) == "taken", within_s=30, what="the door taking the line")
    wait_until(lambda: house.overview()[0]["today"]["passes"] > 0, within_s=60, what="a pass at the new line")
    (door,) = house.overview()
    assert (door["title"], door["site"]) == ("Front door", "hall")
    reader = {"Authorization": f"Bearer {house.token('prometheus', 'metrics')}"}
    metrics = httpx.get(f"{house.page}metrics", headers=reader, timeout=30).text
    assert 'maskfleet_door_up{door="front"} 1.0' in metrics
    house.doors["front"].stop()
    house.start_door(Doorway("front", house.folder.parent / "door.mp4", NOBODY))
    before = house.overview()[0]["today"]["passes"]
    wait_until(
        lambda: house.overview()[0]["today"]["passes"] > before, within_s=60, what="passes there after a restart"
    )
    house.require_running()
