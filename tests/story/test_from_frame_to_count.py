"""The whole corridor, with real processes: drawn people in front of a door become counts behind the cloud's API."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rehearsal.demo import summary, tallies, true_counts
from rehearsal.house import Doorway, House
from rehearsal.processes import wait_until
from rehearsal.scene import LINES, Kind, Scene, truth_path, write_clip
from tests.zones import afternoon

PEOPLE = 7


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "door.mp4"
    write_clip(Scene("passage", seed=61, people=PEOPLE, gap_s=1.2), path)
    return path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", cloud_settings=f'time_zone = "{afternoon()}"\n')
    yield house
    house.stop()


def replay(clip: Path, line: tuple[float, float, float, float]) -> dict[str, Any]:
    command = [sys.executable, "-m", "agent", "replay", clip, "--line", ",".join(map(str, line)), "--json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, timeout=280)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["summary"]
    return found


def totals(door: dict[str, Any]) -> dict[str, Any]:
    today = door["today"]
    return {
        "in": today["in"],
        "out": today["out"],
        "by_label": {one["label"]: one["passes"] for one in today["labels"]},
    }


def goodbye(house: House) -> dict[str, Any]:
    """The only door as the cloud knows it once its goodbye has arrived."""
    wait_until(lambda: house.overview()[0]["state"] == "offline", within_s=20, what="the door's goodbye")
    return house.overview()[0]


def finished(house: House, names: set[str]) -> bool:
    return all(not house.doors[name].running for name in names)


def test_from_frame_to_count(house: House, clip: Path) -> None:
    door = Doorway("door-1", clip, LINES["passage"], loop=False)
    expected = replay(clip, door.line)
    assert expected["in"] + expected["out"] >= 4
    began = datetime.now(UTC)
    house.broker.start()
    house.start_cloud()
    house.start_door(door)
    wait_until(lambda: finished(house, {"door-1"}), within_s=180, what="the clip's end")
    assert house.doors["door-1"].process.returncode == 0
    told = goodbye(house)
    assert totals(told) == {key: expected[key] for key in ("in", "out", "by_label")}
    assert told["waiting"] == told["missing"] == 0
    truth = true_counts(clip, expected["frames"])
    another_day = {**told, "today": None}  # the table is of the whole demo, over midnight too
    assert f"{expected['in']}/{truth['in']}" in summary([door], [another_day], tallies(house, began))


def test_kills_of_every_part_lose_nothing_and_double_nothing(house: House, clip: Path) -> None:
    """[32, 35, 36, 38] The cloud, the broker and the agent are each killed in the middle; no pass is lost or doubled.

    A killed agent starts over with its clip; what it had committed before is counted besides.
    """
    door = Doorway("door-1", clip, LINES["passage"], loop=False)
    once = replay(clip, door.line)
    house.broker.start()
    house.start_cloud()
    house.start_door(door)

    def passes() -> int:
        doors = house.overview()
        return int(doors[0]["today"]["passes"]) if doors else 0

    wait_until(lambda: passes() >= 1, within_s=60, what="the first pass")
    assert house.cloud
    house.cloud.kill()
    house.start_cloud()
    house.broker.kill()
    house.broker.start()
    wait_until(lambda: passes() >= 2, within_s=60, what="passes coming again")
    house.doors["door-1"].kill()
    before = committed(house, "door-1")
    house.start_door(door)
    wait_until(lambda: finished(house, {"door-1"}), within_s=180, what="the clip's end")
    wait_until(lambda: house.overview()[0]["waiting"] == 0, within_s=30, what="the outbox emptying")
    counted = totals(house.overview()[0])
    assert counted["in"] + counted["out"] == once["in"] + once["out"] + before
    assert before >= 2
    assert house.overview()[0]["missing"] <= 2  # what was counted in the second before the kill was not yet committed


def test_without_a_broker_the_door_counts_and_delivers_later(house: House, clip: Path) -> None:
    """[96] No network at all: counting goes on, the outbox holds, and the next start delivers what the first one counted."""
    door = Doorway("door-1", clip, LINES["passage"], loop=False)
    once = replay(clip, door.line)
    house.start_door(door)
    wait_until(lambda: finished(house, {"door-1"}), within_s=180, what="the clip's end")
    assert house.doors["door-1"].process.returncode == 0
    assert committed(house, "door-1") == once["in"] + once["out"]
    house.broker.start()
    house.start_cloud()
    house.start_door(door)
    wait_until(lambda: finished(house, {"door-1"}), within_s=180, what="the second turn's end")
    told = goodbye(house)
    assert totals(told)["in"] == 2 * once["in"]
    assert totals(told)["by_label"] == {label: 2 * number for label, number in once["by_label"].items()}
    assert told["missing"] == 0


def committed(house: House, name: str) -> int:
    """What a killed agent had safely told somebody: stored by the cloud, or still in its outbox."""
    events = house.folder / name / "events.db"
    with sqlite3.connect(f"file:{events}?mode=ro", uri=True) as database:
        waiting = {row[0] for row in database.execute("SELECT id FROM letters")}
    database.close()
    cloud = house.folder / "cloud" / "maskfleet.sqlite"
    if not cloud.exists():
        return len(waiting)
    with sqlite3.connect(cloud) as stored:
        known = {bytes.fromhex(row[0].replace("-", "")) for row in stored.execute("SELECT id FROM events")}
    stored.close()
    return len(known | waiting)


@pytest.mark.parametrize(("kind", "seed"), [("passage", 71), ("entrance", 72)])
def test_drawn_passes_are_counted_within_five_percent(tmp_path: Path, kind: Kind, seed: int) -> None:
    path = tmp_path / "scene.mp4"
    write_clip(Scene(kind, seed=seed, people=40), path)
    found = replay(path, LINES[kind])
    truth = Counter(
        key for one in json.loads(truth_path(path).read_text())["passes"] for key in (one["direction"], one["label"])
    )
    people = truth["in"] + truth["out"]
    assert people >= 24
    for way in ("in", "out"):
        assert abs(found[way] - truth[way]) <= max(1, 0.05 * truth[way]), (way, found, truth)
    off = sum(abs(number - truth[label]) for label, number in found["by_label"].items()) / 2
    assert off <= 0.16 * people, (found, truth)


def test_an_agent_asked_to_stop_delivers_and_ends_with_zero(house: House, clip: Path) -> None:
    """[95] SIGTERM in the middle: what was counted is delivered first."""
    house.broker.start()
    house.start_cloud()
    house.start_door(Doorway("door-1", clip, LINES["passage"]))
    house.wait_online()
    wait_until(lambda: house.overview()[0]["today"]["passes"] >= 1, within_s=60, what="the first pass")
    agent = house.doors["door-1"]
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(15) == 0
    told = goodbye(house)
    assert (told["waiting"], told["missing"]) == (0, 0)
