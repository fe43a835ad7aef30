"""Where frames come from: a clip, a clip played as if live, a USB or network camera, the Pi's own camera."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import cv2

from agent.vision.yolo import Pixels
from contract.errors import ContractError

OPEN_TIMEOUT_MS = 3000  # a silent network camera would otherwise block for 30 s
LOOP_GAP_S = 2.0  # between two turns of a looped clip, so that no track spans the seam
FALLBACK_FPS = 25.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, uint8 BGR (height, width, 3), at a time in s that only grows."""

    pixels: Pixels
    at_s: float


class Camera(Protocol):
    """Frames until the stream ends or `close` is called; a frame that comes while another is worked on is dropped."""

    dropped: int
    trouble: str | None  # what keeps it from seeing, in words for a heartbeat

    def frames(self) -> Iterator[Frame]: ...
    def close(self) -> None: ...


def open_camera(source: str, *, loop: bool = False, size: tuple[int, int] = (640, 480), fps: float = 15.0) -> Camera:
    """The camera that `source` names: `picamera`, a number (USB), an `rtsp://` or `http://` address, or a clip's path.

    `fps` is the most frames a second that are looked at; `size` is asked of the Pi's camera alone.
    Raises ContractError for a clip that is missing or cannot be read.
    """
    if source == "picamera":
        return PiCamera(size=size, fps=fps)
    if source.isdigit() or "://" in source:
        return LiveCamera(int(source) if source.isdigit() else source, fps=fps)
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
        capture = self._open()
        index = 0
        try:
            while not self._closed:
                readable, pixels = capture.read()
                if not readable:
                    return
                yield Frame(cast(Pixels, pixels), index / self.fps)
                index += 1
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
        begun, offset = self._clock(), 0.0
        while not self._stop.is_set():
            last = 0.0
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
            if not self._loop:
                return
            offset += last + LOOP_GAP_S

    def close(self) -> None:
        self._stop.set()
        self._clip.close()


class LiveCamera:
    """A USB or network camera, read in a thread that keeps only the newest frame and reconnects by itself."""

    def __init__(self, source: int | str, *, fps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._pause_s = 0.8 / fps  # a frame sooner than this after the last one is more than was asked for
        self._clock = clock
        self._newest: Frame | None = None
        self._arrived = threading.Condition()
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="camera", daemon=True)
        self.dropped = 0
        self.trouble: str | None = None

    def frames(self) -> Iterator[Frame]:
        self._reader.start()
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._newest is not None or self._stop.is_set())
                frame, self._newest = self._newest, None
            if self._stop.is_set():
                return
            if frame is not None:
                yield frame

    def close(self) -> None:
        self._stop.set()
        with self._arrived:
            self._arrived.notify_all()

    def _read(self) -> None:
        pause, taken = 0.5, float("-inf")
        while not self._stop.is_set():
            capture = cv2.VideoCapture()
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, OPEN_TIMEOUT_MS]
            opened = (
                capture.open(self._source, cv2.CAP_FFMPEG, limits)
                if isinstance(self._source, str)
                else capture.open(self._source)
            )
            while opened and not self._stop.is_set():
                readable, pixels = capture.read()
                if not readable:
                    break
                pause, self.trouble = 0.5, None
                if self._clock() - taken < self._pause_s:
                    continue
                taken = self._clock()
                self._offer(Frame(cast(Pixels, pixels), self._clock()))
            capture.release()
            self.trouble = f"camera {self._source} does not answer"
            self._stop.wait(pause)
            pause = min(pause * 2, 30.0)

    def _offer(self, frame: Frame) -> None:
        with self._arrived:
            self.dropped += self._newest is not None
            self._newest = frame
            self._arrived.notify()


class PiCamera:
    """The Pi's camera through picamera2, which comes with Raspberry Pi OS (apt install python3-picamera2)."""

    def __init__(self, *, size: tuple[int, int], fps: float, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise ContractError(
                "no picamera2 here: apt install python3-picamera2, and a venv with --system-site-packages"
            ) from error
        self._clock = clock
        self._camera: Any = Picamera2()
        # picamera2 calls RGB888 what lies in memory as blue, green, red: the order that OpenCV wants.
        main = {"size": size, "format": "RGB888"}
        self._camera.configure(
            self._camera.create_video_configuration(main=main, controls={"FrameRate": fps}, buffer_count=4, queue=False)
        )
        self._stop = threading.Event()
        self.dropped = 0
        self.trouble: str | None = None

    def frames(self) -> Iterator[Frame]:
        self._camera.start()
        try:
            while not self._stop.is_set():
                pixels = self._camera.capture_array("main")
                yield Frame(pixels, self._clock())
        finally:
            self._camera.stop()
            self._camera.close()

    def close(self) -> None:
        self._stop.set()
