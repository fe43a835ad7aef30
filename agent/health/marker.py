"""What one start of the agent leaves to the next about the Coral: whether it was in use, now or ever, and how often it failed."""

import json
import logging
from pathlib import Path

from agent.update.slots import write_durably

MARKER_NAME = "coral.json"
MARKER_LIMIT = 1000  # bytes
MOST_FAILURES = 100

log = logging.getLogger("agent.coral")


class Marker:
    """A small file in a folder of the agent's own. One that is lost or cannot be written stops nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / MARKER_NAME

    def in_use(self) -> bool:
        """Whether the last start ended, not in order, while it used the Coral: by a crash of it, or a power cut."""
        return self._read().get("in_use") is True

    def ever(self) -> bool:
        """Whether this door has ever used one."""
        told = self._read()
        return told.get("ever") is True or told.get("in_use") is True

    def failures(self) -> int:
        """Failures in a row, as the last start left them; 0 to 100."""
        told = self._read().get("failures")
        return max(0, min(told, MOST_FAILURES)) if isinstance(told, int) else 0

    def write(self, *, failures: int, in_use: bool) -> None:
        """Keep both over a power cut."""
        told: dict[str, object] = {"in_use": in_use, "failures": min(failures, MOST_FAILURES)}
        if in_use or self.ever():
            told["ever"] = True
        if told == self._read():
            return
        try:
            write_durably(self._path, json.dumps(told).encode() + b"\n")
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)

    def _read(self) -> dict[str, object]:
        try:
            with self._path.open("rb") as source:
                told = json.loads(source.read(MARKER_LIMIT))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}
