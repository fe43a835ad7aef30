"""What the machine under the agent says of itself: heat, supply, disk; what it cannot say stays unsaid."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from contract.health import Board

UNDER_VOLTAGE, THROTTLED = 1 << 0, 1 << 2  # as the firmware's word has them; 16 bits higher: at some time since boot
CAPPED, SOFT_LIMIT = 1 << 1, 1 << 3  # slower too, by a cap on the clock rate
SINCE_BOOT = 16

Ask = Callable[[Sequence[str]], str]


def ask(command: Sequence[str]) -> str:
    """What a program prints; "" where it is missing, fails or takes longer than 1 s."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


def read_board(root: Path, disk: Path, *, ask: Ask = ask) -> Board:
    """Read a machine whose `sys` and `dev` lie under `root`; `disk` is any folder of the disk that is asked for room."""
    power = _power(root, ask)
    said: dict[str, bool | None] = {}
    if power is not None:
        slow = THROTTLED | CAPPED | SOFT_LIMIT
        said = {
            "under_voltage": bool(power & UNDER_VOLTAGE),
            "throttled": bool(power & slow),
            "under_voltage_since_boot": bool(power >> SINCE_BOOT & UNDER_VOLTAGE),
            "throttled_since_boot": bool(power >> SINCE_BOOT & slow),
        }
    else:
        said = {"under_voltage": _voltage_alarm(root)}
    return Board(temperature_c=_temperature(root), disk_free_bytes=free_bytes(disk), **said)


def free_bytes(disk: Path) -> int | None:
    """Bytes that the agent may still write there."""
    try:
        room = os.statvfs(disk)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize


def _temperature(root: Path) -> float | None:
    """The hottest of the processor's zones, C."""
    zones = {zone: _text(zone / "type") for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"))}
    processor = [zone for zone, kind in zones.items() if "cpu" in kind or "soc" in kind or "pkg" in kind]
    found = []
    for zone in processor or zones:
        try:
            celsius = int(_text(zone / "temp")) / 1000
        except ValueError:
            continue
        if -40 <= celsius <= 150:  # beyond that a sensor is broken
            found.append(celsius)
    return round(max(found), 1) if found else None


def _power(root: Path, ask: Ask) -> int | None:
    """The firmware's flags; None where there is no Pi to ask."""
    for path in sorted(root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled")):
        flags = _hex(_text(path))
        if flags is not None:
            return flags
    if not (root / "dev" / "vcio").exists():
        return None
    _, equals, flags_text = ask(["vcgencmd", "get_throttled"]).strip().partition("throttled=")
    return _hex(flags_text) if equals else None


def _voltage_alarm(root: Path) -> bool | None:
    """What the kernel's own watch on a Pi's supply says, where the firmware's flags cannot be had."""
    for chip in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if _text(chip / "name") == "rpi_volt":
            return {"0": False, "1": True}.get(_text(chip / "in0_lcrit_alarm"))
    return None


def _hex(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
