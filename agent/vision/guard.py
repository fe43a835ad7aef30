"""A detector that may hang, with a deadline for every look: whoever asks goes on, the thread that hangs stays behind."""

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue

from agent.vision.detector import Faces
from agent.vision.meter import Looker
from agent.vision.yolo import Fitted, Pixels
from contract.errors import TryAgainError

DEADLINE_S = 5.0  # the longest look


class Guard:
    """Looks in a thread of its own, which Python cannot end: one that hangs is given up, and keeps its device.

    This needs an `invoke` that lets other threads run, as both runtimes' does. A library that hangs without letting
    them is beyond any thread: only what watches the process from outside helps then.
    """

    def __init__(self, detector: Looker, *, deadline_s: float = DEADLINE_S) -> None:
        self.manifest, self.accelerator = detector.manifest, detector.accelerator
        self._deadline_s = deadline_s
        self._asked: SimpleQueue[_Look | None] = SimpleQueue()
        self._late: _Look | None = None
        threading.Thread(target=_work, args=(detector, self._asked), name="guard", daemon=True).start()

    @property
    def hung(self) -> bool:
        """Whether a look that was given up still goes on."""
        return self._late is not None and not self._late.done.is_set()

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
        """The faces of a frame; raises what the detector raises, and TryAgainError where it does not answer in time."""
        look = _Look(pixels, fitted)
        if self._late is None:
            self._asked.put(look)
        if self._late or not look.done.wait(self._deadline_s):
            self._late = self._late or look
            raise TryAgainError(f"no answer within {self._deadline_s:g} s")
        if isinstance(look.answer, Exception):
            raise look.answer
        return look.answer

    def close(self) -> None:
        """End the thread, if it does not hang, and with it what holds the device."""
        self._asked.put(None)


@dataclass(slots=True)
class _Look:
    pixels: Pixels
    fitted: Fitted | None
    answer: Faces | Exception = field(default_factory=TryAgainError)  # until there is one
    done: threading.Event = field(default_factory=threading.Event)


def _work(detector: Looker, asked: "SimpleQueue[_Look | None]") -> None:
    while look := asked.get():
        try:
            look.answer = detector.look(look.pixels, look.fitted)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            look.answer = error
        look.done.set()
