"""The detector at work: exchanged between two frames, never within one, and measured."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from agent.vision.detector import Detection, Faces
from agent.vision.yolo import Fitted, Pixels
from contract.events import Accelerator
from contract.release import Manifest

ERAS = 8  # exchanges that are remembered; a pass is reported seconds after it happened

log = logging.getLogger("agent.meter")


class Looker(Protocol):
    """A model ready to look at frames."""

    manifest: Manifest
    accelerator: Accelerator

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces: ...


class Meter:
    """A detector that counts its frames, knows how many it did in the last seconds, and can be exchanged.

    `look` and `check` are for one thread; `swap`, `settle` and everything that is read, for any.
    While a model has a fallback, an error of it is no error of `look`: the fallback looks at that very frame, and
    stays; `fault` says what happened.
    """

    def __init__(
        self, detector: Looker, *, fallback: Looker | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.frames = 0  # by all models
        self.looked = 0  # by the one that looks now
        self.fault = ""  # why the model before this one was taken away
        self.at_s = 0.0  # the stream's time of the frame that comes next, s
        self._detector = detector
        self._faces: Faces | None = None  # of the last frame
        self._fallback = fallback
        self._next: tuple[Looker, Looker | None] | None = None
        self._retreat = ""  # why the fallback is to take over at the next frame
        self._lock = threading.Lock()
        self._eras = deque([(float("-inf"), detector.manifest.release, detector.accelerator)], maxlen=ERAS)
        self._clock = clock
        self._busy_since: float | None = None
        self._recent: deque[float] = deque(maxlen=60)

    @property
    def manifest(self) -> Manifest:
        """Of the model that saw the last frame."""
        return self._detector.manifest

    @property
    def accelerator(self) -> Accelerator:
        """What ran the model at the last frame."""
        return self._detector.accelerator

    @property
    def looker(self) -> Looker:
        """The one that saw the last frame."""
        return self._detector

    @property
    def found(self) -> list[Detection]:
        """Faces in the last frame."""
        faces = self._faces
        return faces.found if faces else []

    def swap(self, detector: Looker, *, fallback: Looker | None) -> None:
        """Look with `detector` from the next frame on; go back to `fallback` by itself if it fails."""
        with self._lock:
            self._next, self._retreat, self.fault = (detector, fallback), "", ""

    def retreat(self, reason: str) -> None:
        """Go back to the fallback at the next frame, as after an error; nothing where there is none."""
        with self._lock:
            self._retreat = reason if self._fallback else ""

    def settle(self) -> None:
        """The model that looks now needs no fallback any more."""
        with self._lock:
            self._fallback, self.fault = None, ""

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
        """The faces of a frame; `fitted` as `Detector.look` takes it; what comes of an error is said above."""
        with self._lock:
            if self._next:
                coming, fallback = self._next
                self._next = None
                self.fault = ""
                self._take(coming, fallback)
            elif self._retreat and self._fallback:
                self.fault, self._retreat = self._retreat, ""
                self._take(self._fallback, None)
        faces = self._look(pixels, fitted)
        self.frames += 1
        self.looked += 1
        self._faces = faces
        self._recent.append(self._clock())
        return faces

    def check(self, pixels: Pixels) -> list[Detection]:
        """Faces in a picture that is no frame of the stream, between two frames, by the model that looks now."""
        return self._look(pixels, None).found

    def release_at(self, at_s: float) -> int:
        """The release that looked at the frame of this time in the stream, s."""
        return self._era(at_s)[1]

    def accelerator_at(self, at_s: float) -> Accelerator:
        """What ran the model at the frame of this time in the stream, s."""
        return self._era(at_s)[2]

    def stuck_s(self) -> float:
        """How long the look that is going on has lasted, s; 0 between two."""
        since = self._busy_since
        return 0.0 if since is None else self._clock() - since

    def fps(self) -> float:
        """Frames a second, lately; 0 where there was none for 5 s."""
        recent = list(self._recent)
        if len(recent) < 2 or self._clock() - recent[-1] > 5.0:
            return 0.0
        return round((len(recent) - 1) / max(1e-6, recent[-1] - recent[0]), 1)

    def _take(self, detector: Looker, fallback: Looker | None) -> None:
        self._detector, self._fallback, self.looked = detector, fallback, 0
        self._eras.append((self.at_s, detector.manifest.release, detector.accelerator))

    def _era(self, at_s: float) -> tuple[float, int, Accelerator]:
        eras = list(self._eras)
        return next((era for era in reversed(eras) if era[0] <= at_s), eras[0])

    def _look(self, pixels: Pixels, fitted: Fitted | None) -> Faces:
        self._busy_since = self._clock()
        try:
            return self._detector.look(pixels, fitted)
        except Exception as error:
            if self._fallback is None:
                raise
            log.exception("release %d failed at a frame; going back", self.manifest.release)
            with self._lock:
                if self._next is None:  # the fault of one that is about to go is not the fault of the one that comes
                    self.fault = f"it failed at a frame: {error}"[:250]
                self._take(self._fallback, None)
            return self._detector.look(pixels, fitted)
        finally:
            self._busy_since = None
