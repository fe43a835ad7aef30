"""Death at every single file operation on a release's way: the door always has a model, and the next try gets there."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config import FACTORY_MODEL, UpdateSettings
from agent.update.check import update
from agent.update.slots import Slots, State
from agent.update.start import choose
from agent.vision.detector import Detector
from contract.fleet import Step
from contract.release import read_manifest
from tests.agent.release_kit import Web, release_files
from tests.agent.tuf_repository import Repository

OPERATIONS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree", "os.truncate"}


class DeathError(BaseException):
    """Nobody catches this, as nobody catches SIGKILL."""


class Reaper:
    """Counts the file operations of one thread, before they happen, and strikes at the one that is due."""

    def __init__(self) -> None:
        self._thread, self._left = 0, -1
        sys.addaudithook(self._hear)  # for the rest of the process: Python has no way to take one back

    def strikes(self, at: int, act: Callable[[], Any]) -> bool:
        """Run `act` up to its operation number `at`; False where it came to its end before."""
        self._thread, self._left = threading.get_ident(), at
        try:
            act()
        except DeathError:
            return True
        finally:
            self._left = -1
        return False

    def _hear(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self._left < 0 or event not in OPERATIONS or threading.get_ident() != self._thread:
            return
        self._left -= 1
        if self._left < 0:
            raise DeathError(event)


@pytest.fixture(scope="module")
def reaper() -> Reaper:
    return Reaper()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path).serving() as server:
        yield server


def deaths(reaper: Reaper, prepare: Callable[[int], Slots], act: Callable[[Slots], Any]) -> Iterator[Slots]:
    """A door after the death at each operation of `act`, until there are no more."""
    for at in range(1000):
        slots = prepare(at)
        if not reaper.strikes(at, lambda slots=slots: act(slots)):  # type: ignore[misc]
            assert at > 5
            return
        read_manifest(slots.choose())  # raises where the door would have no whole model
        yield slots


def test_a_fetch_that_dies_anywhere_is_finished_by_the_next_one(reaper: Reaper, web: Web, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "tuf")
    repository.add(2, release_files(2))

    def settings(slots: Slots) -> UpdateSettings:
        return UpdateSettings(url=web.url, folder=slots.folder, root=repository.root)

    points = 0
    for slots in deaths(
        reaper, lambda at: Slots(tmp_path / f"door-{at}", FACTORY_MODEL), lambda slots: update(settings(slots), 2)
    ):
        points += 1
        assert slots.choose() == FACTORY_MODEL
        update(settings(slots), 2)
        assert (slots.read().step, slots.sound(2)) == (Step.STAGED, True)
    assert points >= 40


def staged(folder: Path, release: int) -> Slots:
    slots = Slots(folder, FACTORY_MODEL)
    slot = slots.model(release).parent
    slot.mkdir(parents=True)
    for name, content in release_files(release).items():
        (slot / name).write_bytes(content)
    slots.stage(release)
    return slots


def on_trial(folder: Path) -> Slots:
    """Release 2 is good, release 3 is on trial, at its first start."""
    slots = staged(folder, 2)
    slots.begin_trial(2)
    slots.confirm()
    staged(folder, 3)
    slots.begin_trial(3)
    return slots


@pytest.mark.parametrize(
    ("act", "good"),
    [
        (Slots.confirm, (2, 3)),
        (lambda slots: slots.roll_back("a test"), (2,)),
        (lambda slots: choose(slots, Detector.load), (2,)),
    ],
    ids=["confirmation", "way back", "start"],
)
def test_a_death_on_trial_leaves_a_model_and_a_state(
    reaper: Reaper, tmp_path: Path, act: Callable[[Slots], State], good: tuple[int, ...]
) -> None:
    for slots in deaths(reaper, lambda at: on_trial(tmp_path / f"door-{at}"), act):
        state = slots.read()
        assert state.step in (Step.TRIAL, Step.CONFIRMED, Step.ROLLED_BACK)
        assert state.good in good
        assert slots.sound(state.good)
        if state.step is Step.TRIAL:
            slots.confirm()
            assert slots.choose() == slots.model(3)
