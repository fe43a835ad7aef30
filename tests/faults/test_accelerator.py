"""Faults of the accelerator, by the library that behaves like the Edge TPU's and by a stick that is drawn; no Coral was here."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.__main__ import main
from agent.config import FACTORY_MODEL, ModelSettings
from agent.health.coral import FIRST_PAUSE_S, Coral
from agent.health.marker import Marker
from agent.health.probe import Probe
from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detector, Faces
from agent.vision.frame import Frame
from agent.vision.geometry import Line
from agent.vision.guard import Guard
from agent.vision.meter import Meter
from agent.vision.pipeline import crossings
from agent.vision.tracker import Tracker
from agent.vision.yolo import Fitted, Pixels
from contract.errors import ContractError
from contract.events import Accelerator
from rehearsal.processes import Child, Mosquitto, wait_until
from rehearsal.scene import LINES, Scene, write_clip
from tests.agent.edgetpu_kit import build_library, compiled_model, coral_model
from tests.agent.release_kit import DEVICE, Cloud

CPU, CORAL = Accelerator.CPU, Accelerator.EDGE_TPU
RECOVERED_S = 15.0  # a fault of the accelerator heals within this


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_library(tmp_path_factory.mktemp("library")))


@cache
def frames() -> tuple[Frame, ...]:
    drawn = Scene("passage", seed=81, people=8, gap_s=0.9)
    return tuple(Frame(drawn.render(index)[0], index / drawn.fps) for index in range(drawn.frames))


class Stick(Detector):
    """Sees what the CPU sees until its frame `faulty`; then it hangs for `hang_s`, or it is gone."""

    def __init__(self, faulty: int, *, hang_s: float = 0.0) -> None:
        self._sound = Detector.load(FACTORY_MODEL)
        self.manifest, self.accelerator = self._sound.manifest, CORAL
        self._left, self._hang_s = faulty, hang_s

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
        self._left -= 1
        if self._left < 0 and not self._hang_s:
            raise RuntimeError("node 1 failed to invoke")
        if self._left == -1:
            time.sleep(self._hang_s)
        return self._sound.look(pixels, fitted)


def count(meter: Meter) -> list[Crossing]:
    def stream() -> Iterator[Frame]:
        for frame in frames():
            meter.at_s = frame.at_s
            yield frame

    line = Line.of(*LINES["passage"])
    return list(crossings(stream(), eyes=meter, tracker=Tracker(), counter=Counter(line)))


@pytest.mark.parametrize("hang_s", [7.0, 0.0], ids=["85 hang", "86 unplugged"])
def test_no_pass_is_lost_when_the_coral_hangs_or_is_unplugged_in_the_middle(hang_s: float) -> None:
    """Faults 85 and 86: the frame at which it happens is looked at by the CPU, and tracks go on."""
    plain = count(Meter(Detector.load(FACTORY_MODEL)))
    assert len(plain) >= 3
    middle = round(plain[1].at_s * 15)  # somebody is on the line
    guard = Guard(Stick(middle, hang_s=hang_s))
    meter = Meter(guard, fallback=Detector.load(FACTORY_MODEL))
    begun = time.monotonic()
    meter.look(frames()[0].pixels)  # one look that is no frame of the count
    assert count(meter) == plain
    assert meter.accelerator is CPU
    assert ("no answer within 5 s" if hang_s else "failed to invoke") in meter.fault
    assert {meter.accelerator_at(one.at_s) for one in plain} == {CPU, CORAL}
    assert hang_s == 0.0 or time.monotonic() - begun > 5.0
    guard.close()


def test_a_real_delegate_that_hangs_is_left_within_15_s_and_taken_again(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults 85 and 86: an `invoke` in native code does not answer for 7 s; later the stick is absent, then back."""
    model, pixels = coral_model(tmp_path / "model"), frames()[30].pixels
    meter = Meter(Detector.load(model))
    coral = Coral(
        ModelSettings(), meter, Marker(tmp_path), probe=partial(Probe, library=library, deadline_s=60.0),
        load=partial(Detector.load_on_edge_tpu, library=library), plugged=lambda: False,
    )  # fmt: skip
    now = 1000.0

    def looks_with(accelerator: Accelerator) -> bool:
        nonlocal now
        now += 0.01
        coral.tick(now, model, on_trial=False)
        meter.look(pixels)
        return meter.accelerator is accelerator

    wait_until(lambda: looks_with(CORAL), within_s=60, what="the Coral")
    coral.tick(now, model, on_trial=False)
    monkeypatch.setenv("FAKE_EDGETPU_MS", "7000")
    begun = time.monotonic()
    assert looks_with(CPU)
    assert 4.9 < time.monotonic() - begun < RECOVERED_S
    looks_with(CPU)
    assert "no answer within 5 s" in coral.trouble
    monkeypatch.delenv("FAKE_EDGETPU_MS")
    monkeypatch.setenv("FAKE_EDGETPU_ABSENT", "1")
    now += FIRST_PAUSE_S

    def told() -> bool:
        return looks_with(CPU) and "no Coral answers (no device)" in coral.trouble

    wait_until(told, within_s=60, what="the probe of an absent stick")
    monkeypatch.delenv("FAKE_EDGETPU_ABSENT")
    now += 2 * FIRST_PAUSE_S
    wait_until(lambda: looks_with(CORAL), within_s=60, what="the Coral's return")
    assert coral.trouble == ""
    coral.close()


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_never_loaded(library: str, tmp_path: Path, part: float) -> None:
    """Model file truncated: neither the CPU's nor the Coral's gets past its digest, and most of them do not pass the probe."""
    model = coral_model(tmp_path)
    compiled, whole = model.with_name("model_edgetpu.tflite"), compiled_model()
    compiled.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ContractError, match="not the compiled file that the manifest names"):
        Detector.load_on_edge_tpu(model, library=library)
    if part < 0.9:  # the last bytes are padding: only the digest tells
        assert Probe(compiled, library=library, deadline_s=60.0).wait().reason
    content = model.read_bytes()
    model.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ContractError, match="is not the file that"):
        Detector.load(model)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "door.mp4"
    write_clip(Scene("passage", seed=61, people=3, gap_s=1.0), path)
    return path


def start(folder: Path, broker: Mosquitto, clip: Path, library: str, **environment: str) -> Child:
    model = folder / "model" / "model.tflite"
    if not model.exists():
        coral_model(model.parent)
    config = folder / "door.toml"
    config.write_text(
        f'device = "{DEVICE}"\n[camera]\nsource = "{clip}"\nloop = true\n[door]\nline = [0.5, 1.0, 0.5, 0.0]\n'
        f'[broker]\nurl = "{broker.url}"\nheartbeat_s = 1\n[outbox]\nfolder = "{folder / "outbox"}"\nclock_wait_s = 0\n'
        f'[model]\npath = "{model}"\nedgetpu_library = "{library}"\n'
    )
    command: list[str | Path] = [sys.executable, "-m", "agent", "run", "--config", config]
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"} | environment
    return Child("door", command, log=folder / "door.log", env=env)


def test_a_door_without_its_coral_at_boot_counts_on_the_cpu_and_says_why(
    tmp_path: Path, broker: Mosquitto, clip: Path, library: str
) -> None:
    """Fault 87: heartbeat and events say `cpu`."""
    cloud, kept = Cloud(broker.port), tmp_path / "outbox"
    kept.mkdir()
    for in_use in (True, False):  # it had one when it ran last
        Marker(kept).write(failures=0, in_use=in_use)
    child = start(tmp_path, broker, clip, library, FAKE_EDGETPU_ABSENT="1")
    try:
        said = "the Coral is not used: no Coral answers (no device): is the stick plugged in?"
        wait_until(lambda: any(said in beat.trouble for beat in cloud.beats), within_s=60, what="the trouble")
        wait_until(lambda: bool(cloud.events), within_s=60, what="a pass")
        assert {one["accelerator"] for one in cloud.events} == {"cpu"}
        assert {beat.accelerator for beat in cloud.beats} == {CPU}
    finally:
        child.stop()
        cloud.close()


def test_a_door_that_was_killed_on_its_coral_begins_on_the_cpu(
    tmp_path: Path, broker: Mosquitto, clip: Path, library: str
) -> None:
    """Fault 85, where the library takes the process with it or lets nothing else run: the next start does not fear for its count."""
    cloud = Cloud(broker.port)
    child = start(tmp_path, broker, clip, library)
    try:
        wait_until(
            lambda: bool(cloud.beats) and cloud.beats[-1].accelerator is CORAL, within_s=60, what="a beat on the Coral"
        )
        assert cloud.beats[-1].trouble == ()
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        cloud.beats.clear()
        child = start(tmp_path, broker, clip, library)
        said = "the Coral is not used: the agent ended while it used the Coral"
        wait_until(
            lambda: any(beat.state == "online" for beat in cloud.beats), within_s=60, what="a beat of the second start"
        )
        first = next(beat for beat in cloud.beats if beat.state == "online")
        assert (first.accelerator, first.trouble) == (CPU, (said,))
        child.stop()
        cloud.beats.clear()
        child = start(tmp_path, broker, clip, library)  # after an orderly end, at once
        wait_until(lambda: any(beat.accelerator is CORAL for beat in cloud.beats), within_s=60, what="the Coral")
    finally:
        child.stop()
        cloud.close()


def selftest(folder: Path, capsys: pytest.CaptureFixture[str], **model: Any) -> tuple[int, dict[str, Any]]:
    config = folder / "door.toml"
    lines = "\n".join(f"{name} = {json.dumps(str(value))}" for name, value in model.items())
    config.write_text(f'device = "{DEVICE}"\n[model]\n{lines}\n')
    code = main(["selftest", "--config", str(config), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_fresh_cards_selftest_passes_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = selftest(tmp_path, capsys)
    (result,) = told["results"]
    assert (code, result["accelerator"], result["faults"]) == (0, "cpu", [])
    assert result["frames"] >= 4
    assert result["median_ms"] > 0
    assert told["coral"] == "this model has no file for it"


def test_the_selftest_tells_a_coral_that_sees_other_things_from_one_that_is_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 87, and a Coral whose answers are wrong: the stand-in answers every frame with one pattern."""
    golden = FACTORY_MODEL.with_name("golden.zip").read_bytes()
    model = coral_model(tmp_path / "model", golden_digest=sha256(golden).hexdigest())
    model.with_name("golden.zip").write_bytes(golden)
    code, told = selftest(tmp_path, capsys, path=model, edgetpu_library=library)
    assert (code, [one["accelerator"] for one in told["results"]]) == (2, ["cpu", "edgetpu"])
    assert told["results"][0]["faults"] == []
    assert "golden frame 0" in told["results"][1]["faults"][0]
    monkeypatch.setenv("FAKE_EDGETPU_ABSENT", "1")
    for setting, wanted in (("auto", 0), ("edgetpu", 2)):
        code, told = selftest(tmp_path, capsys, path=model, edgetpu_library=library, accelerator=setting)
        assert (code, len(told["results"])) == (wanted, 1)
        assert "no Coral answers (no device)" in told["coral"]
