"""The Pi's camera through picamera2, which comes with Raspberry Pi OS: one request gives two pictures of one moment."""

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, Literal

import cv2
import numpy as np

from agent.vision.frame import Frame
from agent.vision.live import Due
from agent.vision.stamps import own_clock
from agent.vision.yolo import Pixels
from contract.errors import ContractError, TryAgainError

Exposure = Literal["normal", "backlit"]

LOOK_WIDTH = 320  # px: the network's input, so that the camera's hardware does the scaling
BUFFERS = 4
FRAME_TIMEOUT_S = 3.0
BACKLIT_EXPOSURE_US = 33_333  # a frame's duration bounds its exposure; who walks is smeared beyond that
SHAPE_TOLERANCE = 0.01

log = logging.getLogger("agent.picamera")


class PiSource:
    """Frames of the Pi's camera: a small picture for the detector and, where `larger` is asked for, one for crops.

    Each request is copied from and released before its frame is given: the camera never runs out of them.
    """

    name = "the Pi's camera"

    def __init__(
        self, *, size: tuple[int, int], fps: float, exposure: Exposure = "normal", larger: bool = True,
        clock: Callable[[], float] = time.monotonic,
        boot_clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:  # fmt: skip
        try:
            import libcamera
            import picamera2
        except ImportError as error:
            raise ContractError(
                "no picamera2 here: apt install python3-picamera2, and a venv with --system-site-packages"
            ) from error
        self._libcamera: Any = libcamera
        self._picamera2: Any = picamera2
        self._size = size
        self._look = reduced(size)
        self._fps = fps
        self._exposure = exposure
        self._larger = larger
        self._clock = clock
        self._boot_clock = boot_clock

    def frames(self, due: Due) -> Generator[Frame, None, None]:
        camera: Any = None
        try:
            camera = self._started()
            while True:
                request = camera.capture_request(wait=FRAME_TIMEOUT_S)
                try:
                    frame = self._frame(request, due)
                finally:
                    request.release()
                if frame:
                    yield frame
        except TimeoutError as fault:
            raise TryAgainError(f"{self.name} sends no picture: is its cable seated?") from fault
        except IndexError as fault:  # picamera2's way to say so
            raise TryAgainError(
                "no Pi camera is connected: check the cable, then `rpicam-hello --list-cameras`"
            ) from fault
        except (RuntimeError, OSError) as fault:
            raise TryAgainError(f"{self.name} does not start: {fault}"[:200]) from fault
        finally:
            if camera is not None:
                _close(camera)

    def _started(self) -> Any:
        camera = self._picamera2.Picamera2()
        try:
            # picamera2 calls RGB888 what lies in memory as blue, green, red: the order that OpenCV wants.
            main = {"size": self._size, "format": "RGB888"}
            lores = {"size": self._look, "format": "YUV420"} if self._look != self._size else None
            camera.configure(
                camera.create_video_configuration(
                    main=main, lores=lores, controls=self._controls(), buffer_count=BUFFERS, queue=False,
                    colour_space=self._libcamera.ColorSpace.Smpte170m(),  # what OpenCV takes YUV for
                )
            )  # fmt: skip
            if lores:
                _require_one_view(camera.camera_configuration())
            camera.start()
        except BaseException:
            _close(camera)
            raise
        return camera

    def _controls(self) -> dict[str, Any]:
        if self._exposure == "normal":
            return {"FrameRate": self._fps}
        duration_us = min(BACKLIT_EXPOSURE_US, round(1e6 / self._fps))
        controls = self._libcamera.controls
        return {
            "FrameDurationLimits": (duration_us, duration_us),
            "AeConstraintMode": controls.AeConstraintModeEnum.Shadows,
            "AeExposureMode": controls.AeExposureModeEnum.Short,
        }

    def _frame(self, request: Any, due: Due) -> Frame | None:
        now_s = self._clock()
        asleep_s = self._boot_clock() - now_s  # the sensor's stamp counts from the boot, sleep included
        at_s = own_clock(request.get_metadata().get("SensorTimestamp", 0) / 1e9 - asleep_s, now_s)
        if not due(at_s):
            return None
        if self._look == self._size:
            return Frame(request.make_array("main"), at_s)
        pixels = from_yuv420(request.make_array("lores"), self._look[0])
        return Frame(pixels, at_s, request.make_array("main") if self._larger else None)


def reduced(size: tuple[int, int]) -> tuple[int, int]:
    """The size in px divided by the largest whole number that leaves even sides and no less than 320 px of width.

    So both pictures have exactly one shape; the size itself, where no number does.
    """
    width, height = size
    for divisor in range(width // LOOK_WIDTH, 1, -1):
        if width % (2 * divisor) == 0 and height % (2 * divisor) == 0:
            return width // divisor, height // divisor
    return size


def from_yuv420(planes: Pixels, width: int) -> Pixels:
    """BGR (height, width, 3) from planar YUV420 (height * 3 / 2, row) whose rows may be padded: a Pi 5 makes 384 of 320.

    The chroma rows are padded too, two in one row of the array: so convert first, then crop.
    """
    return np.ascontiguousarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)[:, :width], np.uint8)


def _require_one_view(configuration: dict[str, Any]) -> None:
    """Raises TryAgainError where boxes found in one picture would lie elsewhere in the other."""
    (wide, high), (small_wide, small_high) = configuration["main"]["size"], configuration["lores"]["size"]
    if abs(wide * small_high / (high * small_wide) - 1) > SHAPE_TOLERANCE:
        raise TryAgainError(
            f"the Pi's camera gives pictures of two shapes ({wide} x {high}, {small_wide} x {small_high}): "
            "set camera.width and camera.height to 1280 and 720"
        )


def _close(camera: Any) -> None:
    try:
        camera.cancel_all_and_flush()  # a request that timed out still waits for its frame
        camera.close()
    except (RuntimeError, OSError) as fault:
        log.warning("the Pi's camera was not closed: %s", fault)
