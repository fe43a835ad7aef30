"""A camera that does not wait: read in a thread that keeps only the newest frame, and opened again when it was lost."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from random import random
from typing import Protocol

from agent.vision.frame import Frame
from agent.vision.stamps import Pace
from contract.errors import TryAgainError

Due = Callable[[float], bool]  # whether to look at a frame of this time, s

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0  # before opening again
HANG_S = 15.0  # longer than any call takes that keeps its word
LEAST_STEP_S = 0.001  # between two frames, where their stamps do not grow
LEAVE_S = 5.0  # that the reader is given to come back from its last call
LONGEST_LINE = 200  # of a heartbeat

log = logging.getLogger("agent.camera")


class Source(Protocol):
    """Something that can be opened again and again."""

    name: str  # for a person; without password

    def frames(self, due: Due) -> Generator[Frame, None, None]:
        """Open it, and read until it is lost; only frames that are `due` at their time, s, are decoded and given.

        Raises TryAgainError, in words for a heartbeat, where it is away, silent or lost; never waits over 10 s.
        """
        ...


class LiveCamera:
    """A source's newest frames, for one caller; nothing that happens to the source ends them but `close`."""

    def __init__(
        self, source: Source, *, fps: float, clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random,
    ) -> None:  # fmt: skip
        self._source = source
        self._pace = Pace(fps)
        self._clock = clock
        self._jitter = jitter
        self._newest: Frame | None = None
        self._at_s = float("-inf")
        self._fault: BaseException | None = None
        self._arrived = threading.Condition()
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="camera", daemon=True)
        self._said: str | None = None
        self._alive_s: float | None = None  # when the reader last came back from a call; None while it is in none
        self.dropped = 0

    @property
    def trouble(self) -> str | None:
        """What keeps it from seeing, in words for a heartbeat."""
        alive_s = self._alive_s
        if alive_s is not None and self._clock() - alive_s > HANG_S:
            return f"a call to {self._source.name} does not come back; if this stays, restart the door's computer"
        return self._said

    def frames(self) -> Generator[Frame, None, None]:
        """Wait for the next frame, or `close`; a frame that comes while another is worked on is dropped and counted."""
        self._reader.start()
        try:
            while True:
                with self._arrived:
                    self._arrived.wait_for(lambda: self._newest or self._fault or self._stop.is_set())
                    frame, self._newest = self._newest, None
                if self._stop.is_set():
                    return
                if self._fault:
                    raise self._fault
                if frame:
                    yield frame
        finally:
            self.close()
            self._reader.join(LEAVE_S)

    def close(self) -> None:
        self._stop.set()
        with self._arrived:
            self._arrived.notify_all()

    def _read(self) -> None:
        try:
            self._keep_reading()
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for frames
            with self._arrived:
                self._fault = fault
                self._arrived.notify()

    def _keep_reading(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            self._alive_s = self._clock()
            try:
                with closing(self._source.frames(self._pace.due)) as frames:
                    for frame in frames:
                        self._alive_s, pause_s = self._clock(), FIRST_PAUSE_S
                        if self._stop.is_set():
                            return
                        self._say(None)
                        self._offer(frame)
            except TryAgainError as fault:
                self._say(str(fault)[:LONGEST_LINE])
            self._alive_s = None
            self._stop.wait(pause_s * (1 + self._jitter()) / 2)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _say(self, words: str | None) -> None:
        if words != self._said:
            log.warning("%s", words or f"{self._source.name} sees again")
            self._said = words

    def _offer(self, frame: Frame) -> None:
        self._at_s = max(frame.at_s, self._at_s + LEAST_STEP_S)
        if self._at_s != frame.at_s:
            frame = replace(frame, at_s=self._at_s)
        with self._arrived:
            self.dropped += self._newest is not None
            self._newest = frame
            self._arrived.notify()
