"""A whole door at work: frames a second with outbox, uplink and a real broker live, and the memory of `agent run`."""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from agent.app import Door
from agent.config import AgentSettings
from agent.vision.camera import Frame
from agent.vision.detector import Detector
from agent.vision.runtime import open_model
from agent.vision.yolo import Pixels
from bench.overhead import Timed
from contract.release import read_manifest
from rehearsal.processes import Child, Mosquitto
from rehearsal.scene import HEIGHT, LINES, WIDTH

SETTLE_S = 15.0  # of an agent before its memory is read


class Unpaced(Door):
    """A door whose camera always has the next frame, and whose interpreter's time is known."""

    def __init__(self, settings: AgentSettings, pixels: list[Pixels], wanted: int) -> None:
        super().__init__(settings)
        self._pixels, self._wanted = pixels, wanted
        model = settings.model.path
        self._timed = Timed(open_model(model))
        self._detector.swap(Detector(self._timed, read_manifest(model)), fallback=None)
        self.whole: list[float] = []
        self.floor: list[float] = []

    def _frames(self) -> Iterator[Frame]:
        for index in range(self._wanted):
            begun = time.perf_counter()
            yield Frame(self._pixels[index % len(self._pixels)], index / 15)
            self.whole.append((time.perf_counter() - begun) * 1000)
            self.floor.append(self._timed.taken())


def report(pixels: list[Pixels], model: Path, frames: int = 450) -> None:
    """Print both, without and with crops; nobody consumes what the door sends, so that it sends it again and again."""
    with tempfile.TemporaryDirectory() as scratch:
        broker = Mosquitto(Path(scratch) / "broker").start()
        try:
            for crops in (False, True):
                folder = Path(scratch) / f"door-{crops}"
                _throughput(Unpaced(_settings(broker, folder, model, crops=crops), pixels, frames), crops)
            _memory(broker, Path(scratch), model, pixels)
        finally:
            broker.stop()


def _settings(broker: Mosquitto, folder: Path, model: Path, *, crops: bool) -> AgentSettings:
    return AgentSettings.model_validate(
        {
            "device": "door-bench", "camera": {"source": "0"}, "door": {"line": LINES["passage"]},
            "broker": {"url": broker.url, "heartbeat_s": 1}, "outbox": {"folder": folder}, "learning": {"crops": crops},
            "model": {"path": model},
        }
    )  # fmt: skip


def _throughput(door: Unpaced, crops: bool) -> None:
    door.run(threading.Event())
    floor, whole = sum(door.floor), sum(door.whole)
    typical = statistics.median(bare / all_of_it for bare, all_of_it in zip(door.floor, door.whole, strict=True))
    print(
        f"a door, {'with' if crops else 'without'} crops: {1000 * len(door.whole) / whole:.1f} frames a second of"
        f" {1000 * len(door.floor) / floor:.1f} that invoke allows: {floor / whole:.3f}; of the median frame {typical:.3f}"
    )


def _memory(broker: Mosquitto, scratch: Path, model: Path, pixels: list[Pixels]) -> None:
    if not Path("/proc/self/status").exists():
        print("resident memory: not measured, no /proc here")
        return
    clip, config = scratch / "clip.mp4", scratch / "door.toml"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 15.0, (WIDTH, HEIGHT))
    for frame in pixels:
        writer.write(frame)
    writer.release()
    config.write_text(
        f'device = "door-memory"\n[camera]\nsource = "{clip}"\nloop = true\n[door]\nline = {list(LINES["passage"])}\n[model]\npath = "{model}"\n'
        f'[broker]\nurl = "{broker.url}"\n[outbox]\nfolder = "{scratch / "outbox"}"\nclock_wait_s = 0\n[learning]\ncrops = true\n'
    )
    agent = Child("agent", [sys.executable, "-m", "agent", "run", "--config", config], log=scratch / "agent.log")
    try:
        time.sleep(SETTLE_S)
        agent.require_running()
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
    finally:
        agent.stop()
    told = {
        line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith(("Vm", "Rss", "Threads"))
    }
    resident, anonymous, most = (int(told[name]) / 1024 for name in ("VmRSS", "RssAnon", "VmHWM"))
    print(
        f"`agent run` on a clip, crops on: {resident:.0f} MB resident ({anonymous:.0f} its own, the rest from files),"
        f" {most:.0f} at most, {told['Threads']} threads"
    )
