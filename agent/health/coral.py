"""The Coral at work: taken after a probe, left at the first fault, tried again after longer and longer pauses."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.config import ModelSettings
from agent.health.marker import Marker
from agent.health.probe import Verdict
from agent.health.selftest import selftest
from agent.vision.guard import DEADLINE_S, Guard
from agent.vision.meter import Looker, Meter
from contract.errors import ContractError, TryAgainError
from contract.events import Accelerator
from contract.release import compiled_file, read_manifest

FIRST_PAUSE_S = 30.0
DOUBLINGS = 6  # of the pause, at most: 32 minutes
LOAD_S = 30.0  # the longest that loading and the golden frames may take
STEADY_S = 600.0  # a Coral that worked as long is trusted again
HELD_PROBES = 3  # probes that fail while a look still hangs in this process, before it asks for a new one

log = logging.getLogger("agent.coral")


class Trial(Protocol):
    """A probe that is going on in a process of its own."""

    def poll(self) -> Verdict | None: ...
    def close(self) -> None: ...


class Coral:
    """`tick` is called a few times a second from the thread that also ticks the keeper of releases, and never waits."""

    def __init__(
        self, settings: ModelSettings, meter: Meter, marker: Marker, *, probe: Callable[[Path], Trial],
        load: Callable[[Path], Looker], plugged: Callable[[], bool], deadline_s: float = DEADLINE_S,
    ) -> None:  # fmt: skip
        """`probe` starts one of a compiled file; `load` opens the compiled file beside a model on the Coral.

        `plugged` says whether the machine shows one.
        """
        self._settings, self._meter, self._marker = settings, meter, marker
        self._probe, self._load, self._plugged, self._deadline_s = probe, load, plugged, deadline_s
        self._model: Path | None = None  # the CPU file that the rest speaks of
        self._child: Trial | None = None
        self._attempt: _Attempt | None = None
        self._guard: Guard | None = None  # what looks now, or from the next frame on
        self._stuck: list[Guard | _Attempt] = []  # given up, but still in the Coral's hands
        self._held = 0
        self._steady_at = float("inf")
        self._ends = 0.0
        self._why = ""
        self._failures = marker.failures()
        self._due: float | None = None
        self._crashed = marker.in_use()
        if self._crashed:
            self._failures += 1
            self._why = "the agent ended while it used the Coral"
            marker.write(failures=self._failures, in_use=False)

    @property
    def trouble(self) -> str:
        """Why the Coral is not used, where it could or should be; empty otherwise."""
        if not self._why or self._meter.accelerator is Accelerator.EDGE_TPU:
            return ""
        if self._settings.accelerator == "auto" and not self._plugged() and not self._marker.ever():
            return ""  # a door that has none
        return f"the Coral is not used: {self._why}"[:200]

    def tick(self, now: float, model: Path, *, on_trial: bool, hot: bool = False) -> None:
        """Do what is due; `model` is the running CPU file, `now` is s on a clock that never steps back, `hot` lets it rest.

        Raises TryAgainError where a look that hangs keeps the Coral from coming back: only a new process frees it.
        """
        if self._settings.accelerator == "cpu":
            return
        if self._due is None:
            self._due = now + self._pause() if self._crashed else now
        self._stuck = [one for one in self._stuck if _hangs(one)]
        if hot and self._guard and self._meter.looker is self._guard:
            self._meter.retreat("it is too hot for it")
        if self._guard:
            self._watch(now, self._guard, on_trial=on_trial)
        elif on_trial:
            self._give_back()
        elif model != self._model:
            self._give_back()
            if self._model:
                self._due = now
            self._model = model
        elif self._child:
            self._collect(now, self._child)
        elif self._attempt:
            self._judge(now, self._attempt)
        elif now >= self._due and not hot:
            self._begin(now, model)

    def close(self) -> None:
        """An orderly end: the next start need not fear the Coral."""
        self._give_back()
        if self._guard:
            self._guard.close()
        self._marker.write(failures=self._failures, in_use=False)

    def _watch(self, now: float, guard: Guard, *, on_trial: bool) -> None:
        meter = self._meter
        if meter.looker is guard:
            if self._steady_at == float("inf"):
                self._steady_at, self._why = now + STEADY_S, ""
                log.info("the Coral looks")
            elif now >= self._steady_at and self._failures:
                self._failures = 0
                self._marker.write(failures=0, in_use=True)
        elif on_trial:  # a release took its place
            self._drop(guard)
            self._marker.write(failures=self._failures, in_use=False)
        elif meter.fault:
            reason = meter.fault
            meter.settle()
            self._drop(guard)
            self._fail(now, reason)

    def _begin(self, now: float, model: Path) -> None:
        try:
            manifest = read_manifest(model)
            compiled = compiled_file(model, manifest)
        except ContractError as error:
            self._fail(now, str(error))
            return
        if compiled is None:
            self._due = float("inf")  # until another model runs
            self._why = f"release {manifest.release} has no file for it"
            return
        try:
            self._child = self._probe(compiled)
        except OSError as error:
            self._fail(now, f"the probe does not start: {error}")

    def _collect(self, now: float, child: Trial) -> None:
        verdict = child.poll()
        if verdict is None or self._model is None:
            return
        self._child = None
        if verdict.reason:
            self._held = self._held + 1 if self._stuck else 0
            self._fail(now, verdict.reason)
            if self._held >= HELD_PROBES:
                raise TryAgainError("a look at the Coral still hangs: the agent must start again to get it back")
            return
        if any(isinstance(one, _Attempt) for one in self._stuck):
            self._fail(now, "loading it still hangs")
            return
        log.info("the Coral ran %s in %.1f ms", self._model.name, verdict.ms)
        self._marker.write(failures=self._failures, in_use=True)  # from here on it may take the process down
        self._attempt, self._ends = _Attempt(self._model, self._load, self._deadline_s), now + LOAD_S
        self._attempt.start()

    def _judge(self, now: float, attempt: "_Attempt") -> None:
        if attempt.is_alive():
            if now > self._ends:
                self._attempt = None
                self._stuck.append(attempt)
                self._fail(now, f"loading the model took over {LOAD_S:g} s")
            return
        self._attempt = None
        if attempt.guard is None:
            self._fail(now, attempt.fault)
        elif attempt.fault:
            self._drop(attempt.guard)
            self._fail(now, attempt.fault)
        else:
            self._guard, self._steady_at = attempt.guard, float("inf")
            self._meter.swap(attempt.guard, fallback=self._meter.looker)

    def _fail(self, now: float, reason: str) -> None:
        self._why = reason
        self._failures += 1
        self._due = now + self._pause()
        self._marker.write(failures=self._failures, in_use=False)
        log.warning("the Coral is not used: %s; next try in %.0f s", reason, self._pause())

    def _pause(self) -> float:
        return FIRST_PAUSE_S * float(2 ** min(self._failures - 1, DOUBLINGS))

    def _drop(self, guard: Guard) -> None:
        """Let go of the stick, which one process at a time may have: the next probe needs it."""
        guard.close()
        if guard.hung:
            self._stuck.append(guard)
        self._guard = None

    def _give_back(self) -> None:
        if self._child:
            self._child.close()
            self._child = None
        if self._attempt:
            self._attempt.forget()
            if self._attempt.is_alive():
                self._stuck.append(self._attempt)
            self._attempt = None


class _Attempt(threading.Thread):
    """Loads a compiled model and tries it with its golden frames, in the background."""

    def __init__(self, model: Path, load: Callable[[Path], Looker], deadline_s: float) -> None:
        super().__init__(name="coral", daemon=True)
        self.guard: Guard | None = None
        self.fault = ""
        self._model, self._load, self._deadline_s = model, load, deadline_s
        self._forgotten = False

    def run(self) -> None:
        try:
            self.guard = Guard(self._load(self._model), deadline_s=self._deadline_s)
        except Exception as error:  # noqa: BLE001 - whatever a library brings about
            self.fault = str(error)[:280] or type(error).__name__
            return
        if self.guard.manifest.golden_digest is not None:
            self.fault = next(iter(selftest(self.guard, self._model).faults), "")
        if self._forgotten:
            self.guard.close()

    def forget(self) -> None:
        """Nobody wants it any more."""
        self._forgotten = True
        if self.guard and not self.is_alive():
            self.guard.close()


def _hangs(one: Guard | _Attempt) -> bool:
    return one.hung if isinstance(one, Guard) else one.is_alive()
