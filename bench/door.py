"""A whole door at work: frames a second with outbox, uplink and a real broker live, its delay, and the memory of `agent run`."""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from pathlib import Path

import cv2

from agent.app import Door
from agent.config import AgentSettings
from agent.vision.ahead import ahead
from agent.vision.camera import Frame
from agent.vision.detector import Detector, Faces
from agent.vision.runtime import open_model
from agent.vision.yolo import Fitted, Pixels, letterbox
from bench.overhead import Timed
from contract.release import read_manifest
from rehearsal.processes import Child, Mosquitto
from rehearsal.scene import HEIGHT, LINES, WIDTH

SETTLE_S = 15.0  # of an agent before its memory is read
CORAL_S = 0.010  # of a look on a Coral, about what is published for such networks; there is none here
FPS = 15.0  # of a camera


class Waiting(Timed):
    """Computes its first answer, and gives it again and again after CORAL_S without the processor, as a Coral would."""

    _first = True

    def invoke(self) -> None:
        if self._first:
            super().invoke()
            self._first = False
        begun = time.perf_counter()
        time.sleep(CORAL_S)
        self._ms += (time.perf_counter() - begun) * 1000


class Unpaced(Door):
    """A door whose camera always has the next frame, and whose interpreter's time is known."""

    def __init__(self, settings: AgentSettings, pixels: list[Pixels], wanted: int, kind: type[Timed] = Timed) -> None:
        super().__init__(settings)
        self._pixels, self._wanted = pixels, wanted
        model = settings.model.path
        self._timed = kind(open_model(model))
        self._detector.swap(Detector(self._timed, read_manifest(model)), fallback=None)
        self.done: list[float] = []  # when each frame's faces were there, ms
        self.floor: list[float] = []  # what the interpreter took for it, ms

    def _frames(self) -> Iterator[Frame]:
        for index in range(self._wanted):
            yield Frame(self._pixels[index % len(self._pixels)], index / 15)

    def _looks(self, fitted: Iterator[tuple[Frame, Fitted]]) -> Iterator[tuple[Frame, Faces]]:
        for look in super()._looks(fitted):
            self.floor.append(self._timed.taken())
            self.done.append(time.perf_counter() * 1000)
            yield look


class InTurn(Unpaced):
    """The same with nothing done ahead."""

    def _stream(self) -> Iterator[tuple[Frame, Faces]]:
        return self._looks(self._fitted())


def report(pixels: list[Pixels], model: Path, frames: int = 450) -> None:
    """Print both, without and with crops; nobody consumes what the door sends, so that it sends it again and again."""
    with tempfile.TemporaryDirectory() as scratch:
        broker = Mosquitto(Path(scratch) / "broker").start()
        try:
            for crops in (False, True):
                for kind, door in product((Timed, Waiting), (InTurn, Unpaced)):
                    folder = Path(scratch) / f"{crops}-{kind.__name__}-{door.__name__}"
                    settings = _settings(broker, folder, model, crops=crops)
                    what = f"a door, {'with' if crops else 'without'} crops{', a Coral played' * (kind is Waiting)}"
                    what += ", nothing ahead" * (door is InTurn)
                    _throughput(door(settings, pixels, frames, kind), what)
            _delay(pixels, model)
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


def _throughput(door: Unpaced, what: str) -> None:
    door.run(threading.Event())
    floor = door.floor[1:]
    whole = [now - before for before, now in pairwise(door.done)]
    typical = statistics.median(floor) / statistics.median(whole)
    print(
        f"{what}: {1000 * len(whole) / sum(whole):.1f} frames a second of"
        f" {1000 * len(floor) / sum(floor):.1f} that invoke allows: {sum(floor) / sum(whole):.3f}; by medians {typical:.3f}"
    )


def _delay(pixels: list[Pixels], model: Path, wanted: int = 60) -> None:
    """Of a camera that is slower than the door: from a frame's coming to its faces, nothing ahead and as it is."""
    detector = Detector.load(model)
    size = detector.manifest.input_size

    def came() -> Iterator[tuple[float, Pixels, Fitted]]:
        for index in range(wanted):
            time.sleep(1 / FPS)
            frame = pixels[index % len(pixels)]
            yield time.perf_counter(), frame, letterbox(frame, size)

    def looks(fitted: Iterable[tuple[float, Pixels, Fitted]]) -> Iterator[tuple[float, Faces]]:
        for at, frame, picture in fitted:
            yield at, detector.look(frame, picture)

    took = [
        statistics.median((time.perf_counter() - at) * 1000 for at, faces in stream if faces.found)
        for stream in (looks(came()), ahead(looks(ahead(came())), 2))
    ]
    print(f"a frame of {FPS:g} a second is counted {took[1]:.2f} ms after it came; nothing ahead: {took[0]:.2f} ms")


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
