import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pytest

from agent.vision.camera import open_camera
from agent.vision.frame import Frame
from agent.vision.picamera import BUFFERS, PiSource, from_yuv420, reduced
from contract.errors import ContractError, TryAgainError
from rehearsal.processes import wait_until
from tests.agent.picamera_kit import Libcamera, Picamera, yuv420


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[Picamera]:
    module = Picamera()
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setitem(sys.modules, "libcamera", Libcamera())
    yield module


def always(at_s: float) -> bool:
    return True


def source(**more: Any) -> PiSource:
    return PiSource(size=(1280, 720), fps=12, **more)


def take(number: int, camera: PiSource) -> list[Frame]:
    frames = camera.frames(always)
    found = list(islice(frames, number))
    frames.close()
    return found


@pytest.mark.parametrize("align", [16, 32, 64], ids=["not padded", "a Pi 4", "a Pi 5"])
def test_one_request_gives_two_pictures_of_one_moment(port: Picamera, align: int) -> None:
    port.align = align
    for index, frame in enumerate(take(5, source()), start=1):
        assert frame.full.shape == (720, 1280, 3)
        assert frame.pixels.shape == (180, 320, 3)
        assert frame.pixels.flags.c_contiguous
        assert np.array_equal(frame.full, port.scene(index))
        same = cv2.resize(frame.full, (320, 180), interpolation=cv2.INTER_AREA)
        assert np.abs(frame.pixels.astype(int) - same).mean() < 3
        assert np.abs(frame.pixels[:, -4:].astype(int) - same[:, -4:]).mean() < 3  # where padding would begin


@pytest.mark.parametrize(("width", "height", "stride"), [(320, 240, 320), (320, 180, 384), (432, 324, 512)])
def test_padded_rows_are_converted_first_and_cropped_then(width: int, height: int, stride: int) -> None:
    across = np.linspace(20, 235, width)[None, :, None] * np.ones((height, 1, 3))
    across[height // 2 :, :, 0] = 90  # chroma that differs between the halves
    picture = across.astype(np.uint8)
    found = from_yuv420(yuv420(picture, stride), width)
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).mean() < 3


def test_no_request_is_kept_whatever_the_caller_does_with_its_frames(port: Picamera) -> None:
    frames = source().frames(always)
    kept = list(islice(frames, 5 * BUFFERS))
    (camera,) = port.made
    assert camera.free == BUFFERS
    before = [frame.full.copy() for frame in kept]
    list(islice(frames, BUFFERS))  # the camera's memory is used again
    assert all(np.array_equal(frame.full, copy) for frame, copy in zip(kept, before, strict=True))
    frames.close()
    assert camera.closed


def test_a_frame_that_is_not_due_is_released_too(port: Picamera) -> None:
    asked: list[float] = []

    def every_tenth(at_s: float) -> bool:
        asked.append(at_s)
        return len(asked) % 10 == 0

    frames = source().frames(every_tenth)
    assert len(list(islice(frames, 3))) == 3
    assert len(asked) == 30
    assert port.made[0].free == BUFFERS
    frames.close()


def test_where_no_crop_may_leave_the_large_picture_stays_in_the_camera(port: Picamera) -> None:
    (frame,) = take(1, source(larger=False))
    assert frame.larger is None
    assert frame.full.shape == (180, 320, 3)


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((1280, 720), (320, 180)), ((640, 480), (320, 240)), ((1920, 1080), (320, 180)), ((1296, 972), (432, 324)),
        ((1640, 1232), (410, 308)), ((320, 240), (320, 240)), ((500, 375), (500, 375)),
    ],
)  # fmt: skip
def test_the_small_picture_has_the_large_ones_shape(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert reduced(size) == small


def test_a_size_that_cannot_be_reduced_gives_one_picture(port: Picamera) -> None:
    (frame,) = take(1, PiSource(size=(320, 240), fps=12))
    assert frame.larger is None
    assert frame.pixels.shape == (240, 320, 3)
    assert port.made[0].config["lores"] is None


def test_two_pictures_of_different_shape_are_refused_since_boxes_would_not_fit(port: Picamera) -> None:
    port.squeeze = 1.1
    with pytest.raises(TryAgainError, match=r"two shapes \(1280 x 720, 320 x 198\)"):
        take(1, source())
    assert port.made[0].closed


def test_a_frame_is_as_old_as_the_sensor_says(port: Picamera) -> None:
    now = time.monotonic()
    (frame,) = take(1, source())
    assert 0.015 < time.monotonic() - frame.at_s < 5.0
    assert frame.at_s - now > -0.02
    (late,) = take(1, source(boot_clock=lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 3600))
    assert time.monotonic() - late.at_s < 5.0  # a stamp of another clock is not believed


@pytest.mark.parametrize(
    ("exposure", "controls"),
    [
        ("normal", {"FrameRate": 12}),
        ("backlit", {"FrameDurationLimits": (33_333, 33_333), "AeConstraintMode": 2, "AeExposureMode": 1}),
    ],
)
def test_a_backlit_door_is_exposed_for_the_shadows_and_not_for_long(
    port: Picamera, exposure: Any, controls: dict[str, Any]
) -> None:
    take(1, source(exposure=exposure))
    assert port.made[0].config["controls"] == controls
    assert port.made[0].config["colour_space"] == "smpte170m"


def test_a_backlit_camera_that_runs_faster_is_still_looked_at_as_often_as_asked(port: Picamera) -> None:
    camera = open_camera("picamera", fps=12, exposure="backlit")
    times = [frame.at_s for frame in islice(camera.frames(), 12)]  # the stand-in gives a frame every 10 ms
    camera.close()
    assert (len(times) - 1) / (times[-1] - times[0]) < 13


def test_a_camera_that_is_not_there_or_in_use_is_waited_for(port: Picamera) -> None:
    port.plugged = False
    camera = open_camera("picamera", size=(640, 480), fps=12)
    seen: list[Frame] = []
    reader = threading.Thread(target=lambda: seen.extend(camera.frames()), daemon=True)
    reader.start()
    wait_until(lambda: "no Pi camera is connected" in (camera.trouble or ""), within_s=20, what="the trouble")
    port.plugged, port.in_use = True, True
    wait_until(
        lambda: "does not start: Camera __init__" in (camera.trouble or ""), within_s=20, what="the other trouble"
    )
    assert seen == []
    port.in_use = False
    wait_until(lambda: bool(seen) and camera.trouble is None, within_s=10, what="a frame")
    assert seen[0].full.shape == (480, 640, 3)
    camera.close()
    reader.join(5)
    assert not reader.is_alive()
    assert port.made[-1].closed


def test_without_picamera2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setitem(sys.modules, "libcamera", Libcamera())
    with pytest.raises(ContractError, match="apt install python3-picamera2"):
        open_camera("picamera")
