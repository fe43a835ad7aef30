"""From the wish for a release to a release that runs: fetched by a child process, examined, tried, kept or given up."""

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.config import UpdateSettings
from agent.update.exam import Exam, Load
from agent.update.slots import STARTS, Slots, State
from agent.update.start import Start
from agent.update.wish import Wish
from agent.vision.meter import Meter
from contract.errors import ContractError, TryAgainError
from contract.fleet import Step

LEAST_FRAMES = 20  # live frames that a release on trial must have looked at
STUCK_S = 15.0  # a look that lasts longer never ends
READ_S = 2.0  # between two looks at the state, which an `agent update` by hand may change too
LONGEST_PAUSE = 16  # times check_s, between two fetches that failed
REFUSED_PAUSE = 64  # times check_s, after one that was refused
LATER = 75  # the exit code that says: try again later

log = logging.getLogger("agent.update")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a `Reported` says of the way to the wanted release."""

    step: Step
    wanted: int = 0
    number: int = 0
    reason: str = ""


class Keeper:
    """`tick` is called a few times a second from one thread and never waits for network, model or child."""

    def __init__(
        self, settings: UpdateSettings, slots: Slots | None, wish: Wish, meter: Meter, start: Start, *, load: Load,
        arguments: Sequence[str], jitter: Callable[[], float],
    ) -> None:  # fmt: skip
        self._settings, self._slots, self._wish, self._meter = settings, slots, wish, meter
        self._load, self._arguments, self._jitter = load, arguments, jitter
        self._model, self._fallback_model = start.model, start.fallback_model
        self._candidate = start.detector  # the one on trial, if one is
        self._running = start.fallback or start.detector
        self._state = slots.read() if slots else State()
        self._read_at = float("-inf")
        self._child: subprocess.Popen[str] | None = None
        self._child_ends = 0.0
        self._asked = 0  # the release that the child fetches, or did last
        self._exam: Exam | None = None
        self._tried_since: float | None = None
        self._due = self._rest_until = float("-inf")
        self._failures = 0
        self._missed = ""  # why the last fetch came to nothing
        self._refused = False  # and whether it always will

    def tick(self, now: float) -> None:
        """Do what is due; `now` is s on a clock that never steps back.

        Raises TryAgainError where the release on trial hangs: it is rolled back, and only a new process gets rid of it.
        """
        if self._slots is None or now < self._rest_until:
            return
        try:
            self._step(now, self._slots)
        except (OSError, ContractError) as error:  # a full disk; an `agent update` by hand at the same moment
            self._missed, self._asked = f"cannot go on: {error}"[:300], self._wish.release
            self._rest_until = now + self._settings.check_s
            log.warning("%s", self._missed)

    def standing(self) -> Standing:
        """How far it is, for the cloud."""
        state, wanted, number = self._state, self._wish.release, self._wish.number
        running = self._meter.manifest.release
        if self._slots is None:
            reason = "this door has no [update] url" if wanted not in (0, running) else ""
            return Standing(Step.IDLE, wanted, number, reason)
        if state.step is Step.TRIAL:
            return Standing(Step.TRIAL, state.wanted, number, state.reason)
        if wanted in (0, state.wanted) and state.step is not Step.IDLE:
            lost = state.step is Step.CONFIRMED and running != state.wanted
            return Standing(Step.ROLLED_BACK if lost else state.step, state.wanted, number, state.reason)
        if wanted in (0, running):
            return Standing(Step.IDLE, wanted, number, state.reason)
        if wanted < running:
            return Standing(Step.ROLLED_BACK, wanted, number, f"release {wanted} is below {running}, which runs here")
        missed = self._missed if self._asked == wanted else ""
        return Standing(Step.ROLLED_BACK if self._refused and missed else Step.IDLE, wanted, number, missed)

    @property
    def model(self) -> Path:
        """Where the model that looks, or will from the next frame on, lies."""
        return self._model

    @property
    def on_trial(self) -> bool:
        """Whether a release is being tried; nothing else may exchange the model then."""
        return self._state.step is Step.TRIAL

    def hear(self, now: float) -> None:
        """There is a new wish: a pause after a failure ends."""
        self._due, self._failures, self._refused = now, 0, False

    def close(self) -> None:
        """End the child, if there is one; what it has fetched so far stays."""
        if self._child:
            self._child.terminate()
            try:
                self._child.communicate(timeout=2.0)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.communicate()
        if self._exam:
            self._exam.join(5.0)

    def _step(self, now: float, slots: Slots) -> None:
        if now - self._read_at >= READ_S:
            self._state, self._read_at = slots.read(), now
        if self._child:
            self._collect(now, slots)
        elif self._exam:
            self._judge(slots)
        elif self._state.step is Step.TRIAL:
            self._watch(now, slots)
        elif self._state.step is Step.STAGED and self._wish.release in (0, self._state.wanted):
            self._examine(slots)
        elif self._lacks() and now >= self._due:
            self._fetch(now)

    def _lacks(self) -> bool:
        wanted, state = self._wish.release, self._state
        running = self._meter.manifest.release
        known = wanted == state.wanted and state.step not in (Step.IDLE, Step.CONFIRMED)
        return wanted > running and not known

    def _fetch(self, now: float) -> None:
        self._asked = self._wish.release
        command = [sys.executable, "-m", "agent", "update", *self._arguments, "--release", str(self._asked)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._child_ends = now + self._settings.deadline_s + 60.0
        log.info("fetching release %d", self._asked)

    def _collect(self, now: float, slots: Slots) -> None:
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            if now > self._child_ends:
                child.kill()
            return
        lines = child.communicate()[0].strip().splitlines() or [""]
        self._child = None
        self._state = slots.read()
        said = lines[-1].removeprefix("agent: ")
        if child.returncode == 0 and self._state.step is Step.STAGED:
            self._missed, self._failures, self._refused = "", 0, False
            log.info("release %d is staged", self._asked)
            return
        self._missed = f"release {self._asked}: {said or f'the fetch ended with {child.returncode}'}"[:300]
        self._refused = child.returncode > 0 and child.returncode != LATER
        hopeless = self._refused or child.returncode == 0  # nothing to do: the slot is whole, though it does not load
        pause = REFUSED_PAUSE if hopeless else min(LONGEST_PAUSE, 2**self._failures)
        self._failures += 1
        self._due = now + pause * self._settings.check_s * (1 + 0.25 * self._jitter())
        log.warning("%s; next try in %.0f s", self._missed, self._due - now)

    def _examine(self, slots: Slots) -> None:
        if self._state.starts >= STARTS:  # a file that takes the process down with it must not do so for ever
            self._give_up(slots, "the agent ended twice while it examined it")
            return
        self._state = slots.begin_exam()
        release = self._state.wanted
        self._exam = Exam(release, slots.model(release), self._model, self._load)
        self._exam.start()

    def _judge(self, slots: Slots) -> None:
        exam = self._exam
        if exam is None or exam.is_alive():
            return
        self._state = slots.read()
        if self._state.step is not Step.STAGED or self._state.wanted != exam.release:  # another was staged by hand
            self._exam = None
            return
        if exam.detector is None:
            self._give_up(slots, exam.fault)
            self._exam = None
            return
        self._state = slots.begin_trial(exam.release)
        self._exam = None
        self._meter.swap(exam.detector, fallback=self._running)
        self._fallback_model, self._model = self._model, slots.model(self._state.wanted)
        self._candidate, self._tried_since = exam.detector, None
        log.info("release %d is on trial", self._state.wanted)

    def _watch(self, now: float, slots: Slots) -> None:
        state, meter = self._state, self._meter
        if meter.fault:
            self._give_up(slots, meter.fault)
            self._model = self._fallback_model or self._model
            meter.settle()
        elif meter.manifest.release != state.wanted:
            return  # no frame came since the exchange
        elif meter.stuck_s() > STUCK_S:
            self._give_up(slots, f"it hung at a frame for {STUCK_S:g} s")
            raise TryAgainError(f"release {state.wanted} hangs and was rolled back: the agent must start again")
        elif self._tried_since is None:
            self._tried_since = now
        elif now - self._tried_since >= self._settings.confirm_s and meter.looked >= LEAST_FRAMES:
            self._state = slots.confirm()
            meter.settle()
            self._running = self._candidate
            log.info("release %d is confirmed", state.wanted)

    def _give_up(self, slots: Slots, reason: str) -> None:
        self._state = slots.roll_back(reason)
        log.warning("release %d is rolled back: %s", self._state.wanted, reason)
