"""Where releases lie on the door and how far each has come: a state file that survives a power cut, and a folder each."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from contract.crops import Digest
from contract.errors import ContractError
from contract.fleet import Step
from contract.release import MODEL_NAME, read_manifest
from contract.wire import Count, Wire

STARTS = 2  # starts of a release on trial; after them it is rolled back
STATE_LIMIT = 64 * 1024
DENIED_MOST = 500
STATE_NAME = "state.json"
COPY_NAME = "state.json.bak"
_NEXT = {
    Step.IDLE: {Step.STAGED},
    Step.STAGED: {Step.STAGED, Step.TRIAL, Step.ROLLED_BACK},
    Step.TRIAL: {Step.CONFIRMED, Step.ROLLED_BACK},
    Step.CONFIRMED: {Step.STAGED},
    Step.ROLLED_BACK: {Step.STAGED},
}


class State(Wire):
    """`state.json`, and the same once more in `state.json.bak`."""

    step: Step = Step.IDLE
    wanted: Count = 0  # the release that `step` speaks of
    good: Count = 0  # the last confirmed release; 0: the factory model
    starts: Count = 0  # of its trial; before that, of its examination
    floor: Count = 0  # the highest release ever staged
    denied: tuple[Digest, ...] = ()  # digests of models that were rolled back
    seen_s: float = 0.0  # the latest wall time at which signed metadata was found current, s since 1970
    reason: str = ""  # why `step` is what it is
    missed: str = ""  # why the last fetch came to nothing

    def to(self, step: Step, **changes: Any) -> "State":
        """The state after a permitted step; raises ContractError for another."""
        if step not in _NEXT[self.step]:
            raise ContractError(f"a release cannot go from {self.step} to {step}")
        return self.model_copy(update={"step": step, **changes})


class Slots:
    """The folder of releases; the agent and its child process may both use it."""

    def __init__(self, folder: Path, factory: Path) -> None:
        self.folder = folder
        self.factory = factory

    def model(self, release: int) -> Path:
        """Where this release's model lies."""
        return self.folder / "slots" / str(release) / MODEL_NAME

    def read(self) -> State:
        """The state, or its second copy; where both are broken a fresh one that says so, with the floor of the folders."""
        fault = ""
        for name in (STATE_NAME, COPY_NAME):
            try:
                return State.decode((self.folder / name).read_bytes(), limit=STATE_LIMIT)
            except FileNotFoundError:
                continue
            except (ContractError, OSError) as error:
                fault = f"the state of the releases was lost: {error}"[:300]
        if not fault:
            return State()
        names = [int(one.name) for one in (self.folder / "slots").glob("*") if one.name.isdecimal()]
        return State(floor=max(names, default=0), reason=fault)

    def change(self, rule: Callable[[State], State]) -> State:
        """Apply `rule` to the state, durably and alone; raises OSError where the disk does not take it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "state.lock", wait=True):
            state = rule(self.read())
            write_durably(self.folder / STATE_NAME, state.encode())
            write_durably(self.folder / COPY_NAME, state.encode())
        return state

    def choose(self) -> Path:
        """The model to load at this start: the one on trial, else the last good one, else the factory's.

        A disk that takes no note of a start gets no trial; what is known to be good needs no note.
        """
        state = self.read()
        if state.step is Step.TRIAL:
            fault = "two starts did not confirm it" if state.starts >= STARTS else self._fault(state.wanted)
            with suppress(OSError):
                if not fault:
                    self.change(lambda now: now.model_copy(update={"starts": now.starts + 1}))
                    return self.model(state.wanted)
                self.roll_back(fault)
        return self.last_good()

    def last_good(self) -> Path:
        """The last confirmed model, or the factory's where there is none or its slot is broken."""
        good = self.read().good
        fault = self._fault(good) if good else ""
        if fault:
            self._note(f"factory model: {fault}")
        return self.model(good) if good and not fault else self.factory

    def distrust(self, model: Path, fault: str) -> None:
        """A chosen model cannot be used: given up if it is on trial, else only noted."""
        state = self.read()
        if state.step is Step.TRIAL and model == self.model(state.wanted):
            with suppress(OSError):
                self.roll_back(fault)
        else:
            self._note(f"factory model: {fault}")

    def sound(self, release: int) -> bool:
        """Whether the release's slot holds what its manifest says."""
        return not self._fault(release)

    def stage(self, release: int) -> State:
        """A complete, verified folder lies in the release's slot."""
        return self.change(
            lambda now: now.to(
                Step.STAGED, wanted=release, starts=0, floor=max(now.floor, release), reason="", missed=""
            )
        )

    def begin_exam(self) -> State:
        """The staged release is about to be loaded, which a bad file may not let the process survive."""
        return self.change(lambda now: now.model_copy(update={"starts": now.starts + 1}))

    def begin_trial(self, release: int) -> State:
        """The staged release looks at frames from now on; this is its first start. Raises ContractError for another one."""

        def rule(now: State) -> State:
            if now.wanted != release:
                raise ContractError(f"release {now.wanted} is staged, not {release}")
            return now.to(Step.TRIAL, starts=1)

        return self.change(rule)

    def confirm(self) -> State:
        """The release on trial is the last good one from now on; older ones go."""
        before = self.read().good
        state = self.change(lambda now: now.to(Step.CONFIRMED, good=now.wanted))
        for slot in (self.folder / "slots").glob("*"):
            if slot.name.isdecimal() and int(slot.name) < state.good and int(slot.name) != before:
                shutil.rmtree(slot, ignore_errors=True)
        return state

    def roll_back(self, reason: str) -> State:
        """Give the wanted release up for good: its digest is never taken again, unless those bytes run here anyway."""

        def rule(now: State) -> State:
            digest = self._digest(self.model(now.wanted))
            good = self.model(now.good) if now.good else self.factory
            new = (digest,) if digest and digest != self._digest(good) else ()
            return now.to(Step.ROLLED_BACK, denied=(*now.denied, *new)[-DENIED_MOST:], reason=reason[:300])

        return self.change(rule)

    def _digest(self, model: Path) -> str:
        """Of a whole model; "" for another."""
        try:
            return read_manifest(model).digest
        except ContractError:
            return ""

    def _note(self, reason: str) -> None:
        with suppress(OSError):
            self.change(lambda now: now.model_copy(update={"reason": reason[:300]}))

    def _fault(self, release: int) -> str:
        try:
            manifest = read_manifest(self.model(release))
        except ContractError as error:
            return str(error)
        return "" if manifest.release == release else f"slot {release} holds release {manifest.release}"


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file; raises BlockingIOError where another process has it and `wait` is false."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path`; a power cut leaves the old file or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
