"""`make demo`: broker, cloud and doors as real processes on this machine; the numbers come through all of them."""

import json
import os
import shutil
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2

from contract.labels import LABELS
from rehearsal.processes import Child, Mosquitto, free_port, wait_until
from rehearsal.scene import LINES, Kind, Scene, truth_path, write_clip

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 24  # walkers in one turn of a generated clip
SCENES: tuple[tuple[str, Kind, int], ...] = (
    ("lobby", "passage", 7001),
    ("stairs", "entrance", 7002),
    ("corridor", "passage", 7003),
)
# Real clips, where they lie beside the checkout: door name, file, line.
REAL_CLIPS: tuple[tuple[str, str, str], ...] = (
    ("platform", "station_platform_masked.mp4", "0,0.45,1,0.45"),
    ("opera", "opera_house_walk_unmasked.mp4", "0,0.4,1,0.4"),
)


@dataclass(frozen=True, slots=True)
class DemoDoor:
    """One door of the demo: a clip that is played as if live."""

    name: str
    clip: Path
    line: tuple[float, float, float, float]
    generated: bool


class Demo:
    """Everything that runs, started in order and stopped in reverse."""

    def __init__(self, folder: Path, *, photographs: Path | None, port: int) -> None:
        self._folder = folder
        self._photographs = photographs
        self._port = port
        self._children: list[Child] = []
        self._broker = Mosquitto(folder / "broker")
        self.doors: list[DemoDoor] = []

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Draw, then start broker, cloud and doors; says what it does. Raises RehearsalError."""
        self.doors = [*self._generated_doors(), *self._real_doors()]
        _say(f"broker: mosquitto on port {self._broker.port}")
        self._broker.start()
        _say(f"cloud: {self.page}")
        self._start_cloud()
        for door in self.doors:
            _say(f"door {door.name}: {door.clip.name}{'' if door.generated else ' (a real clip)'}")
            self._start_door(door)
        wait_until(self._all_online, within_s=60, what="every door reporting to the cloud")

    def require_running(self) -> None:
        """Raises RehearsalError with its last words where any process has ended."""
        for child in self._children:
            child.require_running()

    def overview(self) -> list[dict[str, Any]]:
        """What the cloud's API says of every door."""
        with urllib.request.urlopen(f"{self.page}api/v1/doors", timeout=10) as answer:  # noqa: S310 - our own loopback
            doors: list[dict[str, Any]] = json.load(answer)
            return doors

    def stop_doors(self) -> None:
        """Let every agent finish: its last passes are delivered before it ends."""
        agents = [child for child in self._children if child.name.startswith("door ")]
        for child in agents:
            if child.running:
                child.process.send_signal(signal.SIGTERM)
        for child in agents:
            child.stop(within_s=15)

    def stop(self) -> None:
        """Stop all that still runs, in reverse order."""
        for child in reversed(self._children):
            child.stop()
        self._broker.stop()

    def _generated_doors(self) -> list[DemoDoor]:
        doors = []
        for name, kind, seed in SCENES:
            clip = self._folder.parent / "clips" / f"{name}-{_scene_version()}.mp4"
            if not truth_path(clip).is_file():
                _say(f"drawing the {kind} scene of door {name}: {PEOPLE} people")
                write_clip(Scene(kind, seed=seed, people=PEOPLE), clip, progress=_progress)
            doors.append(DemoDoor(name, clip, LINES[kind], generated=True))
        return doors

    def _real_doors(self) -> list[DemoDoor]:
        if self._photographs is None:
            return []
        found = [(name, self._photographs / "video" / file, line) for name, file, line in REAL_CLIPS]
        return [DemoDoor(name, clip, _corners(line), generated=False) for name, clip, line in found if clip.is_file()]

    def _start_cloud(self) -> None:
        settings = self._write(
            "cloud.toml",
            f'broker = "{self._broker.url}"\ndata = "{self._folder / "cloud"}"\nhost = "127.0.0.1"\nport = {self._port}\n',
        )
        child = self._child("cloud", "cloud", "all", "--config", settings)

        def ready() -> bool:
            child.require_running()
            return self._answers()

        wait_until(ready, within_s=60, what=f"the cloud answering at {self.page}")

    def _start_door(self, door: DemoDoor) -> None:
        settings = self._write(
            f"{door.name}.toml",
            f'device = "{door.name}"\n\n[camera]\nsource = "{door.clip}"\nloop = true\n\n[door]\nline = {list(door.line)}\n\n'
            f'[broker]\nurl = "{self._broker.url}"\nheartbeat_s = 2\n\n[outbox]\nfolder = "{self._folder / door.name}"\n',
        )
        self._child(f"door {door.name}", "agent", "run", "--config", settings)

    def _child(self, name: str, module: str, *arguments: str | Path) -> Child:
        # One arithmetic thread each: several doors share this machine's cores.
        env = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"}
        log = self._folder / "logs" / f"{name.replace(' ', '-')}.log"
        child = Child(name, [sys.executable, "-m", module, *arguments], log=log, env=env)
        self._children.append(child)
        return child

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def _answers(self) -> bool:
        try:
            self.overview()
        except OSError:
            return False
        return True

    def _all_online(self) -> bool:
        self.require_running()
        return {door["name"] for door in self.overview() if door["state"] == "online"} >= {
            door.name for door in self.doors
        }


def run(*, seconds: float | None, folder: Path, photographs: Path | None, port: int) -> None:
    """Run the demo until Ctrl-C, or for `seconds`; ends with the table of counts per door."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    demo = Demo(folder, photographs=photographs, port=port or free_port())
    enough = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: enough.set())
    try:
        demo.start()
        _say(f"open {demo.page}" + (f"; this ends by itself in {seconds:g} s" if seconds else "; Ctrl-C stops all"))
        ends = time.monotonic() + seconds if seconds else float("inf")
        while not enough.wait(min(5.0, max(0.1, ends - time.monotonic()))) and time.monotonic() < ends:
            demo.require_running()
            _status(demo.overview())
        print()
        _say("stopping the doors; their last passes are delivered first")
        demo.stop_doors()
        print(summary(demo.doors, demo.overview()))
    finally:
        demo.stop()


def summary(doors: Sequence[DemoDoor], overview: list[dict[str, Any]]) -> str:
    """Counts per door as the cloud has them, beside the drawn truth where there is one."""
    by_name = {door["name"]: door for door in overview}
    lines = [f"{'door':10} {'in':>12} {'out':>12}  " + "".join(f"{label.replace('_', ' '):>24}" for label in LABELS)]
    for door in doors:
        told = by_name.get(door.name)
        if told is None:
            lines.append(f"{door.name:10} said nothing")
            continue
        truth = true_counts(door, told["frames"] + told["frames_dropped"]) if door.generated else None
        label_counts = {one["label"]: one["passes"] for one in told["today"]["labels"]}
        cells = [_beside(told["today"][way], truth[way] if truth else None) for way in ("in", "out")]
        labels = [_beside(label_counts[label], truth[label] if truth else None) for label in LABELS]
        lines.append(f"{door.name:10} {cells[0]:>12} {cells[1]:>12}  " + "".join(f"{cell:>24}" for cell in labels))
    lines.append("counted/drawn: generated doors stand beside their exact truth; real clips have none here")
    return "\n".join(lines)


def true_counts(door: DemoDoor, frames: int) -> Counter[str]:
    """What a generated door has shown in its first `frames` frames, turn after turn, by direction and label."""
    truth = json.loads(truth_path(door.clip).read_text())
    turns, rest = divmod(frames, truth["frames"])
    counted: Counter[str] = Counter()
    for one in truth["passes"]:
        seen = turns + (one["at_ms"] * truth["fps"] / 1000 < rest)
        counted[one["direction"]] += seen
        counted[one["label"]] += seen
    return counted


def _beside(counted: int, truth: int | None) -> str:
    return str(counted) if truth is None else f"{counted}/{truth}"


def _status(overview: list[dict[str, Any]]) -> None:
    parts = [f"{door['name']} {door['today']['passes']} ({door['fps']:g} fps)" for door in overview]
    print("\r" + "  ".join(parts), end="", flush=True)


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def _progress(done: int, total: int) -> None:
    if done == total or (sys.stdout.isatty() and done % 50 == 0):
        print(f"\r  {done} of {total} frames", end="\n" if done == total else "", flush=True)


def _corners(text: str) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(part) for part in text.split(","))
    return x0, y0, x1, y1


def _scene_version() -> str:
    """Changes with the drawing code, so that a clip is drawn anew when it would look different."""
    sources = [Path(__file__).with_name(name).read_bytes() for name in ("people.py", "scene.py")]
    return sha256(b"".join(sources) + cv2.__version__.encode() + str((PEOPLE, SCENES)).encode()).hexdigest()[:10]
