"""Cameras that fail: what the door says of it, and that nothing waits longer than it says."""

import ctypes
import logging
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.vision.camera import Camera, Clip, PacedClip, open_camera
from agent.vision.capture import NetworkSource
from agent.vision.frame import Frame
from agent.vision.live import HANG_S, Due, LiveCamera
from agent.vision.watch import FROZEN, FROZEN_LOOKS, FROZEN_S, STALL_S, STALLED, Watch
from contract.errors import ContractError
from rehearsal.processes import free_port, wait_until
from tests.faults.rtsp import NetworkCamera

WAIT_S = 8.0  # 3 s that OpenCV is given instead of its own 30, and what a busy machine adds
DRIVER = """
#include <unistd.h>
/* The parent of a vfork sleeps uninterruptibly, as in a driver that does not answer, until the child is gone. */
int wait_in_driver(int seconds) { if (vfork() == 0) { sleep(seconds); _exit(0); } return 0; }
"""


@contextmanager
def looking(camera: Camera) -> Iterator[list[Frame]]:
    """The frames that the camera gives to a thread that takes them."""
    seen: list[Frame] = []
    reader = threading.Thread(target=lambda: seen.extend(camera.frames()), daemon=True)
    reader.start()
    yield seen
    begun = time.monotonic()
    camera.close()
    reader.join(10)
    assert not reader.is_alive()
    assert time.monotonic() - begun < WAIT_S + 1
    times = [frame.at_s for frame in seen]
    assert times == sorted(set(times))


def test_a_network_camera_that_accepts_and_says_nothing_is_in_trouble_within_three_seconds() -> None:
    """[88]"""
    with NetworkCamera(speaks=False) as silent:
        camera = open_camera(silent.address)
        with looking(camera) as seen:
            wait_until(lambda: camera.trouble is not None, within_s=WAIT_S, what="the trouble")
            assert (
                camera.trouble == "the camera at 127.0.0.1 does not answer: is it on, are address and password right?"
            )
            wait_until(lambda: silent.callers > 1, within_s=WAIT_S, what="the next try")
        assert seen == []


def test_a_network_camera_that_is_not_there_is_tried_again_and_seen_when_it_comes() -> None:
    """[88]"""
    port = free_port()
    camera = open_camera(f"rtsp://127.0.0.1:{port}/stream")
    with looking(camera) as seen:
        wait_until(lambda: camera.trouble is not None, within_s=WAIT_S, what="the trouble")
        with NetworkCamera(port=port):
            wait_until(lambda: len(seen) > 5, within_s=20, what="frames")
            assert camera.trouble is None
            assert seen[0].pixels.shape == (96, 128, 3)


def test_a_network_camera_that_hangs_up_in_mid_stream_is_called_again() -> None:
    """[88]"""
    with NetworkCamera(frames=25, then="hang up") as fickle:
        camera = open_camera(fickle.address)
        with looking(camera) as seen:
            wait_until(lambda: camera.trouble is not None, within_s=15, what="the trouble")
            assert "stopped sending" in (camera.trouble or "")
            wait_until(lambda: fickle.callers >= 3 and camera.trouble is None, within_s=20, what="its return")
        assert len(seen) > 5


def test_a_network_camera_that_falls_silent_in_mid_stream_is_called_again() -> None:
    """[88]"""
    with NetworkCamera(frames=25, then="fall silent") as silent:
        camera = open_camera(silent.address)
        with looking(camera) as seen:
            wait_until(lambda: len(seen) > 3, within_s=15, what="frames")
            wait_until(lambda: camera.trouble is not None, within_s=2 + WAIT_S, what="the trouble")
            wait_until(lambda: silent.callers >= 2 and camera.trouble is None, within_s=15, what="its return")


def test_a_slow_look_drops_frames_and_does_not_make_them_late() -> None:
    """[88]"""
    with NetworkCamera(fps=20) as steady:
        camera = open_camera(steady.address, fps=30)
        ages = []
        for frame in camera.frames():
            ages.append(time.monotonic() - frame.at_s)
            time.sleep(0.3)
            if len(ages) == 8:
                camera.close()
        assert camera.dropped > 20
        assert max(ages[2:]) < 1.0  # of frames in a row the eighth would be 1.75 s old


def test_the_password_of_a_camera_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """[88] What is said of a camera travels to the cloud and into logs."""
    with caplog.at_level(logging.DEBUG), NetworkCamera(speaks=False) as silent:
        camera = open_camera(silent.address)
        with looking(camera):
            wait_until(lambda: camera.trouble is not None, within_s=WAIT_S, what="the trouble")
            assert "pass" not in (camera.trouble or "").replace("password", "")
    assert "word@" not in caplog.text
    assert "door:" not in caplog.text


def test_a_device_number_that_does_not_exist_is_waited_for() -> None:
    """[88]"""
    camera = open_camera("97")
    with looking(camera) as seen:
        wait_until(lambda: camera.trouble is not None, within_s=WAIT_S, what="the trouble")
        assert camera.trouble == "the USB camera 97 is not plugged in: there is no /dev/video97"
    assert seen == []


def test_a_file_that_ends_ends_a_clip_and_is_begun_again_by_a_live_camera(tmp_path: Path) -> None:
    """[88]"""
    clip = drawn_clip(tmp_path / "clip.mp4", frames=10)
    played = open_camera(str(clip), fps=30)
    assert isinstance(played, PacedClip)
    assert len(list(played.frames())) + played.dropped == 10
    camera = LiveCamera(NetworkSource(str(clip)), fps=1000)
    with looking(camera) as seen:
        wait_until(lambda: camera.trouble is not None, within_s=WAIT_S, what="the trouble")
        assert camera.trouble == "the network camera stopped sending"
        wait_until(lambda: len(seen) + camera.dropped > 15, within_s=15, what="its return")


@pytest.mark.parametrize("damage", ["cut", "zeroed"])
def test_a_clip_that_does_not_decode_is_refused_or_ends_early(tmp_path: Path, damage: str) -> None:
    """[88]"""
    path = drawn_clip(tmp_path / "clip.avi", frames=200)
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(whole[:half] if damage == "cut" else whole[:half] + bytes(len(whole) - half))
    assert 10 < len(list(Clip(path).frames())) < 200
    path.write_bytes(whole[:200])
    with pytest.raises(ContractError, match="convert it"):
        Clip(path)


def test_a_camera_whose_driver_hangs_uninterruptibly_stops_nobody_but_its_reader(tmp_path: Path) -> None:
    """[89] The reader is really in state D; only a restart of the computer would help a real one, and that is said."""
    source, library = tmp_path / "driver.c", tmp_path / "driver.so"
    source.write_text(DRIVER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", library, source], check=True)
    driver = ctypes.CDLL(str(library))
    readers: list[int] = []

    class Hanging:
        name = "the camera"

        def frames(self, due: Due) -> Generator[Frame, None, None]:
            readers.append(threading.get_native_id())
            yield Frame(np.zeros((6, 8, 3), np.uint8), time.monotonic())
            driver.wait_in_driver(8)

    ahead = 0.0
    camera = LiveCamera(Hanging(), fps=15, clock=lambda: time.monotonic() + ahead)
    frames = camera.frames()
    next(frames)
    wait_until(lambda: state(readers[0]) == "D", within_s=20, what="state D")
    assert camera.trouble is None
    ahead = HANG_S
    assert camera.trouble == "a call to the camera does not come back; if this stays, restart the door's computer"
    begun = time.monotonic()
    frames.close()
    assert time.monotonic() - begun < 6
    assert state(readers[0]) == "D"
    wait_until(lambda: not camera._reader.is_alive(), within_s=10, what="the driver's answer")


def test_a_camera_that_sends_nothing_for_five_seconds_has_stalled_until_the_next_frame() -> None:
    """[88]"""
    watch = Watch(100.0)
    assert watch.trouble(100 + STALL_S) == []
    assert watch.trouble(100.1 + STALL_S) == [STALLED]
    watch.see(np.full((48, 64, 3), 99, np.uint8), 106.0)
    assert watch.trouble(120.0) == []  # a slow look at one frame is not the camera's fault
    watch.wait(120.0)
    assert watch.trouble(124.9) == []
    assert watch.trouble(125.1) == [STALLED]


def test_a_picture_that_stays_the_same_to_the_last_bit_is_frozen_until_it_changes() -> None:
    """[90]"""
    rng = np.random.default_rng(1)
    still = rng.integers(0, 255, (480, 640, 3), np.uint8)
    watch, at_s = Watch(0.0), 0.0
    for number in range(400):
        at_s += 1 / 15
        watch.see(still, at_s)
        watch.wait(at_s)
        assert (watch.trouble(at_s) == [FROZEN]) == (number >= FROZEN_LOOKS and number / 15 > FROZEN_S + 1e-6)
    noisy = still.copy()
    noisy[::16, ::16] += 1
    watch.see(noisy, at_s)
    assert watch.trouble(at_s) == []


def drawn_clip(path: Path, *, frames: int) -> Path:
    code = "mp4v" if path.suffix == ".mp4" else "MJPG"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 20.0, (160, 120))
    for index in range(frames):
        writer.write(np.full((120, 160, 3), 10 + 240 * index // frames, np.uint8))
    writer.release()
    return path


def state(thread: int) -> str:
    """The kernel's letter for what a thread of this process does."""
    try:
        return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
