"""The Coral of a door that counts: taken after a probe, left at the first fault, tried again; no Coral was here."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from agent.config import FACTORY_MODEL, ModelSettings
from agent.health.coral import FIRST_PAUSE_S, HELD_PROBES, LOAD_S, STEADY_S, Coral
from agent.health.marker import Marker
from agent.health.probe import Verdict
from agent.vision.detector import Detection, Detector, Faces
from agent.vision.meter import Looker, Meter
from agent.vision.yolo import Fitted, Pixels
from contract.errors import ContractError, TryAgainError
from contract.events import Accelerator
from rehearsal.processes import wait_until
from rehearsal.scene import Scene
from tests.agent.edgetpu_kit import coral_model
from tests.agent.told import Told

CPU, CORAL = Accelerator.CPU, Accelerator.EDGE_TPU
PIXELS = Scene("passage", seed=31, people=6, gap_s=0.5).render(60)[0]


class Stick(Detector):
    """A Coral that sees what the CPU sees; `look` runs before every look."""

    def __init__(self, sound: Detector, look: Callable[[], object]) -> None:
        self.manifest, self.accelerator = sound.manifest, CORAL
        self._sound, self._look = sound, look

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
        self._look()
        return self._sound.look(pixels, fitted)


@dataclass
class Answer:
    """A probe that has ended."""

    reason: str

    def poll(self) -> Verdict:
        return Verdict(self.reason, "stick", 4.0)

    def close(self) -> None:
        pass


@dataclass
class Bench:
    """A door's Coral without the door: time is what the test says, frames come when the test says."""

    folder: Path
    setting: str = "auto"
    deadline_s: float = 0.3
    now: float = 1000.0
    plugged: str = ""  # why a probe fails; empty: it does not
    look: Callable[[], object] = lambda: None
    probes: list[float] = field(default_factory=list)
    shown: bool = True  # by the machine, as plugged in
    on_trial: bool = False
    hot: bool = False
    load: Callable[[Path], Looker] | None = None

    def __post_init__(self) -> None:
        self.model = coral_model(self.folder / "model")
        self.start()

    def start(self) -> None:
        """A new process."""
        self.cpu = Detector.load(self.model)
        self.meter = Meter(self.cpu)
        settings = ModelSettings.model_validate({"accelerator": self.setting})
        self.coral = Coral(
            settings, self.meter, Marker(self.folder), probe=self._probe, load=self._load,
            plugged=lambda: self.shown, deadline_s=self.deadline_s,
        )  # fmt: skip

    def tick(self, after_s: float = 0.1) -> None:
        self.now += after_s
        self.coral.tick(self.now, self.model, on_trial=self.on_trial, hot=self.hot)

    def frame(self) -> list[Detection]:
        return self.meter.look(PIXELS).found

    def go(self) -> None:
        """Until the Coral looks, or would if it could."""
        for _ in range(3):
            self.tick()
        attempt = self.coral._attempt
        if attempt:
            attempt.join(10)
        self.tick()
        self.frame()
        self.tick()

    def _probe(self, _compiled: Path) -> Answer:
        self.probes.append(self.now)
        return Answer(self.plugged)

    def _load(self, model: Path) -> Looker:
        return self.load(model) if self.load else Stick(Detector.load(model), lambda: self.look())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    here = Bench(tmp_path)
    yield here
    here.coral.close()


def fails() -> None:
    raise RuntimeError("node 1 failed to invoke")


def test_the_coral_is_taken_after_a_probe_and_between_two_frames(bench: Bench) -> None:
    first = bench.frame()
    assert bench.meter.accelerator is CPU
    bench.meter.at_s = 10.0
    bench.go()
    assert (bench.meter.accelerator, bench.coral.trouble) == (CORAL, "")
    assert bench.frame() == first
    assert [bench.meter.accelerator_at(at_s) for at_s in (0.0, 9.9, 10.0)] == [CPU, CPU, CORAL]


@pytest.mark.parametrize("setting", ["auto", "edgetpu", "cpu"])
def test_a_stick_that_does_not_answer_is_told_and_asked_again_after_longer_and_longer_pauses(
    tmp_path: Path, setting: str
) -> None:
    bench = Bench(tmp_path, setting, plugged="no Coral answers")
    for _ in range(4000):
        bench.tick(0.1)
    bench.frame()
    told = "" if setting == "cpu" else "the Coral is not used: no Coral answers"
    assert (bench.meter.accelerator, bench.coral.trouble) == (CPU, told)
    pauses = [round(later - sooner) for sooner, later in zip(bench.probes, bench.probes[1:], strict=False)]
    assert pauses == ([] if setting == "cpu" else [30, 60, 120])


@pytest.mark.parametrize(
    ("setting", "shown", "said"),
    [("auto", False, False), ("auto", True, True), ("edgetpu", False, True), ("cpu", True, False)],
)
def test_a_release_without_a_file_for_the_coral_runs_on_the_cpu_and_a_door_with_a_coral_says_so(
    tmp_path: Path, setting: str, shown: bool, said: bool
) -> None:
    bench = Bench(tmp_path, setting, shown=shown)
    bench.model = coral_model(tmp_path / "plain", edge_tpu=None, release=7)
    bench.go()
    assert (bench.probes, bench.meter.accelerator) == ([], CPU)
    assert bench.coral.trouble == ("the Coral is not used: release 7 has no file for it" if said else "")
    bench.model.with_name("model_edgetpu.tflite").unlink()
    bench.model = coral_model(
        tmp_path / "older"
    )  # one that was compiled, but was released when that file was not signed
    bench.model.with_name("model_edgetpu.tflite").unlink()
    bench.go()
    assert (bench.probes, bench.meter.accelerator) == ([], CPU)
    assert ("came without model_edgetpu.tflite" in bench.coral.trouble) == said


def test_a_door_that_had_a_coral_once_says_that_it_is_gone_and_one_that_never_had_does_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, shown=False, plugged="no Coral answers")
    bench.go()
    assert (len(bench.probes), bench.coral.trouble) == (1, "")
    bench.plugged = ""
    bench.tick(10 * FIRST_PAUSE_S)
    bench.go()
    assert bench.meter.accelerator is CORAL
    bench.coral.close()
    bench.plugged = "no Coral answers"
    bench.start()
    bench.go()
    assert bench.coral.trouble == "the Coral is not used: no Coral answers"


def test_a_coral_that_fails_at_a_frame_is_left_for_that_very_frame_and_comes_back(bench: Bench) -> None:
    bench.go()
    bench.look = fails
    assert bench.frame() == bench.cpu.detect(PIXELS)
    assert bench.meter.accelerator is CPU
    bench.tick()
    assert "node 1 failed" in bench.coral.trouble
    bench.look = lambda: None
    bench.tick(FIRST_PAUSE_S - 1)
    assert bench.coral._child is None
    bench.tick(2)
    bench.go()
    assert (bench.meter.accelerator, bench.coral.trouble) == (CORAL, "")


def test_only_a_coral_that_worked_for_a_while_is_trusted_again(bench: Bench) -> None:
    bench.go()
    for pause in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, FIRST_PAUSE_S):
        bench.look = fails
        bench.frame()
        bench.tick()
        before = len(bench.probes)
        bench.look = lambda: None
        bench.tick(pause - 1)
        assert len(bench.probes) == before
        bench.tick(1.1)
        bench.go()
        assert bench.meter.accelerator is CORAL
        if pause > FIRST_PAUSE_S:
            bench.tick(STEADY_S + 1)


def test_a_coral_that_hangs_keeps_no_frame_waiting_and_at_last_asks_for_a_new_process(bench: Bench) -> None:
    go_on = threading.Event()
    bench.go()
    bench.look = go_on.wait
    assert bench.frame() == bench.cpu.detect(PIXELS)
    assert bench.meter.accelerator is CPU
    bench.tick()
    assert "no answer within 0.3 s" in bench.coral.trouble
    bench.plugged = "no Coral answers"  # it cannot: the thread that hangs has it
    with pytest.raises(TryAgainError, match="must start again"):
        for _ in range(HELD_PROBES * 4000):
            bench.tick()
    assert len(bench.probes) == 1 + HELD_PROBES
    go_on.set()


def test_a_coral_that_hung_and_let_go_comes_back_without_a_new_process(bench: Bench) -> None:
    go_on = threading.Event()
    bench.go()
    bench.look = go_on.wait
    bench.frame()
    bench.tick()
    go_on.set()
    bench.look = lambda: None
    bench.tick(FIRST_PAUSE_S + 1)
    bench.go()
    assert bench.meter.accelerator is CORAL


def test_loading_that_hangs_or_fails_leaves_the_cpu_counting(bench: Bench) -> None:
    go_on = threading.Event()

    def hangs(model: Path) -> Looker:
        go_on.wait()
        raise ContractError("too late")

    bench.load = hangs
    for _ in range(3):
        bench.tick()
    bench.tick(LOAD_S + 1)
    assert "took over 30 s" in bench.coral.trouble
    bench.frame()
    bench.tick(FIRST_PAUSE_S + 1)
    bench.tick()
    assert "still hangs" in bench.coral.trouble
    go_on.set()


def test_a_coral_that_finds_other_than_the_golden_frames_say_never_sees_a_live_frame(bench: Bench) -> None:
    folder = bench.folder / "golden"
    bench.model = coral_model(folder, golden_digest=_digest_of_factory(folder))

    class Blind(Stick):
        def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
            return Told()

    bench.load = lambda model: Blind(Detector.load(model), lambda: None)
    bench.go()
    bench.go()
    assert bench.meter.accelerator is CPU
    assert "golden frame 0" in bench.coral.trouble


def _digest_of_factory(folder: Path) -> str:
    folder.mkdir()
    content = FACTORY_MODEL.with_name("golden.zip").read_bytes()
    (folder / "golden.zip").write_bytes(content)
    return sha256(content).hexdigest()


def test_a_process_that_died_on_the_coral_begins_on_the_cpu(bench: Bench) -> None:
    bench.go()
    assert bench.meter.accelerator is CORAL
    bench.start()  # and nothing was closed
    bench.go()
    assert bench.meter.accelerator is CPU
    assert "ended while it used the Coral" in bench.coral.trouble
    bench.tick(FIRST_PAUSE_S + 1)
    bench.go()
    assert bench.meter.accelerator is CORAL
    bench.coral.close()
    bench.start()
    bench.go()
    assert bench.meter.accelerator is CORAL  # that was an orderly end


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"failures": -3, "in_use": "yes"}', b'{"failures": 1e400}'])
def test_a_marker_that_is_spoiled_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "coral.json").write_bytes(content)
    marker = Marker(tmp_path)
    assert (marker.in_use(), marker.failures()) == (False, 0)


def test_a_release_on_trial_takes_the_corals_place_and_gets_the_coral_afterwards(bench: Bench) -> None:
    bench.go()
    bench.meter.swap(Detector.load(bench.model), fallback=bench.cpu)
    bench.on_trial = True
    bench.frame()
    bench.tick(FIRST_PAUSE_S * 100)
    assert (bench.meter.accelerator, len(bench.probes)) == (CPU, 1)
    bench.meter.settle()
    bench.on_trial = False
    bench.model = coral_model(bench.folder / "newer")
    bench.go()
    assert bench.meter.accelerator is CORAL


def test_a_look_at_the_coral_ends_its_thread(bench: Bench) -> None:
    before = threading.active_count()
    bench.go()
    bench.coral.close()
    wait_until(lambda: threading.active_count() <= before, within_s=20, what="the end of the thread")


def test_a_coral_that_is_too_hot_rests_and_is_taken_again_when_it_has_cooled(bench: Bench) -> None:
    bench.go()
    assert bench.meter.accelerator is CORAL
    bench.hot = True
    bench.tick()
    bench.frame()
    bench.tick()
    assert bench.meter.accelerator is CPU
    assert bench.coral.trouble == "the Coral is not used: it is too hot for it"
    bench.tick(10 * FIRST_PAUSE_S)
    assert len(bench.probes) == 1
    bench.hot = False
    bench.go()
    assert bench.meter.accelerator is CORAL
    assert len(bench.probes) == 2
