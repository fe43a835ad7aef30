"""The self-test: the running model must still find in its golden frames what it found when it was released."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from agent.update.exam import GoldenScene, golden_scenes
from agent.vision.detector import Detection
from agent.vision.meter import Looker, Meter
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.events import Accelerator

SPACING = 15  # live frames between two golden ones
EVERY_S = 86_400.0
MOST_FAULTS = 5  # named in one result

log = logging.getLogger("agent.selftest")


@dataclass(frozen=True, slots=True)
class Result:
    """What a self-test found; it passed where `faults` is empty."""

    release: int
    accelerator: Accelerator  # what ran the last frame
    frames: int
    median_ms: float  # of a look
    faults: tuple[str, ...]


def selftest(looker: Looker, model: Path) -> Result:
    """Look at every golden frame beside `model`; whatever keeps it from that is a fault too.

    A model that has none gives 0 frames and no fault.
    """
    found = _Findings()
    try:
        for scene in golden_scenes(model, looker.manifest) if looker.manifest.golden_digest else []:
            found.look(scene, lambda pixels: looker.look(pixels).found)
    except Exception as error:  # noqa: BLE001 - an interpreter may raise anything
        found.faults.append(str(error) or type(error).__name__)
    return found.result(looker)


class Checkup:
    """A self-test of the running model once a day, one golden frame between two live ones.

    `between` is for the vision thread; `fault` is read from any.
    """

    def __init__(
        self,
        meter: Meter,
        model: Callable[[], Path | None],
        *,
        first: Result,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`first` is what the self-test at the start found; `model` answers where the running model lies, or None: not now."""
        self._meter, self._model, self._now = meter, model, now
        self._result = first
        self._due = now() + EVERY_S
        self._scenes: list[GoldenScene] = []
        self._found = _Findings()
        self._wait = 0

    @property
    def fault(self) -> str:
        """What the last self-test of the release that looks now found wrong; empty where nothing."""
        result = self._result
        if not result.faults or result.release != self._meter.manifest.release:
            return ""
        return f"the self-test failed on the {result.accelerator}: {result.faults[0]}"[:200]

    @property
    def result(self) -> Result:
        return self._result

    def between(self) -> None:
        """One step, if one is due; as long as one look, SPACING live frames apart."""
        if self._now() < self._due:
            return
        if self._wait:
            self._wait -= 1
            return
        self._wait = SPACING
        if not self._scenes:
            self._begin()
        elif self._found.identity != _identity(self._meter):  # exchanged meanwhile: from the beginning
            self._scenes = []
        else:
            self._found.look(self._scenes.pop(0), self._meter.check)
            if not self._scenes:
                self._end()

    def _begin(self) -> None:
        model, manifest = self._model(), self._meter.manifest
        if model is None:
            return
        self._found = _Findings(identity=_identity(self._meter))
        try:
            self._scenes = golden_scenes(model, manifest) if manifest.golden_digest else []
        except (ContractError, OSError) as error:
            self._found.faults.append(str(error))
        if not self._scenes:
            self._end()

    def _end(self) -> None:
        self._result = self._found.result(self._meter)
        self._due = self._now() + EVERY_S
        log.info("self-test: %s", self._result)


@dataclass(slots=True)
class _Findings:
    identity: tuple[int, Accelerator] | None = None
    faults: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)  # s a look

    def look(self, scene: GoldenScene, detect: Callable[[Pixels], list[Detection]]) -> None:
        begun = time.perf_counter()
        found = detect(scene.pixels)
        self.took.append(time.perf_counter() - begun)
        if fault := scene.fault(found):
            self.faults.append(fault)

    def result(self, looker: Looker | Meter) -> Result:
        ms = round(1000 * median(self.took), 1) if self.took else 0.0
        told = tuple(fault[:300] for fault in self.faults[:MOST_FAULTS])
        return Result(looker.manifest.release, looker.accelerator, len(self.took), ms, told)


def _identity(meter: Meter) -> tuple[int, Accelerator]:
    return meter.manifest.release, meter.accelerator
