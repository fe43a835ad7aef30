"""`make demo`: broker, cloud and doors as real processes on this machine; the numbers come through all of them."""

import json
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2

from contract.labels import LABELS
from rehearsal.house import Doorway, House
from rehearsal.scene import LINES, Kind, Scene, truth_path, write_clip

LEARNING = "[learning]\ncrops = true\nwindow_s = 60\nbudget = 12\n"
OPEN = "\n[accounts]\npublic_counts = true\n"  # one click to the counts; labels and decisions need an account
PEOPLE = 24  # walkers in one turn of a generated clip
SCENES: tuple[tuple[str, Kind, int], ...] = (
    ("lobby", "passage", 7001),
    ("stairs", "entrance", 7002),
    ("corridor", "passage", 7003),
)
# Real clips, where they lie beside the checkout: door name, file, line.
REAL_CLIPS: tuple[tuple[str, str, tuple[float, float, float, float]], ...] = (
    ("platform", "station_platform_masked.mp4", (0.2, 0.0, 0.2, 1.0)),
)


def run(*, seconds: float | None, folder: Path, photographs: Path | None, port: int) -> None:
    """Run the demo until Ctrl-C, or for `seconds`; ends with the table of counts per door. Raises RehearsalError."""
    enough = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: enough.set())
    doors = [*drawn_doors(folder.parent / "clips", settings=LEARNING), *_real_doors(photographs)]
    shutil.rmtree(folder, ignore_errors=True)
    house = House(folder, port=port, cloud_settings=OPEN)
    since = datetime.now(UTC)
    try:
        start(house, doors)
        say(f"open {house.page}" + (f"; this ends by itself in {seconds:g} s" if seconds else "; Ctrl-C stops all"))
        say(f"to label and to decide, become its admin: {house.welcome}")
        ends = time.monotonic() + seconds if seconds else float("inf")
        while not enough.is_set() and (left := ends - time.monotonic()) > 0:
            house.require_running()
            _status(house.overview(), tallies(house, since))
            enough.wait(min(5.0, left))
        print()
        say("stopping the doors; their last passes are delivered first")
        house.stop_doors()
        print(summary(doors, house.overview(), tallies(house, since)))
    finally:
        house.stop()


def tallies(house: House, since: datetime) -> dict[str, dict[str, Any]]:
    """What the cloud's API counts of every running door since the hour in which `since` lies, over midnight too."""
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    span = quote(hour.isoformat())
    return {name: house.ask(f"counts?from={span}&door={quote(name)}")["total"] for name in house.doors}


def summary(doors: Sequence[Doorway], overview: list[dict[str, Any]], counted: dict[str, dict[str, Any]]) -> str:
    """`counted` per door as the cloud has it, beside the drawn truth where there is one."""
    by_name = {door["name"]: door for door in overview}
    lines = [f"{'door':10} {'in':>8} {'out':>8} " + "".join(f"{label.replace('_', ' '):>23}" for label in LABELS)]
    for door in doors:
        told = by_name.get(door.name)
        if told is None:
            lines.append(f"{door.name:10} said nothing")
            continue
        drawn = truth_path(door.clip).is_file()
        truth = true_counts(door.clip, told["frames"] + told["frames_dropped"]) if drawn else None
        tally = counted[door.name]
        by_label = {one["label"]: one["passes"] for one in tally["labels"]}
        ways = [_beside(tally[way], truth[way] if truth else None) for way in ("in", "out")]
        labels = [_beside(by_label[label], truth[label] if truth else None) for label in LABELS]
        lines.append(f"{door.name:10} {ways[0]:>8} {ways[1]:>8} " + "".join(f"{cell:>23}" for cell in labels))
    lines.append("n/m: n counted by the whole system, m drawn (a real clip has no exact truth here)")
    return "\n".join(lines)


def true_counts(clip: Path, frames: int) -> Counter[str]:
    """What a generated clip has shown in its first `frames` frames, turn after turn, by direction and by label."""
    truth = json.loads(truth_path(clip).read_text())
    turns, rest = divmod(frames, truth["frames"])
    counted: Counter[str] = Counter()
    for one in truth["passes"]:
        seen = turns + (one["at_ms"] * truth["fps"] / 1000 < rest)
        counted[one["direction"]] += seen
        counted[one["label"]] += seen
    return counted


def start(house: House, doors: Sequence[Doorway]) -> None:
    """Broker, cloud and doors, until all doors have reported. Raises RehearsalError."""
    say(f"broker: mosquitto on port {house.broker.port}, TLS; the cloud and each door have a certificate of their own")
    house.broker.start()
    say(f"cloud: starting at {house.page}")
    house.start_cloud()
    for door in doors:
        say(f"door {door.name}: {door.clip.name}{'' if truth_path(door.clip).is_file() else ' (a real clip)'}")
        house.start_door(door)
    house.wait_online()


def drawn_doors(clips: Path, *, settings: str, fashion: float = 0.0) -> list[Doorway]:
    """The doors whose clips are drawn, once; `settings` goes into each door's file, `fashion` into the scene."""
    doors = []
    for name, kind, seed in SCENES:
        clip = clips / f"{name}{'-new-season' if fashion else ''}-{_scene_version()}.mp4"
        if not truth_path(clip).is_file():
            say(f"drawing the clip of door {name}: {PEOPLE} people")
            write_clip(Scene(kind, seed=seed, people=PEOPLE, fashion=fashion), clip, progress=_progress)
        doors.append(Doorway(name, clip, LINES[kind], settings=settings))
    return doors


def _real_doors(photographs: Path | None) -> list[Doorway]:
    if photographs is None:
        return []
    found = [Doorway(name, photographs / "video" / file, line, settings=LEARNING) for name, file, line in REAL_CLIPS]
    return [door for door in found if door.clip.is_file()]


def _beside(counted: int, truth: int | None) -> str:
    return str(counted) if truth is None else f"{counted}/{truth}"


def _status(overview: list[dict[str, Any]], counted: dict[str, dict[str, Any]]) -> None:
    text = "  ".join(f"{door['name']} {counted[door['name']]['passes']} ({door['fps']:.0f} fps)" for door in overview)
    print(
        f"\r  passes: {text}" if sys.stdout.isatty() else f"  passes: {text}",
        end="" if sys.stdout.isatty() else "\n",
        flush=True,
    )


def say(text: str) -> None:
    """A line of the demo's own."""
    print(f"demo: {text}", flush=True)


def _progress(done: int, total: int) -> None:
    if sys.stdout.isatty() and (done % 25 == 0 or done == total):
        print(f"\r  {done} of {total} frames", end="\n" if done == total else "", flush=True)


def _scene_version() -> str:
    """Changes with the drawing code, so that a clip is drawn anew when it would look different."""
    sources = [Path(__file__).with_name(name).read_bytes() for name in ("people.py", "scene.py")]
    return sha256(b"".join(sources) + cv2.__version__.encode() + str((PEOPLE, SCENES)).encode()).hexdigest()[:10]
