"""picamera2 and libcamera without a sensor: they behave like the documented interface, padding and empty queues included."""

import time
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


class Libcamera(ModuleType):
    """The enumerations that are used."""

    def __init__(self) -> None:
        super().__init__("libcamera")
        self.controls = SimpleNamespace(
            AeConstraintModeEnum=SimpleNamespace(Normal=0, Highlight=1, Shadows=2),
            AeExposureModeEnum=SimpleNamespace(Normal=0, Short=1, Long=2),
        )
        self.ColorSpace = SimpleNamespace(Smpte170m=lambda: "smpte170m", Rec709=lambda: "rec709")


class Picamera(ModuleType):
    """One camera port: what is plugged in, what it sees, and what was done with it."""

    def __init__(self, *, align: int = 64) -> None:
        super().__init__("picamera2")
        self.align = align  # px of a row of the small picture; a Pi 5 pads to 64 bytes of chroma
        self.plugged = True
        self.stalled = False
        self.in_use = False
        self.squeeze = 1.0  # what the hardware makes of the small picture's height
        self.made: list[Camera] = []
        port = self

        class Picamera2(Camera):
            def __init__(self) -> None:
                super().__init__(port)

        self.Picamera2 = Picamera2

    def scene(self, index: int) -> Picture:
        """What the sensor sees in frame `index`: colours that vary over the picture and with time, BGR."""
        small = np.zeros((3, 4, 3), np.uint8)
        small[0], small[1], small[2] = (200, 40, 30), (30, 180, 60), (20, 60, 210)
        small[:, 3] = (250, 250, 250)
        small[1, 1] = index * 16 % 256
        return np.asarray(cv2.resize(small, (1280, 720), interpolation=cv2.INTER_LINEAR), np.uint8)


class Camera:
    """Picamera2, as far as it is used."""

    def __init__(self, port: Picamera) -> None:
        if not port.plugged:
            raise IndexError("list index out of range")
        if port.in_use:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        port.in_use = True
        port.made.append(self)
        self.port = port
        self.config: dict[str, Any] = {}
        self.free = 0
        self.index = 0
        self.running = False
        self.abandoned = 0  # jobs that timed out and still take the next frame, which nobody will release
        self.closed = False

    def create_video_configuration(
        self, main: dict[str, Any], lores: dict[str, Any] | None = None, *, controls: dict[str, Any],
        buffer_count: int = 6, queue: bool = True, colour_space: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        return {
            "main": dict(main), "lores": lores and dict(lores), "controls": controls, "buffer_count": buffer_count,
            "queue": queue, "colour_space": colour_space,
        }  # fmt: skip

    def configure(self, config: dict[str, Any]) -> None:
        if self.running:
            raise RuntimeError("Camera must be stopped before configuring")
        for name in ("main", "lores"):
            if config[name] and any(side % 2 for side in config[name]["size"]):
                raise RuntimeError("width and height should be even")
        width, height = config["main"]["size"]
        config["main"]["stride"] = -(-3 * width // 64) * 64
        if config["lores"]:
            width, height = config["lores"]["size"]
            align = 2 * self.port.align  # the chroma planes have half of it
            config["lores"]["size"] = (width, round(height * self.port.squeeze))
            config["lores"]["stride"] = -(-width // align) * align
        self.config = config

    def camera_configuration(self) -> dict[str, Any]:
        return self.config

    def start(self) -> None:
        if not self.config:
            raise RuntimeError("Camera has not been configured")
        self.free, self.running = self.config["buffer_count"], True

    def capture_request(self, wait: float) -> "Request":
        assert self.running, "the camera is not started"
        time.sleep(0.01)
        while self.abandoned and self.free and not self.port.stalled:
            self.abandoned, self.free = self.abandoned - 1, self.free - 1
        if self.port.stalled or not self.free:
            self.abandoned += 1
            time.sleep(wait)
            raise TimeoutError
        self.free -= 1
        self.index += 1
        return Request(self, self.index)

    def cancel_all_and_flush(self) -> None:
        self.abandoned = 0

    def stop(self) -> None:
        self.running = False

    def close(self) -> None:
        self.stop()
        if not self.closed:
            self.closed, self.port.in_use = True, False


class Request:
    """A completed request: its memory goes back to the camera when it is released, once."""

    def __init__(self, camera: Camera, index: int) -> None:
        self.camera = camera
        self.taken_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 20_000_000
        self.picture: Picture | None = camera.port.scene(index)

    def get_metadata(self) -> dict[str, Any]:
        assert self.picture is not None
        return {"SensorTimestamp": self.taken_ns, "ExposureTime": 9000}

    def make_array(self, name: str) -> Picture:
        config = self.camera.config[name]
        if self.picture is None or config is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        width, height = config["size"]
        scaled = np.asarray(cv2.resize(self.picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return scaled if name == "main" else yuv420(scaled, config["stride"])

    def release(self) -> None:
        if self.picture is None:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        self.picture = None
        self.camera.free += 1


def yuv420(picture: Picture, stride: int) -> Picture:
    """Planar YUV420 as it lies in memory: rows of `stride` bytes, those of U and V of half that; rubbish in between."""
    height, width = picture.shape[:2]
    flat = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8).reshape(-1)
    planes, at = [], 0
    for rows, row, padded in (
        (height, width, stride),
        (height // 2, width // 2, stride // 2),
        (height // 2, width // 2, stride // 2),
    ):
        plane = np.full((rows, padded), 0xEE, np.uint8)
        plane[:, :row] = flat[at : at + rows * row].reshape(rows, row)
        planes.append(plane.reshape(-1))
        at += rows * row
    return np.asarray(np.concatenate(planes).reshape(height * 3 // 2, stride), np.uint8)
