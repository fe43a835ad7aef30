"""There is no USB camera here: a stand-in for OpenCV's capture behaves like a driver, over a real folder of device files."""

import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.vision.capture import UNDECODED, UsbSource
from contract.errors import TryAgainError


class Plugs:
    """A /dev in which cameras can be plugged in and out."""

    def __init__(self, folder: Path) -> None:
        self.dev = folder
        (folder / "v4l" / "by-id").mkdir(parents=True)
        self.opened: list[str] = []
        self.readable = True
        self.shakes = False
        self.frames = 10**6
        self.stamp: Callable[[], float] = lambda: time.monotonic() - 0.03

    def plug(self, name: str, number: int) -> None:
        (self.dev / f"video{number}").touch()
        (self.dev / "v4l" / "by-id" / f"usb-{name}-video-index0").symlink_to(f"../../video{number}")

    def pull(self, name: str) -> None:
        link = self.dev / "v4l" / "by-id" / f"usb-{name}-video-index0"
        link.resolve().unlink()
        link.unlink()

    def capture(self) -> "Driver":
        return Driver(self)


class Driver:
    """A cv2.VideoCapture whose camera may be pulled out."""

    def __init__(self, plugs: Plugs) -> None:
        self._plugs = plugs
        self._file = Path("/nowhere")
        self._left = plugs.frames

    def open(self, name: str, backend: int, /) -> bool:
        assert backend == cv2.CAP_V4L2
        self._file = Path(name)
        self._plugs.opened.append(self._file.name)
        return self._file.exists()

    def grab(self) -> bool:
        if self._plugs.shakes:
            raise cv2.error("select() timeout")
        self._left -= 1
        return self._file.exists() and self._left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        return self._plugs.readable, np.zeros((48, 64, 3), np.uint8) if self._plugs.readable else None

    def get(self, number: int, /) -> float:
        assert number == cv2.CAP_PROP_POS_MSEC
        return 1000 * self._plugs.stamp()

    def release(self) -> None:
        self._file = Path("/nowhere")


@pytest.fixture
def plugs(tmp_path: Path) -> Plugs:
    return Plugs(tmp_path)


def source(plugs: Plugs, device: str = "0") -> UsbSource:
    return UsbSource(device, devices=plugs.dev, make=plugs.capture)


def look(camera: UsbSource, number: int = 3) -> list[float]:
    frames = camera.frames(lambda at_s: True)
    try:
        return [frame.at_s for frame in islice(frames, number)]
    finally:
        frames.close()


def test_a_camera_is_found_again_under_another_number(plugs: Plugs) -> None:
    plugs.plug("door", 0)
    camera = source(plugs)
    look(camera)
    plugs.pull("door")
    with pytest.raises(TryAgainError, match=r"not plugged in: there is no .*video0"):
        look(camera)
    plugs.plug("other", 0)
    plugs.plug("door", 2)
    plugs.pull("other")
    look(camera)
    assert plugs.opened == ["video0", "video2"]


def test_a_camera_that_was_there_is_not_mistaken_for_another(plugs: Plugs) -> None:
    plugs.plug("door", 0)
    plugs.plug("hall", 2)
    camera = source(plugs)
    look(camera)
    plugs.pull("door")
    plugs.pull("hall")
    plugs.plug("hall", 0)
    plugs.plug("door", 1)
    look(camera)
    assert plugs.opened == ["video0", "video1"]


def test_the_only_camera_is_meant_whatever_its_number(plugs: Plugs) -> None:
    plugs.plug("door", 4)
    look(source(plugs))
    assert plugs.opened == ["video4"]
    plugs.plug("hall", 5)
    with pytest.raises(TryAgainError, match="not plugged in"):
        look(source(plugs))


def test_a_device_file_may_be_named_instead_of_a_number(plugs: Plugs) -> None:
    plugs.plug("door", 3)
    look(source(plugs, str(plugs.dev / "v4l" / "by-id" / "usb-door-video-index0")))
    assert plugs.opened == ["video3"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"frames": 0}, "the USB camera 0 answers, but sends no picture"),
        ({"frames": 2}, "the USB camera 0 stopped sending"),
        ({"readable": False, "frames": UNDECODED}, "sends pictures that cannot be decoded"),
        ({"shakes": True}, "the USB camera 0 cannot be read"),
    ],
)
def test_what_is_wrong_is_said(plugs: Plugs, fault: dict[str, Any], words: str) -> None:
    plugs.plug("door", 0)
    for name, value in fault.items():
        setattr(plugs, name, value)
    with pytest.raises(TryAgainError, match=words):
        look(source(plugs))


def test_a_frame_is_as_old_as_the_driver_says(plugs: Plugs) -> None:
    plugs.plug("door", 0)
    (at_s,) = look(source(plugs), 1)
    assert 0.025 < time.monotonic() - at_s < 5.0
    plugs.stamp = lambda: 0.0  # a driver without stamps
    (at_s,) = look(source(plugs), 1)
    assert 0 <= time.monotonic() - at_s < 5.0


def test_a_silent_camera_is_given_three_seconds_by_the_driver(plugs: Plugs) -> None:
    source(plugs)
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == "3"
