"""The Coral as the files of this machine show it: plugged in, how fast, may we use it, is its library there."""

import os
from dataclasses import dataclass
from pathlib import Path

# Before and after its firmware was loaded, which the library does at first use.
IDS = {("1a6e", "089a"), ("18d1", "9302")}
USB_3_MBIT = 5000
LIBRARIES = ("usr/lib/*/libedgetpu.so.1*", "usr/lib/libedgetpu.so.1*", "usr/local/lib/libedgetpu.so.1*")


@dataclass(frozen=True, slots=True)
class Stick:
    """A Coral on USB."""

    port: str  # its name under /sys/bus/usb/devices
    mbit: int | None  # what it and the port agreed on, Mbit/s
    node: Path  # its device file
    usable: bool  # whether this user may read and write that


def sticks(root: Path) -> list[Stick]:
    """Every Coral of the machine whose `sys` and `dev` lie under `root`."""
    found = []
    for device in sorted(root.glob("sys/bus/usb/devices/*")):
        if (_text(device / "idVendor"), _text(device / "idProduct")) not in IDS:
            continue
        bus, number, speed = _text(device / "busnum"), _text(device / "devnum"), _text(device / "speed")
        node = root / "dev" / "bus" / "usb" / bus.zfill(3) / number.zfill(3)
        mbit = int(speed) if speed.isdecimal() else None
        found.append(Stick(device.name, mbit, node, os.access(node, os.R_OK | os.W_OK)))
    return found


def plugged(root: Path) -> bool:
    """Whether a Coral is there, on USB or in a slot."""
    return bool(sticks(root)) or any(root.glob("dev/apex_*"))


def library(root: Path) -> Path | None:
    """The Edge TPU's library, where it is installed."""
    return next((path for pattern in LIBRARIES for path in sorted(root.glob(pattern))), None)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
