"""Faults of the machine under the agent: supply, heat, a dead pipeline."""

from itertools import pairwise
from pathlib import Path

import pytest

from agent.health.heat import Heat, Pace, heat_after
from agent.health.pulse import Ages, standstill
from tests.faults.health_kit import Machine

FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"


def test_under_voltage_and_throttling_are_told_while_they_last_and_after(tmp_path: Path) -> None:
    """Fault 91."""
    with Machine(tmp_path) as machine:
        machine.write(FLAGS, "0\n")
        machine.run(11)
        assert (machine.steward.board.under_voltage, machine.steward.trouble()) == (False, [])
        machine.write(FLAGS, "50005\n")
        machine.run(11)
        board = machine.steward.board
        assert (board.under_voltage, board.throttled) == (True, True)
        weak, slow = machine.steward.trouble()
        assert weak.startswith("under-voltage: the supply is too weak")
        assert slow.startswith("the processor is slowed down")
        machine.write(FLAGS, "50000\n")
        machine.run(11)
        assert (machine.steward.board.under_voltage, machine.steward.board.under_voltage_since_boot) == (False, True)
        assert machine.steward.trouble() == [
            "under-voltage since the machine booted: the supply is too weak at times"
        ]  # fmt: skip


def test_at_75_degrees_it_is_slower_at_85_the_accelerator_rests_and_cool_again_all_is_as_before(tmp_path: Path) -> None:
    """Fault 92."""
    with Machine(tmp_path) as machine:
        steward = machine.steward
        for celsius, fps, accelerator in (
            (74.9, None, True), (75.0, 8.0, True), (84.9, 8.0, True), (85.0, 5.0, False), (81.0, 5.0, False),
            (79.9, 8.0, True), (71.0, 8.0, True), (69.9, None, True),
        ):  # fmt: skip
            machine.heat(celsius)
            machine.run(11)
            assert (steward.pace.fps, steward.accelerator_allowed) == (fps, accelerator), celsius
            assert any("frames a second until it is cooler" in line for line in steward.trouble()) == (fps is not None)


@pytest.mark.parametrize("before", list(Heat))
def test_a_sensor_that_says_nothing_slows_nothing_down(before: Heat) -> None:
    """Fault 92."""
    assert heat_after(before, None) is Heat.WELL


@pytest.mark.parametrize(
    ("fps", "camera_fps", "looked"), [(None, 15, 900), (8.0, 15, 480), (5.0, 30, 300), (8.0, 6, 360)]
)
def test_a_hot_door_looks_at_evenly_fewer_frames(fps: float | None, camera_fps: int, looked: int) -> None:
    """Fault 92."""
    pace = Pace()
    pace.fps = fps
    times = [number / camera_fps for number in range(60 * camera_fps)]
    taken = [at for at in times if pace.take(at)]
    assert len(taken) == pytest.approx(looked, rel=0.02)
    assert max(b - a for a, b in pairwise(taken)) < 2.1 / (fps or camera_fps) + 1e-6
    assert [at for at in (100.0, 100.001, 100.002) if pace.take(at)] == ([100.0] if fps else [100.0, 100.001, 100.002])


def test_an_agent_whose_model_hangs_gives_no_ping_though_its_main_thread_lives(tmp_path: Path) -> None:
    """Fault 94."""
    with Machine(tmp_path) as machine:
        assert machine.run(30).count("WATCHDOG=1") == 30
        assert machine.run(10, model=False).count("WATCHDOG=1") == 10
        heard = machine.run(60, model=False)
        assert "WATCHDOG=1" not in heard
        assert any(line.startswith("STATUS=the model looks at one frame since") for line in heard)
        assert machine.steward.trouble()[0].startswith("the model looks at one frame since")
        assert machine.run(10).count("WATCHDOG=1") == 10


def test_an_agent_whose_camera_says_nothing_and_gives_nothing_gives_no_ping(tmp_path: Path) -> None:
    """Fault 94."""
    with Machine(tmp_path) as machine:
        machine.run(30)
        machine.run(10, camera=False)
        assert "WATCHDOG=1" not in machine.run(60, camera=False)


def test_an_agent_whose_passes_do_not_reach_the_disk_gives_no_ping(tmp_path: Path) -> None:
    """Fault 94."""
    with Machine(tmp_path) as machine:
        machine.run(30)
        machine.uncommitted_s = 11.0
        assert "WATCHDOG=1" not in machine.run(30)


def test_a_camera_that_says_what_is_wrong_is_no_restart_loop(tmp_path: Path) -> None:
    """Fault 94: the start is over, and the watchdog is fed, while the camera is tried again."""
    with Machine(tmp_path) as machine:
        assert "READY=1" not in machine.run(3, camera=False)
        machine.trouble = "camera 0 does not answer"
        heard = machine.run(120, camera=False)
        assert heard.count("READY=1") == 1
        assert heard.count("WATCHDOG=1") == 120
        assert "STATUS=camera 0 does not answer" in heard


@pytest.mark.parametrize(
    ("ages", "said"),
    [
        (Ages(0.1, 0.1, 0.0, 0.0), ""),
        (Ages(10.1, 0.1, 0.0, 0.0), "no frame"),
        (Ages(0.1, 10.1, 0.0, 0.0), "not answered"),
        (Ages(0.1, 0.1, 10.1, 0.0), "one frame"),
        (Ages(0.1, 0.1, 0.0, 10.1), "the disk"),
        (Ages(99.0, 99.0, 0.0, 0.0, "it does not answer"), ""),
        (Ages(99.0, 99.0, 99.0, 0.0, "it does not answer"), "one frame"),
        (Ages(99.0, 99.0, 0.0, 99.0, "it does not answer"), "the disk"),
    ],
)
def test_one_part_that_stands_still_is_a_standstill(ages: Ages, said: str) -> None:
    """Fault 94."""
    assert (said in standstill(ages)) if said else not standstill(ages)
