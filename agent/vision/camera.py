"""Where frames come from: a clip, a clip played as if live, a USB or network camera, the Pi's own camera."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, cast

import cv2

from agent.vision.capture import NetworkSource, UsbSource
from agent.vision.frame import Frame
from agent.vision.live import LiveCamera
from agent.vision.picamera import Exposure, PiSource
from agent.vision.yolo import Pixels
from contract.errors import ContractError

LOOP_GAP_S = 2.0  # between two turns of a looped clip, so that no track spans the seam
FALLBACK_FPS = 25.0


class Camera(Protocol):
    """Frames until the stream ends or `close` is called; a frame that comes while another is worked on is dropped."""

    dropped: int

    @property
    def trouble(self) -> str | None:
        """What keeps it from seeing, in words for a heartbeat."""
        ...

    def frames(self) -> Iterator[Frame]: ...
    def close(self) -> None: ...


def open_camera(
    source: str, *, loop: bool = False, size: tuple[int, int] = (1280, 720), fps: float = 15.0,
    exposure: Exposure = "normal", crops: bool = True,
) -> Camera:  # fmt: skip
    """The camera that `source` names.

    `picamera`, a number or a file in /dev (USB), an `rtsp://` or `http://` address, or a clip's path. `fps` is the most
    frames a second that are looked at; `size`, `exposure`, and whether `crops` are cut from the frames, are for the
    Pi's camera alone. Raises ContractError for a clip that is missing or cannot be read, and for a Pi's camera on a
    machine without picamera2; a live camera that is away now is only in trouble.
    """
    if source == "picamera":
        return LiveCamera(PiSource(size=size, fps=fps, exposure=exposure, larger=crops), fps=fps)
    if "://" in source:
        return LiveCamera(NetworkSource(source), fps=fps)
    if source.isdigit() or source.startswith("/dev/"):
        return LiveCamera(UsbSource(source), fps=fps)
    return PacedClip(Clip(Path(source)), loop=loop, fps=fps)


class Clip:
    """Every frame of a video file, as fast as it can be read; time is the video's own."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ContractError(f"no clip at {path}")
        self.path = path
        capture = self._open()
        self.fps = capture.get(cv2.CAP_PROP_FPS)
        if not 1 <= self.fps <= 240:
            self.fps = FALLBACK_FPS
        readable, _ = capture.read()
        capture.release()
        if not readable:
            raise ContractError(
                f"{path} holds no frame that OpenCV can read; convert it: ffmpeg -i {path.name} clip.mp4"
            )
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """Each at its own stamp; where that does not grow, one frame's time after the last."""
        capture = self._open()
        at_s = -1 / self.fps
        try:
            while not self._closed:
                readable, pixels = capture.read()
                if not readable:
                    return
                stamp_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                at_s = stamp_s if stamp_s > at_s else at_s + 1 / self.fps
                yield Frame(cast(Pixels, pixels), at_s)
        finally:
            capture.release()

    def close(self) -> None:
        self._closed = True

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise ContractError(
                f"{self.path} is not a video that OpenCV can read; convert it: ffmpeg -i {self.path.name} clip.mp4"
            )
        return capture


class PacedClip:
    """A clip played at its own pace, like a camera that does not wait: frames that are late are dropped."""

    def __init__(self, clip: Clip, *, loop: bool, fps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clip = clip
        self._step = max(1, math.ceil(clip.fps / fps - 0.01))
        self._loop = loop
        self._clock = clock
        self._stop = threading.Event()
        self.dropped = 0
        self.trouble: str | None = None

    def frames(self) -> Iterator[Frame]:
        """Raises ContractError where a clip that is to start again has no frame any more."""
        begun, offset = self._clock(), 0.0
        while not self._stop.is_set():
            last: float | None = None
            for index, frame in enumerate(self._clip.frames()):
                if index % self._step:
                    continue
                due = begun + offset + frame.at_s
                early = due - self._clock()
                last = frame.at_s
                if early < -self._step / self._clip.fps:
                    self.dropped += 1
                    continue
                if early > 0 and self._stop.wait(early):
                    return
                yield Frame(frame.pixels, offset + frame.at_s)
            if not self._loop or self._stop.is_set():
                return
            if last is None:
                raise ContractError(f"{self._clip.path} has no frame any more: was the file replaced?")
            offset += last + LOOP_GAP_S

    def close(self) -> None:
        self._stop.set()
        self._clip.close()
