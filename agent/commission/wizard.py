"""`agent commission`: an installer walks in and out, and the door says which line counts that, and how well."""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

from agent.commission.paste import to_paste
from agent.commission.record import Acceptance, WalkRecord
from agent.commission.watch import Looks, Take, best_line, count, course, paths, watch
from agent.vision.camera import Camera, Clip
from agent.vision.doorway import Doorway
from agent.vision.frame import Frame
from agent.vision.geometry import Line, Zone
from agent.vision.pipeline import Eyes, Look
from contract.errors import ContractError
from contract.events import Accelerator
from contract.fleet import DoorLine, DoorPlan
from contract.release import Manifest

FIRST_FRAME_S = 20.0  # a camera that shows nothing by then never will
SKIP = "s"


class Terminal(Protocol):
    """Whoever the installer talks to."""

    def say(self, text: str) -> None: ...
    def ask(self, text: str) -> str: ...


class Looker(Eyes, Protocol):
    """A model ready to look at frames."""

    manifest: Manifest
    accelerator: Accelerator


@dataclass(frozen=True, slots=True)
class Seen:
    """Every walk, and how it was looked at."""

    takes: tuple[Take, ...]
    frame_size: tuple[int, int]  # width, height in px

    @property
    def fps(self) -> float:
        """Frames a second that were looked at."""
        looks, lasted = sum(len(take.looks) - 1 for take in self.takes if take.looks), self._lasted_s
        return round(looks / lasted, 1) if lasted else 0.0

    @property
    def _lasted_s(self) -> float:
        return sum(take.lasted_s for take in self.takes)


def walk(camera: Camera, eyes: Eyes, walks: int, *, zone: Zone | None, terminal: Terminal) -> Seen:
    """Ask for `walks` walks, in and out by turns, and look on. Raises ContractError where the camera shows nothing."""
    frames, size = _opened(camera)
    terminal.say(
        f"The camera shows {size[0]}x{size[1]} px. You will be asked to walk through the door {walks} times, once in, once "
        "out, by turns.\nWalk as people will, alone, and look where they will. When nobody is in the picture, go on."
    )
    takes: list[Take] = []
    while len(takes) < walks:
        inward = len(takes) % 2 == 0
        way = "IN, from outside to inside" if inward else "OUT, from inside to outside"
        terminal.ask(f"Walk {len(takes) + 1} of {walks}: {way}. Enter, then walk: ")
        looks = watch(frames, eyes, zone=zone, tell=terminal.say)
        if not looks:
            raise ContractError("the camera's stream has ended" + (f": {camera.trouble}" if camera.trouble else ""))
        _describe(looks, zone, terminal)
        if not paths(looks, zone):
            answer = terminal.ask(f"No face was followed. Enter: once more; {SKIP}: no face shows on this way, go on: ")
            if answer.strip().lower() != SKIP:
                continue
        takes.append(Take(int(inward), int(not inward), looks))
    return Seen(tuple(takes), size)


def play(
    clip: Clip, eyes: Eyes, *, entered: int, left: int, part: tuple[int, int] | None, fps: float, zone: Zone | None,
    terminal: Terminal,
) -> Seen:  # fmt: skip
    """The same from a clip, or its frames `part` (first and last), in which so many people go in and out."""
    first, last = part or (0, 1 << 40)
    step = max(1, math.ceil(clip.fps / fps - 0.01))  # as a camera drops frames that are more than the settings ask for
    looks, size = [], (0, 0)
    for frame in islice(clip.frames(), first, last + 1, step):
        size = frame.pixels.shape[1], frame.pixels.shape[0]
        looks.append(Look.of(eyes.look(frame.pixels), frame.at_s))
        if len(looks) % 50 == 0:
            terminal.say(f"  {len(looks)} frames")
    if not looks:
        raise ContractError(f"{clip.path} has no frames {first} to {last}")
    _describe(tuple(looks), zone, terminal)
    return Seen((Take(entered, left, tuple(looks)),), size)


def judge(seen: Seen, doorway: Doorway, *, keep: bool, terminal: Terminal) -> Doorway:
    """Find the line, or `keep` the door's, and say how well it counts; returns what was measured."""
    if not keep:
        line = best_line(seen.takes, doorway.zone)
        name = doorway.lines[0].name
        chosen = Doorway.of([Line(line.start, line.end, name)], doorway.zone)
        before = sum(count(take, doorway).off(take) for take in seen.takes)
        after = sum(count(take, chosen).off(take) for take in seen.takes)
        if before <= after:
            terminal.say("The line in the settings counts these walks as well as any; it may stay.")
        doorway = chosen
    for number, take in enumerate(seen.takes, start=1):
        found = count(take, doorway)
        terminal.say(
            f"Walk {number}: {take.entered} in, {take.left} out; counted {found.entered} in, {found.left} out"
            + ("" if not found.off(take) else "  <- not right")
        )
    terminal.say(f"\n{to_paste(doorway.lines[0])}\n")
    return doorway


def describe(
    seen: Seen, doorway: Doorway, *, device: str, at: datetime, software: str, eyes: Looker, clip: bool, fitted: bool
) -> Acceptance:
    """The record of it; no picture, no path and no label is in there."""
    counts = [count(take, doorway) for take in seen.takes]
    entered, left = sum(take.entered for take in seen.takes), sum(take.left for take in seen.takes)
    off = sum(found.off(take) for found, take in zip(counts, seen.takes, strict=True))
    return Acceptance(
        device=device, at=at, software=software, release=eyes.manifest.release, model_digest=eyes.manifest.digest,
        accelerator=eyes.accelerator, source="clip" if clip else "walks", frame_size=seen.frame_size, fps=seen.fps,
        door=_plan(doorway), fitted=fitted,
        walks=tuple(
            WalkRecord(
                entered=take.entered, left=take.left, counted_in=found.entered, counted_out=found.left,
                faces=len(paths(take.looks, doorway.zone)), lasted_s=round(take.lasted_s, 2),
            )
            for take, found in zip(seen.takes, counts, strict=True)
        ),
        entered=entered, left=left, counted_in=sum(one.entered for one in counts),
        counted_out=sum(one.left for one in counts), error_percent=round(100 * off / max(1, entered + left), 2),
    )  # fmt: skip


def summary(record: Acceptance) -> str:
    """What a record says, for a person."""
    (x0, y0, x1, y1) = record.door.lines[0].line
    return (
        f"{record.device}, {record.at:%Y-%m-%d %H:%M} UTC, maskfleet {record.software}, release {record.release} "
        f"({record.model_digest[:12]}) on {record.accelerator}\n"
        f"line {x0:g},{y0:g},{x1:g},{y1:g}: {record.entered} in and {record.left} out by {record.source}, counted "
        f"{record.counted_in} in and {record.counted_out} out: error {record.error_percent:g} %"
    )


def _opened(camera: Camera) -> tuple[Iterator[Frame], tuple[int, int]]:
    """The camera's frames after the first one, and their size."""
    alarm = threading.Timer(FIRST_FRAME_S, camera.close)
    alarm.daemon = True
    alarm.start()
    frames = camera.frames()
    first = next(frames, None)
    alarm.cancel()
    if first is None:
        cause = camera.trouble or "no frame came"
        raise ContractError(f"{cause}: is the agent still running there? stop it, for it holds the camera")
    return frames, (first.pixels.shape[1], first.pixels.shape[0])


def _describe(looks: Looks, zone: Zone | None, terminal: Terminal) -> None:
    seen: Sequence[str] = [course(path) for path in paths(looks, zone)]
    terminal.say(f"  {len(seen)} face{'' if len(seen) == 1 else 's'}" + (f": {', '.join(seen)}" if seen else ""))


def _plan(doorway: Doorway) -> DoorPlan:
    return DoorPlan(
        lines=tuple(
            DoorLine(name=line.name, line=(line.start.x, line.start.y, line.end.x, line.end.y))
            for line in doorway.lines
        ),
        zone=tuple((corner.x, corner.y) for corner in doorway.zone.corners) if doorway.zone else (),
    )


def only_line(doorway: Doorway, name: str | None) -> Doorway:
    """The door with one of its lines; raises ContractError where it has several and `name` is none of them."""
    if name is None and len(doorway.lines) == 1:
        return doorway
    found = [line for line in doorway.lines if line.name == name]
    if not found:
        known = ", ".join(line.name for line in doorway.lines if line.name) or "none has a name"
        raise ContractError(f"this door's lines: {known}; say which one is walked over with --line NAME")
    return Doorway.of(found, doorway.zone)


def record_path(device: str) -> Path:
    """Where a record goes unless somebody says otherwise."""
    return Path(f"acceptance-{device}.json")
