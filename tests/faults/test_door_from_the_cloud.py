"""What the cloud says of a door's lines, obeyed while people walk; and what makes no sense, refused with its reason."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.fleet import Desired, DoorLine, DoorPlan, OpeningPlan
from rehearsal.processes import Child, Mosquitto, wait_until
from rehearsal.scene import LINES, Scene, write_clip
from tests.agent.release_kit import DEVICE, Cloud

NOBODY = "[0.0, 0.98, 1.0, 0.98]"  # the people of the clip walk across, and far above
HALL = DoorPlan(lines=(DoorLine(name="hall", line=LINES["passage"]),))


@pytest.fixture
def cloud(broker: Mosquitto) -> Iterator[Cloud]:
    end = Cloud(broker.port)
    yield end
    end.close()


@pytest.fixture
def door(tmp_path: Path, broker: Mosquitto, cloud: Cloud) -> Iterator[Child]:
    """`agent run`, counting where nobody walks."""
    clip, config = tmp_path / "door.mp4", tmp_path / "door.toml"
    write_clip(Scene("passage", seed=61, people=3, gap_s=1.0), clip)
    config.write_text(
        f'device = "{DEVICE}"\n[camera]\nsource = "{clip}"\nloop = true\n[door]\nline = {NOBODY}\n'
        f'[broker]\nurl = "{broker.url}"\nheartbeat_s = 1\n[outbox]\nfolder = "{tmp_path / "outbox"}"\nclock_wait_s = 0\n'
    )
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"}
    command: list[str | Path] = [sys.executable, "-m", "agent", "run", "--config", config]
    child = Child("door", command, log=tmp_path / "door.log", env=env)
    wait_until(lambda: bool(cloud.reports), within_s=30, what="the door's first report")
    yield child
    child.stop()


def told(cloud: Cloud, number: int) -> bool:
    return cloud.last is not None and cloud.last.number == number


def test_config_from_the_cloud_invalid(cloud: Cloud, door: Child) -> None:
    """A line without length, a zone that leaves it out, a wrong shape: reported with the reason, and the last good one counts."""
    cloud.say(Desired(device=DEVICE, number=1, release=0, door=HALL).encode())
    wait_until(lambda: told(cloud, 1), within_s=20, what="the report of the good one")
    assert cloud.last and cloud.last.reason == ""
    wait_until(lambda: bool(cloud.events), within_s=60, what="a pass at the cloud's line")
    for number, wrong, why in (
        (2, {"lines": [{"line": [0.5, 0.5, 0.5, 0.5]}]}, "two different points"),
        (3, {"lines": [{"line": [0, 0.9, 1, 0.9]}], "zone": [[0, 0], [1, 0], [1, 0.5]]}, "outside the zone"),
        (4, "everywhere", "door"),
    ):
        cloud.say(
            json.dumps({"schema_version": 1, "device": DEVICE, "number": number, "release": 0, "door": wrong}).encode()
        )
        wait_until(lambda number=number: told(cloud, number), within_s=20, what=f"the report of {wrong}")  # type: ignore[misc]
        assert cloud.last.reason.startswith("door refused: ")
        assert why in cloud.last.reason
    before = len(cloud.events)
    wait_until(lambda: len(cloud.events) > before + 1, within_s=60, what="passes after the refusals")
    assert {one["line"] for one in cloud.events} == {"hall"}
    cloud.say(Desired(device=DEVICE, number=5, release=0).encode())
    wait_until(lambda: told(cloud, 5), within_s=20, what="the way back")
    assert cloud.last.reason == ""
    assert (
        "as the settings say" in door.log.read_text().splitlines()[-1] or "as the settings say" in door.log.read_text()
    )
    door.require_running()


def test_opening_hours_from_the_cloud_invalid(cloud: Cloud, door: Child) -> None:
    """A zone that nobody knows is refused alone: the lines beside it are taken, and it counts on."""
    hours = {"time_zone": "Mars/Base", "open": ["daily 08:00-20:00"]}
    base = {"schema_version": 1, "device": DEVICE, "number": 1, "release": 0, "door": HALL.model_dump(mode="json")}
    cloud.say(json.dumps({**base, "opening": hours}).encode())
    wait_until(lambda: told(cloud, 1), within_s=20, what="the report of the refusal")
    assert cloud.last
    assert cloud.last.reason.startswith("opening refused: no time zone 'Mars/Base' here")
    wait_until(lambda: bool(cloud.events), within_s=60, what="a pass at the cloud's line")
    right = OpeningPlan(time_zone="Europe/Paris", open=("daily 08:00-20:00",))
    cloud.say(Desired(device=DEVICE, number=2, release=0, door=HALL, opening=right).encode())
    wait_until(lambda: told(cloud, 2), within_s=20, what="the report of the right one")
    assert cloud.last.reason == ""
    door.require_running()
