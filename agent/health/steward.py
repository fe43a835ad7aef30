"""Looks after a running door: reads the machine, keeps the coverage, slows down in heat, and answers the watchdog."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.health.board import read_board
from agent.health.coverage import Coverage
from agent.health.drift import Drift
from agent.health.heat import MEASURES, Heat, Pace, heat_after
from agent.health.memory import Memory, hours_as, hours_of
from agent.health.notify import Notifier
from agent.health.opening import Opening
from agent.health.pulse import Ages, standstill
from agent.vision.detector import Detection
from contract.health import COVERAGE_HOURS, DRIFTED, Board
from contract.health import Coverage as SaidCoverage

BOARD_S = 10.0  # between two readings of the machine
KEEP_S = 60.0  # between two writes of the coverage: flash wears
SAMPLE_S = 6.0  # between two looks at what the door sees, for drift: longer than most passes last
KEEP_DRIFT_S = 600.0  # between two writes of it
SHORT_HOURS = 25  # of coverage in a usual heartbeat
COVERAGE_NAME, DRIFT_NAME = "coverage.json", "drift.json"

log = logging.getLogger("agent.health")


@dataclass(frozen=True, slots=True)
class Signs:
    """What the door shows of itself at one moment; times in s on the clock of `tick`."""

    frames: int  # looked at since the start
    framed_s: float | None  # when the newest frame came; None: none came yet
    looking_s: float  # how long the look that goes on has lasted
    uncommitted_s: float  # how long a counted pass has waited for the disk
    camera_trouble: str | None
    faces: Sequence[Detection]  # in the newest frame
    release: int  # that found them
    summary: str  # one line for the machine's operator, while all is well


class Steward:
    """`tick` is called a few times a second from one thread; `pace` may be asked by another."""

    def __init__(
        self, opening: Opening, folder: Path, *, begun_s: float, wall: Callable[[], float],
        synchronised: Callable[[], bool], notifier: Notifier, root: Path = Path("/"),
    ) -> None:  # fmt: skip
        """`folder` is a writable one of the agent's own; `wall` is s since 1970; the machine's files lie under `root`."""
        self.pace = Pace()
        self.board = Board()
        self._root, self._folder = root, folder
        self._wall, self._synchronised, self._notifier = wall, synchronised, notifier
        self._memory = Memory(folder / COVERAGE_NAME)
        self._coverage = Coverage(opening, hours_of(self._memory.read()), begun_s=begun_s, offset_s=wall() - begun_s)
        self._drift_memory = Memory(folder / DRIFT_NAME)
        self._drift = Drift.of(self._drift_memory.read(), np.random.default_rng())
        self._sampled_s = self._drift_kept_s = begun_s
        self._begun_s = self._looked_s = begun_s
        self._frames = 0
        self._read_s = float("-inf")
        self._kept_s = begun_s
        self._heat = Heat.WELL
        self._ready = False
        self._standstill = ""

    @property
    def accelerator_allowed(self) -> bool:
        """False while it is too hot for it."""
        return MEASURES[self._heat].accelerator

    def tick(self, now_s: float, signs: Signs) -> None:
        """Take note of what the door shows, and do what is due."""
        if signs.frames != self._frames:
            self._frames, self._looked_s = signs.frames, now_s
            self._coverage.look(now_s)
            if now_s - self._sampled_s >= SAMPLE_S:
                self._sampled_s = now_s
                self._drift.take(signs.faces, signs.release)
        framed_s = self._begun_s if signs.framed_s is None else signs.framed_s
        ages = Ages(
            now_s - framed_s, now_s - self._looked_s, signs.looking_s, signs.uncommitted_s, signs.camera_trouble
        )
        fault = standstill(ages)
        self._answer(now_s, signs, fault)
        if now_s - self._read_s >= BOARD_S:
            self._read_s = now_s
            self._read(now_s)
            self._notifier.status(fault or signs.camera_trouble or signs.summary)
        if now_s - self._kept_s >= KEEP_S:
            self._keep(now_s)
        if now_s - self._drift_kept_s >= KEEP_DRIFT_S:
            self._drift_kept_s = now_s
            self._drift_memory.write(self._drift.to_keep())

    @property
    def drift(self) -> float | None:
        """The chance that this door's own first weeks would look as different as its last one; None: too young."""
        return self._drift.chance

    def coverage(self, now_s: float, *, whole: bool) -> SaidCoverage:
        """What was observed of the last day, or of all that is remembered."""
        return self._coverage.report(now_s, hours=COVERAGE_HOURS if whole else SHORT_HOURS)

    def set_opening(self, opening: Opening) -> None:
        """Other hours: they hold for what is told from now on, of the last day as well."""
        self._coverage.opening = opening

    def trouble(self) -> list[str]:
        """What is wrong with the machine, a line each."""
        found = [self._standstill] if self._standstill else []
        if self.board.under_voltage:
            found.append("under-voltage: the supply is too weak; use the official one and a short cable")
        elif self.board.under_voltage_since_boot:
            found.append("under-voltage since the machine booted: the supply is too weak at times")
        if self.board.throttled:
            found.append("the processor is slowed down, for heat or a weak supply")
        measure = MEASURES[self._heat]
        if measure.fps is not None:
            found.append(f"{self.board.temperature_c:g} C: at most {measure.fps:g} frames a second until it is cooler")
        if self.drift is not None and self.drift <= DRIFTED:
            found.append(
                "this door no longer looks like in its first weeks: was the camera moved, or the light changed?"
            )
        return found

    def close(self, now_s: float) -> None:
        """Keep what is to be kept, and say that the end was meant."""
        self._notifier.stopping()
        self._keep(now_s)
        self._drift_memory.write(self._drift.to_keep())
        self._notifier.close()

    def _answer(self, now_s: float, signs: Signs, fault: str) -> None:
        if fault != self._standstill:
            log.log(logging.ERROR if fault else logging.INFO, "%s", fault or "the pipeline moves again")
            self._standstill = fault
        if not self._ready and (signs.frames or signs.camera_trouble):
            self._ready = True
            self._notifier.status(signs.camera_trouble or signs.summary)
            self._notifier.ready()
        if not fault:
            self._notifier.alive(now_s)

    def _read(self, now_s: float) -> None:
        self.board = read_board(self._root, self._folder)
        heat = heat_after(self._heat, self.board.temperature_c)
        if heat != self._heat:
            log.warning("%s C: %s", self.board.temperature_c, heat.name.lower())
            self._heat = heat
        self.pace.fps = MEASURES[heat].fps
        self._coverage.set_clock(self._wall() - now_s, synchronised=self._synchronised())

    def _keep(self, now_s: float) -> None:
        self._kept_s = now_s
        self._memory.write(hours_as(self._coverage.to_keep(now_s)))
