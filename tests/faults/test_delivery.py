"""What goes wrong between a door and the database, with a real broker and the real consumer."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from agent.clock import Reading, Stamp, since_kernel_start
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.report import Reporter
from agent.vision.counter import Crossing
from contract.events import Accelerator, Direction
from contract.labels import Label
from rehearsal.killing import Scene, kill_again_and_again
from rehearsal.processes import wait_until

BACKLOG = 1500


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path / "scene")
    yield opened
    opened.stop()


def letters(number: int) -> list[Letter]:
    reporter = Reporter(
        boot=uuid4(), release=lambda _at_s: 4, accelerator=lambda _: Accelerator.CPU, resolution_s=60,
        read=lambda: Reading(datetime.now(UTC), Stamp(UUID(int=1), 1.0), trusted=True),
    )  # fmt: skip
    events = [reporter.event(Crossing(1.0, Direction.IN, Label.WITH_MASK, 0.9))[0] for _ in range(number)]
    return [Letter(event.id, event.encode()) for event in events]


def fill(scene: Scene, waiting: list[Letter]) -> set[str]:
    box = Outbox.open(scene.folder / "outbox", cap_bytes=10**8)
    assert box.put_events(waiting) == 0
    box.close()
    return {one.id.hex for one in waiting}


def emptied(scene: Scene, within_s: float = 60) -> None:
    """A door that counts nothing ends when its outbox is empty."""
    door = scene.start_door(rate=0, drain_per_s=2000)
    wait_until(lambda: not door.running, within_s=within_s, what="the outbox emptying")
    assert door.process.returncode == 0


def test_a_door_killed_a_dozen_times_loses_nothing_it_had_stored_and_doubles_nothing(scene: Scene) -> None:
    """[32] [35] [36] [38] The broker and the consumer are killed in between; 200 kills by `python -m bench.delivery kills`."""
    toll = kill_again_and_again(scene, kills=12, rate=100, rng=Random(3))
    assert (toll.lost, toll.invented) == (0, 0)
    assert toll.rows == toll.tallied >= toll.stored
    assert toll.stored > 200


def test_while_a_back_log_drains_at_its_rate_what_is_counted_now_goes_first(scene: Scene) -> None:
    """[47]"""
    old = fill(scene, letters(BACKLOG))
    scene.broker.start()
    scene.start_cloud()
    wait_until(lambda: "connected to" in scene.log("cloud"), within_s=60, what="the consumer")
    scene.start_door(rate=2, drain_per_s=40)
    wait_until(lambda: bool(old & scene.stored().keys()), within_s=60, what="the drain's beginning")
    begun = time.monotonic()
    wait_until(lambda: len(scene.diary("stored") & scene.stored().keys()) >= 6, within_s=30, what="six live events")
    drained = len(old & scene.stored().keys())
    assert drained < BACKLOG / 2
    assert drained <= 40 * (time.monotonic() - begun + 3)


def test_a_poison_event_is_refused_once_kept_aside_and_holds_nobody_up(scene: Scene) -> None:
    """[48]"""
    good = letters(5)
    bad = [Letter(uuid4(), b"") for _ in range(2)]
    for number, one in enumerate(bad):
        fields = json.loads(good[0].payload) | {
            "id": str(one.id),
            ("label", "confidence")[number]: ("no such", 7)[number],
        }
        bad[number] = Letter(one.id, json.dumps(fields).encode())
    kept = fill(scene, [good[0], bad[0], *good[1:3], bad[1], *good[3:]]) - {one.id.hex for one in bad}
    scene.broker.start()
    scene.start_cloud()
    emptied(scene)
    assert scene.stored().keys() == kept
    box = Outbox.open(scene.folder / "outbox", cap_bytes=10**8)
    refused = {known: reason.split(":")[0] for known, reason in box.refused()}
    assert refused == {bad[0].id: "label", bad[1].id: "confidence"}
    box.close()


def test_what_was_sent_before_anybody_ever_listened_is_sent_again(scene: Scene) -> None:
    """[39] The broker takes it and throws it away, since no consumer has ever subscribed."""
    sent = fill(scene, letters(30))
    scene.broker.start()
    door = scene.start_door(rate=0)
    wait_until(lambda: "connected to the broker" in scene.log("door"), within_s=30, what="the connection")
    time.sleep(1.5)
    scene.start_cloud()
    wait_until(lambda: not door.running, within_s=60, what="the outbox emptying")
    assert scene.stored().keys() == sent


def test_a_door_that_woke_up_in_1970_and_never_learnt_the_time_is_counted_today_and_flagged(scene: Scene) -> None:
    """[22] for passes, [79]: they are counted all the same, and nobody takes their day for certain."""
    long_ago = Reading(datetime(1970, 1, 1, 0, 7, tzinfo=UTC), Stamp(UUID(int=1), 420.0), trusted=False)
    reporter = Reporter(
        boot=uuid4(),
        release=lambda _at_s: 4,
        accelerator=lambda _: Accelerator.CPU,
        resolution_s=60,
        read=lambda: long_ago,
    )
    pairs = [reporter.event(Crossing(1.0, Direction.IN, Label.WITH_MASK, 0.9, age_s=1.5)) for _ in range(3)]
    fill(scene, [Letter(event.id, event.encode(), stamp=stamp) for event, stamp in pairs])
    scene.broker.start()
    scene.start_cloud()
    emptied(scene)
    assert [sure for _, sure in scene.times()] == [False] * 3
    now = datetime.now(UTC)
    boot = timedelta(seconds=since_kernel_start())  # where NTP answers, they are put before this boot of the machine
    assert all(timedelta(minutes=-1) <= now - at <= boot + timedelta(minutes=5) for at, _ in scene.times())
