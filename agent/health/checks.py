"""The doctor's checks of the machine: each looks at one thing, changes nothing, and says what to do."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from agent.health.board import read_board
from agent.health.certificate import Certificate
from agent.health.finding import Finding, Verdict
from agent.health.heat import MEASURES, Heat
from agent.health.usb import USB_3_MBIT, library, sticks
from contract.errors import ContractError
from contract.health import LITTLE_DISK
from contract.tls import CERTIFICATE

BUILT = datetime(2026, 1, 1, tzinfo=UTC)  # no clock that is right says less
NO_DISK = 50 * 10**6  # bytes
SLOW_SYNC_S = 1.0
RENEW_DAYS = 21

OK, WARNING, FAULT = Verdict.OK, Verdict.WARNING, Verdict.FAULT
Probe = Callable[[], Finding]


def check_coral(root: Path, *, probe: Probe | None = None) -> Finding:
    """Plugged in, at full speed, allowed, its library there; `probe` then tries it in a process of its own."""
    name = "accelerator"
    found = sticks(root)
    if not found:
        return Finding(
            name,
            WARNING,
            "no Coral on USB: this door counts on the CPU",
            "plug it into a blue USB 3 port, if there is one",
        )
    stick = found[0]
    if not stick.usable:
        fix = "install its udev rule (group plugdev, both 1a6e:089a and 18d1:9302), then plug it in again"
        return Finding(name, FAULT, f"a Coral at {stick.port}, but this user may not use {stick.node}", fix)
    if library(root) is None:
        return Finding(name, FAULT, f"a Coral at {stick.port}, but no libedgetpu.so.1", "install libedgetpu1-std")
    if probe:
        tried = probe()
        if tried.verdict is not OK:
            return tried
    if stick.mbit is None or stick.mbit < USB_3_MBIT:
        speed = f"{stick.mbit} Mbit/s" if stick.mbit else "unknown speed"
        return Finding(
            name, WARNING, f"a Coral at {stick.port}, {speed}: not USB 3", "use a blue port and its own cable"
        )
    return Finding(name, OK, f"a Coral at {stick.port}, {stick.mbit} Mbit/s, with {library(root)}")


def check_machine(root: Path, disk: Path) -> list[Finding]:
    """Supply and heat."""
    board = read_board(root, disk)
    fix = "use the official supply (27 W for a Pi 5) and a short cable"
    if board.under_voltage is None:
        supply = Finding("supply", OK, "this machine does not say (no Raspberry Pi)")
    elif board.under_voltage:
        supply = Finding("supply", FAULT, "under-voltage now: counting is slow, and the disk in danger", fix)
    elif board.under_voltage_since_boot:
        supply = Finding("supply", WARNING, "under-voltage at some time since it booted", fix)
    else:
        supply = Finding("supply", OK, "no under-voltage since it booted")
    celsius, airy = board.temperature_c, "give it air, shade or a fan"
    if celsius is None:
        heat = Finding("heat", OK, "this machine does not say")
    elif celsius >= MEASURES[Heat.HOT].from_c:
        heat = Finding("heat", FAULT, f"{celsius:g} C: the accelerator should rest", airy)
    elif celsius >= MEASURES[Heat.WARM].from_c:
        heat = Finding("heat", WARNING, f"{celsius:g} C: this door counts slower", airy)
    else:
        heat = Finding("heat", OK, f"{celsius:g} C")
    return [supply, heat]


def check_disk(folder: Path, *, clock: Callable[[], float] = time.monotonic) -> Finding:
    """Room, and whether the disk says that it has what it was given; a file is written there and deleted."""
    name = "disk"
    if not folder.is_dir():
        return Finding(
            name, FAULT, f"no folder {folder}", "start the agent once, or make it and give it to the agent's user"
        )
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    begun = clock()
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = "read-only: check the card and its mount; else give the folder to the agent's user"
        return Finding(name, FAULT, f"{folder} cannot be written: {error.strerror}", fix)
    took = clock() - begun
    said = f"{free / 1e9:.1f} GB free, 4 kB on the disk in {took * 1000:.0f} ms"
    if free < NO_DISK:
        return Finding(name, FAULT, said, "make room: the outbox gives up crops first, then events")
    if free < LITTLE_DISK:
        return Finding(name, WARNING, said, "make room, or take a larger card")
    if took > SLOW_SYNC_S:
        return Finding(name, WARNING, f"{said}: slow", "the card is worn or busy; have a new one at hand")
    return Finding(name, OK, said)


def check_clock(now: datetime, *, synchronised: bool) -> Finding:
    """Right by the kernel's own word, and possible."""
    said = f"{now:%Y-%m-%d %H:%M} UTC"
    if now < BUILT:
        return Finding("clock", FAULT, f"{said}: before this agent was written", "timedatectl set-ntp true")
    if not synchronised:
        fix = "timedatectl set-ntp true, and let UDP 123 out; passes are counted and marked meanwhile"
        return Finding("clock", WARNING, f"{said}, not synchronised", fix)
    return Finding("clock", OK, f"{said}, synchronised")


def check_certificate(identity: Path | None, device: str, now: datetime) -> Finding:
    """The door's own: for this device, and valid for a while."""
    name = "certificate"
    if identity is None:
        return Finding(name, OK, "none, and none is needed: the broker is on this machine")
    again = "enrol again with a new token: `provisioning enrol`"
    try:
        certificate = Certificate.from_pem((identity / CERTIFICATE).read_text(errors="replace"))
    except OSError as error:
        return Finding(name, FAULT, f"{identity / CERTIFICATE}: {(error.strerror or str(error)).lower()}", again)
    except ContractError as error:
        return Finding(name, FAULT, f"{identity / CERTIFICATE}: {error}", again)
    days = (certificate.ends - now).days
    if certificate.name != device:
        fix = f"set device = {certificate.name!r}, or {again}"
        return Finding(name, FAULT, f"it is for {certificate.name!r}, but this door is {device!r}", fix)
    if now < certificate.begins:
        return Finding(name, FAULT, f"not valid before {certificate.begins:%Y-%m-%d}", "set the clock")
    if now >= certificate.ends:
        return Finding(name, FAULT, f"it ended on {certificate.ends:%Y-%m-%d}", again)
    said = f"for {device}, {days} days left, until {certificate.ends:%Y-%m-%d}"
    return Finding(name, WARNING, said, again) if days < RENEW_DAYS else Finding(name, OK, said)


def check_outbox(folder: Path) -> Finding:
    """What waits and what was lost; read beside a running agent, which it does not stop."""
    name, waiting, lost = "outbox", {}, {}
    for what in ("events", "crops"):
        path = folder / f"{what}.db"
        if not path.exists():
            return Finding(name, OK, "empty: the agent has not run here yet")
        try:
            db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
            try:
                (waiting[what],) = db.execute("SELECT count(*) FROM letters").fetchone()
                row = db.execute("SELECT number FROM ledger WHERE what = ?", (f"{what}_lost",)).fetchone()
            finally:
                db.close()
        except sqlite3.Error as error:
            fix = "restart the agent: it sets a broken file aside, counts it, and begins a new one"
            return Finding(name, FAULT, f"{path} cannot be read: {error}", fix)
        lost[what] = row[0] if row else 0
    said = f"{waiting['events']} events and {waiting['crops']} crops wait"
    if lost["events"] or lost["crops"]:
        given_up = f"{said}; ever given up: {lost['events']} events, {lost['crops']} crops"
        return Finding(name, WARNING, given_up, "raise outbox.cap_bytes, or see why the cloud could not be reached")
    return Finding(name, OK, said)
