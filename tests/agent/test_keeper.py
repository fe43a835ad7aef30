"""The trial of a staged release: kept after a while without a fault, given up at the first one."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from agent.config import FACTORY_MODEL, UpdateSettings
from agent.update.keeper import LEAST_FRAMES, STUCK_S, Keeper
from agent.update.slots import STARTS, Slots
from agent.update.start import choose
from agent.update.wish import Wish
from agent.vision.detector import Detector, Faces
from agent.vision.meter import Looker, Meter
from agent.vision.yolo import Fitted, Pixels
from contract.errors import TryAgainError
from contract.fleet import Desired, Step
from rehearsal.processes import wait_until
from tests.agent.release_kit import FACTORY_RELEASE, golden, release_files
from tests.agent.tuf_repository import Repository

OLD, NEW = FACTORY_RELEASE, FACTORY_RELEASE + 1
EMPTY = np.zeros((120, 160, 3), np.uint8)
CONFIRM_S = 30.0


class Odd(Detector):
    """The new release, with something the matter: `look` runs at every frame, before the model."""

    def __init__(self, sound: Detector, look: Callable[[], None]) -> None:
        self.manifest, self._sound, self._look = sound.manifest, sound, look

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
        self._look()
        return self._sound.look(pixels, fitted)


@dataclass
class Bench:
    """A door's models without the door: time is what the test says, frames come when the test says."""

    folder: Path
    look: Callable[[], None] = lambda: None
    now: float = 1000.0
    loaded: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = Slots(self.folder, FACTORY_MODEL)
        self.start()

    def start(self) -> None:
        """A new process."""
        self.begin = choose(self.slots, self.load)
        self.meter = Meter(self.begin.detector, fallback=self.begin.fallback, clock=lambda: self.now)
        self.wish = Wish("door-1", self.folder)
        settings = UpdateSettings(url="http://127.0.0.1:9/tuf", folder=self.folder, check_s=5, confirm_s=CONFIRM_S)
        self.keeper = Keeper(
            settings, self.slots, self.wish, self.meter, self.begin, load=self.load,
            arguments=["--config", "/nonexistent"], jitter=lambda: 0.0,
        )  # fmt: skip

    def load(self, model: Path) -> Looker:
        self.loaded.append(model)
        sound = Detector.load(model)
        return sound if model == FACTORY_MODEL else Odd(sound, self.look)

    def want(self, release: int, number: int = 1) -> None:
        self.wish.take(Desired(device="door-1", number=number, release=release).encode())
        self.keeper.hear(self.now)

    def stage(self, **changes: bytes) -> None:
        """Release NEW lies in its slot, as `agent update` leaves it."""
        slot = self.slots.model(NEW).parent
        slot.mkdir(parents=True)
        for name, content in release_files(NEW, **changes).items():
            (slot / name).write_bytes(content)
        self.slots.stage(NEW)

    def tick(self, after_s: float = 0.1) -> None:
        self.now += after_s
        self.keeper.tick(self.now)

    def frames(self, number: int) -> None:
        for _ in range(number):
            self.meter.look(EMPTY)

    def tick_until(self, step: Step) -> None:
        def there() -> bool:
            self.tick(0.001)
            return self.keeper.standing().step is step

        wait_until(there, within_s=30, what=f"step {step}")

    def try_out(self) -> None:
        """Up to the first frame of the trial."""
        self.stage()
        self.want(NEW)
        self.tick(3)
        self.tick_until(Step.TRIAL)
        self.frames(1)
        self.tick()

    @property
    def running(self) -> int:
        return self.meter.manifest.release


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "models")


def test_a_trial_needs_both_its_time_and_its_frames(bench: Bench) -> None:
    bench.try_out()
    assert (bench.running, bench.keeper.standing().step) == (NEW, Step.TRIAL)
    bench.frames(LEAST_FRAMES)
    bench.tick(CONFIRM_S - 1)
    assert bench.slots.read().step is Step.TRIAL
    bench.tick(1.1)
    assert (bench.slots.read().step, bench.slots.read().good) == (Step.CONFIRMED, NEW)


def test_time_alone_confirms_nothing(bench: Bench) -> None:
    bench.try_out()
    bench.tick(CONFIRM_S * 10)
    assert bench.slots.read().step is Step.TRIAL


def test_a_trial_begins_only_with_the_first_frame(bench: Bench) -> None:
    bench.stage()
    bench.tick_until(Step.TRIAL)
    bench.tick(CONFIRM_S * 10)
    assert (bench.running, bench.keeper.standing().step) == (OLD, Step.TRIAL)
    bench.frames(LEAST_FRAMES + 1)
    bench.tick()
    bench.tick(CONFIRM_S - 1)
    assert (bench.running, bench.keeper.standing().step) == (NEW, Step.TRIAL)


def test_an_error_at_a_live_frame_rolls_back_in_place(bench: Bench) -> None:
    bench.try_out()
    bench.frames(5)

    def fails() -> None:
        raise RuntimeError("node 7 failed to invoke")

    bench.look = fails
    bench.meter._detector._look = fails  # type: ignore[attr-defined]
    bench.frames(3)
    assert bench.running == OLD
    bench.tick()
    state = bench.slots.read()
    assert state.step is Step.ROLLED_BACK
    assert "node 7" in bench.keeper.standing().reason
    bench.tick(CONFIRM_S * 2)
    assert bench.keeper.standing().step is Step.ROLLED_BACK
    bench.start()
    assert bench.running == OLD


def test_a_look_that_never_ends_is_rolled_back_and_asks_for_a_new_process(bench: Bench) -> None:
    bench.try_out()
    go_on = threading.Event()
    bench.meter._detector._look = go_on.wait  # type: ignore[attr-defined]
    vision = threading.Thread(target=bench.frames, args=(1,))
    vision.start()
    wait_until(lambda: bench.meter._busy_since is not None, within_s=20, what="the look")
    bench.tick(STUCK_S - 1)
    with pytest.raises(TryAgainError, match="must start again"):
        bench.tick(2)
    go_on.set()
    vision.join()
    assert "hung" in bench.slots.read().reason
    bench.start()
    assert bench.running == OLD


def test_a_model_that_is_much_slower_is_never_tried(bench: Bench) -> None:
    other = Detector.load(FACTORY_MODEL)
    pixels = np.zeros((480, 640, 3), np.uint8)

    def slow() -> None:
        for _ in range(5):
            other.detect(pixels)

    bench.look = slow
    bench.stage()
    bench.tick_until(Step.ROLLED_BACK)
    assert "times the" in bench.keeper.standing().reason
    assert bench.running == OLD


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": b"TFL3" + bytes(1000)}, "does not load"),
        ({"frames": golden(wrong=True)}, "golden frame 0"),
        ({"frames": b"PK" + bytes(100)}, "no archive of golden frames"),
    ],
    ids=["garbage", "other findings", "no frames"],
)
def test_what_fails_its_examination_never_sees_a_live_frame(
    bench: Bench, changes: dict[str, bytes], reason: str
) -> None:
    bench.stage(**changes)
    bench.tick_until(Step.ROLLED_BACK)
    assert reason in bench.keeper.standing().reason
    bench.frames(2)
    assert bench.running == OLD


def test_a_file_that_takes_the_process_down_is_examined_only_so_often(bench: Bench) -> None:
    bench.stage()
    for _ in range(STARTS):
        bench.slots.begin_exam()  # and then the process was gone
    bench.start()
    bench.tick()
    assert "ended twice" in bench.keeper.standing().reason
    assert bench.slots.read().step is Step.ROLLED_BACK
    assert bench.slots.model(NEW) not in bench.loaded


def test_a_restart_on_trial_goes_on_with_it_and_can_still_go_back(bench: Bench) -> None:
    bench.try_out()
    bench.start()
    assert (bench.running, bench.begin.fallback_model) == (NEW, FACTORY_MODEL)
    bench.frames(LEAST_FRAMES)
    bench.tick()
    bench.tick(CONFIRM_S)
    assert bench.slots.read().step is Step.CONFIRMED
    assert bench.keeper.standing().step is Step.CONFIRMED


def test_a_release_on_trial_that_does_not_load_at_a_start_is_given_up(bench: Bench) -> None:
    bench.try_out()
    garbage = release_files(NEW, model=b"TFL3" + bytes(1000))
    for name, content in garbage.items():
        (bench.slots.model(NEW).parent / name).write_bytes(content)
    bench.start()
    assert bench.running == OLD
    assert bench.slots.read().step is Step.ROLLED_BACK
    assert "does not load" in bench.keeper.standing().reason


def test_a_release_below_the_running_one_is_refused_in_words(bench: Bench) -> None:
    bench.try_out()
    bench.frames(LEAST_FRAMES)
    bench.tick(CONFIRM_S + 1)
    bench.want(OLD, number=2)
    bench.tick()
    standing = bench.keeper.standing()
    assert (standing.step, standing.wanted, standing.number) == (Step.ROLLED_BACK, OLD, 2)
    assert "below" in standing.reason


@pytest.mark.parametrize(
    ("config", "step", "reason", "pauses"),
    [
        (True, Step.IDLE, "no answer from", [5, 10, 20]),
        (False, Step.ROLLED_BACK, "cannot read the settings", [320] * 3),
    ],
    ids=["not now", "never"],
)
def test_a_fetch_that_fails_is_tried_again_after_longer_and_longer_pauses(
    bench: Bench, tmp_path: Path, config: bool, step: Step, reason: str, pauses: list[int]
) -> None:
    file = tmp_path / "door.toml"
    if config:
        root = Repository(tmp_path / "tuf").root
        file.write_text(
            f'device = "door-1"\n[update]\nurl = "http://127.0.0.1:9/tuf"\nroot = "{root}"\nfolder = "{bench.folder}"\n'
        )
    bench.keeper._arguments = ["--config", str(file)]
    bench.want(NEW)
    bench.tick(3)
    for pause in pauses:
        assert bench.keeper._child is not None

        def ended() -> bool:
            bench.tick(0.001)
            return bench.keeper._child is None

        wait_until(ended, within_s=30, what="the child's end")
        assert (bench.keeper.standing().step, bench.keeper.standing().wanted) == (step, NEW)
        assert reason in bench.keeper.standing().reason
        bench.tick(pause - 0.5)
        assert bench.keeper._child is None
        bench.tick(1)
    bench.keeper.close()


def test_a_folder_that_cannot_be_written_stops_no_door(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bench = Bench(tmp_path / "file" / "models")
    assert bench.running == OLD
    bench.want(NEW)
    bench.tick(3)
    bench.keeper.close()
    assert bench.keeper.standing().wanted == NEW


def test_a_release_staged_by_hand_during_an_examination_is_examined_itself(bench: Bench) -> None:
    bench.stage()
    bench.tick()
    slot = bench.slots.model(NEW + 1).parent
    slot.mkdir()
    for name, content in release_files(NEW + 1).items():
        (slot / name).write_bytes(content)
    bench.slots.stage(NEW + 1)
    bench.tick_until(Step.TRIAL)
    bench.frames(1)
    assert bench.running == NEW + 1
