"""From sightings to crops: the sampling windows, and the headers of what they chose."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from uuid import UUID, uuid4

from agent.learning.sampler import Chosen, Plan, Sampler, Streams
from agent.learning.witness import Sighting, Taken, Witness
from agent.report import coarse, uuid7
from agent.vision.counter import Crossing
from agent.vision.detector import Faces
from agent.vision.frame import Frame
from agent.vision.geometry import Zone
from agent.vision.tracker import Track
from contract.crops import Crop, CropHeader, Role
from contract.fleet import SamplingPlan


class Gleaner:
    """Watches a door's pipeline and now and then has crops to send; counting never depends on it.

    `see` and `close` are for the vision thread, `harvest` and `set_plan` for another one.
    """

    def __init__(
        self, device: str, plan: Plan, streams: Streams, *, now: Callable[[], datetime], resolution_s: int,
        new_window: Callable[[], UUID] = uuid4,
    ) -> None:  # fmt: skip
        self._device = device
        self._own_plan = self._plan = plan
        self._streams = streams
        self._now = now
        self._resolution_s = resolution_s
        self._new_window = new_window
        self._witness = Witness()
        self._sampler: Sampler[tuple[Sighting, datetime]] | None = None
        self._ready: deque[Crop] = deque()
        self.pictureless = 0  # chosen passes and near misses that had no picture

    @property
    def plan(self) -> Plan:
        """What the next window follows."""
        return self._plan

    def set_plan(self, sampling: SamplingPlan | None) -> None:
        """Take the cloud's wish from the next window on; None goes back to the door's own settings."""
        plan = self._own_plan
        if sampling is not None:
            plan = replace(plan, budget=sampling.budget, window_s=float(sampling.window_s))
        self._plan = plan

    def set_zone(self, zone: Zone | None) -> None:
        """Look for near misses only in there from now on, as the tracker does for faces."""
        self._witness.zone = zone

    def see(
        self, frame: Frame, faces: Faces, seen: Sequence[Track], ended: Sequence[Track], crossings: Sequence[Crossing]
    ) -> None:
        """Take one frame as the pipeline took it; crops of a window that is over become ready."""
        sampler = self._turn(frame.at_s)
        near_misses = self._witness.see(
            frame, faces.found, seen, manifest=faces.manifest, faint=faces.faint
        )  # fmt: skip
        for sighting in near_misses:
            sampler.window.offer_near_miss(sighting.facts, (sighting, self._when(sighting, frame.at_s)))
        self._offer(sampler, ended, crossings, frame.at_s)

    def close(self, ended: Sequence[Track], crossings: Sequence[Crossing], at_s: float) -> None:
        """The end of the stream: the running window closes early."""
        sampler = self._turn(at_s)
        self._offer(sampler, ended, crossings, at_s)
        self._collect(sampler.turn(at_s, stop=True))

    def harvest(self, most: int = 5) -> list[Crop]:
        """Up to `most` crops that are ready, each handed out once."""
        return [self._ready.popleft() for _ in islice(range(len(self._ready)), most)]

    def _turn(self, at_s: float) -> Sampler[tuple[Sighting, datetime]]:
        if self._sampler is None:
            self._sampler = Sampler(self._plan, self._streams, new_window=self._new_window, at_s=at_s)
        self._sampler.plan = self._plan
        self._collect(self._sampler.turn(at_s))
        return self._sampler

    def _offer(
        self, sampler: Sampler[tuple[Sighting, datetime]], ended: Iterable[Track], crossings: Iterable[Crossing],
        at_s: float,
    ) -> None:  # fmt: skip
        for sighting in self._witness.ended(ended, {one.track: one.label for one in crossings}):
            sampler.window.offer(sighting.facts, (sighting, self._when(sighting, at_s)))

    def _when(self, sighting: Sighting, at_s: float) -> datetime:
        return coarse(self._now() - timedelta(seconds=max(0.0, at_s - sighting.at_s)), self._resolution_s)

    def _collect(self, chosen: Sequence[Chosen[tuple[Sighting, datetime]]]) -> None:
        """Make crops; where a priority crop has no picture, the others stand for less than they say: no weights."""
        pictures = [_picture(one) for one in chosen]
        intact = all(taken or one.role is not Role.PRIORITY for one, taken in zip(chosen, pictures, strict=True))
        for one, taken in zip(chosen, pictures, strict=True):
            if taken is None:
                self.pictureless += 1
                continue
            weight = one.weight if intact or one.role is Role.CONTROL else None
            self._ready.append(self._crop(one, taken, weight))

    def _crop(self, chosen: Chosen[tuple[Sighting, datetime]], taken: Taken, weight: float | None) -> Crop:
        sighting, at = chosen.payload
        with_mask, without_mask, incorrect = (min(1.0, max(0.0, round(score, 4))) for score in taken.scores)
        header = CropHeader(
            id=uuid7(at), device=self._device, at=at, role=chosen.role, window=chosen.window,
            window_passes=chosen.window_passes, weight=weight, scores=(with_mask, without_mask, incorrect),
            label=sighting.label, box=taken.cutout.box, frame_size=taken.cutout.frame_size, origin=taken.cutout.origin,
            scale=taken.cutout.scale, model_digest=sighting.model_digest,
            jpeg_digest=sha256(taken.cutout.jpeg).hexdigest(),
        )  # fmt: skip
        return Crop(header, taken.cutout.jpeg)


def _picture(chosen: Chosen[tuple[Sighting, datetime]]) -> Taken | None:
    sighting, _ = chosen.payload
    return sighting.typical if chosen.role is Role.CONTROL else sighting.doubtful
