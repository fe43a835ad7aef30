"""A small JSON file that survives a power cut, and whose loss costs nothing but what it remembered."""

import json
import logging
from pathlib import Path
from typing import Any

from agent.update.slots import write_durably

log = logging.getLogger("agent.health")


class Memory:
    """What one part of the agent remembers over a restart; a disk that does not take it is told once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failing = False
        self._written = b""

    def read(self) -> Any:
        """What was written last; None where there is nothing, or nothing whole."""
        try:
            return json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read and is begun anew: %s", self._path, error)
            return None

    def write(self, value: Any) -> bool:
        """Replace it; False where the disk does not take it."""
        content = json.dumps(value, separators=(",", ":")).encode()
        if content == self._written:  # flash wears
            return True
        try:
            write_durably(self._path, content)
        except OSError as error:
            if not self._failing:
                log.warning("%s cannot be written: %s", self._path, error)
            self._failing = True
            return False
        self._failing, self._written = False, content
        return True


def hours_of(value: Any) -> dict[int, int]:
    """Hours of minutes as `hours_as` wrote them; what is not of that shape is left out."""
    found = value.get("hours") if isinstance(value, dict) else None
    hours = {}
    for hour, bits in found.items() if isinstance(found, dict) else ():
        try:
            hours[int(hour)] = int(bits, 16) & (1 << 60) - 1
        except (TypeError, ValueError):
            continue
    return hours


def hours_as(hours: dict[int, int]) -> dict[str, Any]:
    """Hours of minutes, for JSON: a number in hexadecimal for each hour."""
    return {"version": 1, "hours": {str(hour): f"{bits:x}" for hour, bits in sorted(hours.items())}}
