"""Cameras that OpenCV reads: on the network, and at a USB port."""

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import cv2

from agent.vision.frame import Frame
from agent.vision.live import Due
from agent.vision.stamps import SenderClock, own_clock
from agent.vision.yolo import Pixels
from contract.errors import ContractError, TryAgainError

TIMEOUT_MS = 3000  # a silent network camera would otherwise block for 30 s, a silent USB camera for 10 s
UNDECODED = 30  # frames in a row that make no picture: the stream is no good

Taken = Callable[[float, float], float]  # (stamp, arrival) -> when it was taken, all in s


class Capture(Protocol):
    """What is used of a cv2.VideoCapture."""

    def open(self, name: str, backend: int, /) -> bool: ...
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def get(self, number: int, /) -> float: ...
    def release(self) -> None: ...


class NetworkSource:
    """A camera behind an address that FFmpeg knows: `rtsp://`, or `http://` with MJPEG."""

    def __init__(self, address: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            host = urlsplit(address).hostname
        except ValueError as fault:
            raise ContractError("the camera's address is no address: write rtsp://HOST/PATH") from fault
        self.name = f"the camera at {host}"[:100] if host else "the network camera"
        self._address = address
        self._clock = clock
        # OpenCV would ask for UDP, which tears pictures where packets are lost and shows none behind a firewall.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")

    def frames(self, due: Due) -> Generator[Frame, None, None]:
        capture = cv2.VideoCapture()
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        try:
            if not capture.open(self._address, cv2.CAP_FFMPEG, limits):
                raise TryAgainError(f"{self.name} does not answer: is it on, are address and password right?")
            yield from _frames(capture, self.name, due, SenderClock().taken, self._clock)
        finally:
            capture.release()


class UsbSource:
    """A camera at a USB port, by number or device file; it is found again where it comes back under another number.

    A number is where it is looked for first. Once it was there, its own name (`/dev/v4l/by-id`) is what counts; and
    where nothing has the number and a single camera is plugged in, that one is meant.
    """

    def __init__(
        self, device: str, *, devices: Path = Path("/dev"), make: Callable[[], Capture] = cv2.VideoCapture,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.name = f"the USB camera {device}"[:100]
        self._wanted = devices / f"video{device}" if device.isdigit() else Path(device)
        self._links = devices / "v4l" / "by-id"
        self._link: Path | None = None
        self._make = make
        self._clock = clock
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(TIMEOUT_MS // 1000))  # read at the first wait

    def frames(self, due: Due) -> Generator[Frame, None, None]:
        device = self._find().resolve()
        capture = self._make()
        try:
            if not capture.open(str(device), cv2.CAP_V4L2):
                raise TryAgainError(f"{self.name} cannot be opened: does another program use {device}?")
            for frame in _frames(capture, self.name, due, own_clock, self._clock):
                self._link = self._link or self._link_to(device)
                yield frame
        finally:
            capture.release()

    def _find(self) -> Path:
        if self._link and self._link.exists():
            return self._link
        self._link = None
        if self._wanted.exists():
            return self._wanted
        plugged = sorted(self._links.glob("*-video-index0"))
        if len(plugged) == 1 and plugged[0].exists():
            return plugged[0]
        raise TryAgainError(f"{self.name} is not plugged in: there is no {self._wanted}")

    def _link_to(self, device: Path) -> Path | None:
        return next((link for link in sorted(self._links.glob("*")) if link.resolve() == device), None)


def _frames(
    capture: Capture, name: str, due: Due, taken: Taken, clock: Callable[[], float]
) -> Generator[Frame, None, None]:
    seen, undecoded = 0, 0
    while True:
        try:
            if not capture.grab():
                raise TryAgainError(f"{name} stopped sending" if seen else f"{name} answers, but sends no picture")
            at_s = taken(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, clock())
            if not due(at_s):
                continue
            readable, pixels = capture.retrieve()
        except cv2.error as fault:
            raise TryAgainError(f"{name} cannot be read: {fault.err}"[:200]) from fault
        if readable:
            seen, undecoded = seen + 1, 0
            yield Frame(cast(Pixels, pixels), at_s)
        elif (undecoded := undecoded + 1) == UNDECODED:
            raise TryAgainError(f"{name} sends pictures that cannot be decoded")
