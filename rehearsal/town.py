"""A town's doors over weeks: what they would have sent, hour by hour, from a truth that is known; no hardware, no camera."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import cv2
import numpy as np
import numpy.typing as npt

from agent.report import uuid7
from contract.crops import Crop, CropHeader, Role
from contract.events import BATCH_LIMIT, EventBatch, PassEvent
from contract.fleet import Reported, Step
from contract.health import Board, Coverage, Heartbeat
from contract.labels import LABELS, Label
from contract.topics import Channel, Topic
from rehearsal.people import Wear, draw_person, face_box, random_look

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# What each release makes of the truth: a row for each true label, a column for each that it says.
CONFUSION = {
    1: ((0.95, 0.02, 0.03), (0.05, 0.92, 0.03), (0.22, 0.10, 0.68)),
    2: ((0.97, 0.01, 0.02), (0.03, 0.95, 0.02), (0.12, 0.06, 0.82)),
}
WEARS: dict[Label, Wear] = {
    Label.WITH_MASK: "covered",
    Label.WITHOUT_MASK: "bare",
    Label.MASK_WORN_INCORRECTLY: "nose_out",
}
COVERAGE_DAYS = 3  # a heartbeat speaks of so many days back
SIDE = 96  # px of a crop
Share = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Entrance:
    """One door of the town."""

    name: str
    site: str
    busy: float  # passes of its busiest hour
    truth: Share  # of the labels, in their order
    opens: tuple[int, int] = (7, 20)  # whole hours UTC
    weekend: float = 0.3  # of a weekday's passes
    outage: float = 0.01  # chance that the camera is lost in an hour of service
    accelerator: str = "edgetpu"


TOWN = (
    Entrance("clinic-main", "clinic", 210, (0.93, 0.03, 0.04), (6, 22), 0.6),
    Entrance("clinic-staff", "clinic", 60, (0.97, 0.01, 0.02), (5, 23), 0.8),
    Entrance("clinic-garden", "clinic", 25, (0.88, 0.06, 0.06), (8, 18), 0.9, 0.05),
    Entrance("town-hall", "town-hall", 120, (0.74, 0.17, 0.09), (7, 18), 0.0),
    Entrance("town-hall-side", "town-hall", 18, (0.71, 0.20, 0.09), (7, 18), 0.0, 0.02, "cpu"),
    Entrance("library-north", "library", 80, (0.66, 0.24, 0.10), (9, 20), 0.7),
    Entrance("library-south", "library", 45, (0.68, 0.22, 0.10), (9, 20), 0.7, 0.08),
    Entrance("station-hall", "station", 420, (0.58, 0.30, 0.12), (4, 24), 0.8),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a door, and when it reached the broker."""

    at: datetime
    topic: str
    payload: bytes
    truth: Label | None = None  # of a crop: what a labeller would say


@dataclass(slots=True)
class _Service:
    """What a door remembers from one hour to the next."""

    boot: UUID
    sequence: int
    seen: list[int]  # minutes of each hour since the first
    open: list[int]
    down_h: int = 0


class Town:
    """The same seed, the same town. `truths` counts what really passed, by door and label."""

    def __init__(self, seed: int, *, start: datetime, end: datetime, doors: tuple[Entrance, ...] = TOWN) -> None:
        """Whole hours from `start` to `end`; the second release comes at two thirds of the way."""
        self._rng = np.random.default_rng(seed)
        self._start, self._end, self.doors = start, end, doors
        self._changes_at = start + (end - start) * 2 / 3
        self.truths: dict[str, dict[Label, int]] = {door.name: dict.fromkeys(LABELS, 0) for door in doors}
        self._faces = {label: [self._face(label) for _ in range(40)] for label in LABELS}

    def messages(self, *, control_per_day: int = 8) -> Iterator[Sent]:
        """Everything the doors send, in the order of time."""
        service = {door.name: _Service(self._uuid(self._start), 0, [], []) for door in self.doors}
        at = self._start
        while at < self._end:
            for door in self.doors:
                yield from self._hour(door, service[door.name], at, control_per_day)
            at += HOUR

    def release_at(self, at: datetime) -> int:
        """Which release the doors ran then."""
        return 1 if at < self._changes_at else 2

    def _hour(self, door: Entrance, service: _Service, at: datetime, control_per_day: int) -> Iterator[Sent]:
        is_open = door.opens[0] <= at.hour < door.opens[1] and (at.weekday() < 5 or door.weekend > 0)
        seen = self._minutes_seen(door, service) if is_open else 0
        service.open.append(60 if is_open else 0)
        service.seen.append(seen)
        expected = door.busy * _curve(at.hour, door.opens) * (1 if at.weekday() < 5 else door.weekend)
        passes = int(self._rng.poisson(expected * self._rng.gamma(40, 1 / 40))) if is_open else 0
        truths = [LABELS[index] for index in self._rng.choice(3, passes, p=self._shares(door, at))]
        for label in truths:
            self.truths[door.name][label] += 1
        watched = [label for label in truths if self._rng.random() < seen / 60]
        events = [self._event(door, service, at, label) for label in watched]
        for first in range(0, len(events), BATCH_LIMIT):
            batch = EventBatch(device=door.name, events=tuple(events[first : first + BATCH_LIMIT]))
            yield Sent(at + HOUR, Topic(door.name, Channel.EVENTS).text, batch.encode())
        drawn = self._rng.binomial(control_per_day, min(1, expected / max(1, 6 * door.busy))) if watched else 0
        for index in self._rng.choice(len(watched), min(drawn, len(watched)), replace=False):
            yield self._crop(door, at, watched[index], events[index].label, len(watched), drawn)
        if at.hour % 6 == 0 or at + HOUR >= self._end:
            yield self._heartbeat(door, service, at + HOUR)
        if at in (self._start, self._changes_at):
            yield self._reported(door, at)

    def _minutes_seen(self, door: Entrance, service: _Service) -> int:
        if service.down_h:
            service.down_h -= 1
            return 0
        if self._rng.random() < door.outage:
            service.down_h = int(self._rng.integers(0, 5))
            service.boot, service.sequence = self._uuid(self._start), 0
            return int(self._rng.integers(5, 55))
        return 60

    def _shares(self, door: Entrance, at: datetime) -> npt.NDArray[np.float64]:
        """A door-day's own mood around the door's habit."""
        mood = np.random.default_rng([at.toordinal(), len(door.name), int(door.busy)])
        return mood.dirichlet(np.array(door.truth) * 120 + 0.2)

    def _event(self, door: Entrance, service: _Service, at: datetime, truth: Label) -> PassEvent:
        moment = at + timedelta(minutes=int(self._rng.integers(60)))
        release = self.release_at(at)
        said = LABELS[self._rng.choice(3, p=CONFUSION[release][LABELS.index(truth)])]
        event = PassEvent.model_validate({
            "id": self._uuid(moment), "at": moment, "direction": "in" if self._rng.random() < 0.51 else "out",
            "label": said, "confidence": round(float(self._rng.beta(9, 1)), 3), "release": release,
            "accelerator": door.accelerator, "boot": service.boot, "sequence": service.sequence,
        })  # fmt: skip
        service.sequence += 1
        return event

    def _crop(self, door: Entrance, at: datetime, truth: Label, said: Label, passes: int, drawn: int) -> Sent:
        faces = self._faces[truth]
        jpeg, box = faces[self._rng.integers(len(faces))]
        header = CropHeader.model_validate({
            "id": self._uuid(at), "device": door.name, "at": at + timedelta(minutes=int(self._rng.integers(60))),
            "role": Role.CONTROL, "window": self._uuid(at), "window_passes": passes,
            "weight": max(1.0, passes / max(1, drawn)),
            "scores": tuple(0.9 if label is said else 0.05 for label in LABELS), "box": box,
            "frame_size": (1280, 720), "origin": (600, 200), "scale": 1.0,
            "model_digest": model_digest(self.release_at(at)), "jpeg_digest": sha256(jpeg).hexdigest(),
        })  # fmt: skip
        return Sent(at + HOUR, Topic(door.name, Channel.CROPS).text, Crop(header, jpeg).encode(), truth)

    def _heartbeat(self, door: Entrance, service: _Service, at: datetime) -> Sent:
        hours = min(len(service.open), COVERAGE_DAYS * 24)
        beat = Heartbeat.model_validate({
            "device": door.name, "state": "online", "boot": service.boot, "at": at, "uptime_s": 3600.0 * hours,
            "release": self.release_at(at - HOUR), "accelerator": door.accelerator,
            "fps": 24.8 if door.accelerator == "edgetpu" else 9.6, "frames": 90_000 * hours, "passes": service.sequence,
            "board": Board(temperature_c=round(float(self._rng.normal(58, 3)), 1), under_voltage=False, throttled=False,
                           disk_free_bytes=21_000_000_000),
            "coverage": Coverage(since=at - hours * HOUR, open=tuple(service.open[-hours:]),
                                 seen=tuple(service.seen[-hours:]), clock_synchronised=True),
            "drift": round(float(self._rng.uniform(0.2, 0.9)), 2),
            "trouble": ("the camera gives no frames",) if service.down_h else (),
        })  # fmt: skip
        return Sent(at, Topic(door.name, Channel.HEALTH).text, beat.encode())

    def _reported(self, door: Entrance, at: datetime) -> Sent:
        release = self.release_at(at)
        report = Reported(
            device=door.name, at=at, release=release, digest=model_digest(release), step=Step.IDLE, wanted=0
        )
        return Sent(at + HOUR, Topic(door.name, Channel.REPORTED).text, report.encode())

    def _face(self, label: Label) -> tuple[bytes, tuple[float, float, float, float]]:
        """A drawn face with its eyes filled, as JPEG, and where in it the face is."""
        look = random_look(self._rng)
        sprite = draw_person(look, WEARS[label], "face", self._rng)
        x0, y0, x1, y1 = face_box(look)
        pad = 0.35 * (y1 - y0)
        left, top = int(x0 - pad), max(0, int(y0 - pad))
        cut = sprite[top : int(y1 + pad), left : int(x1 + pad)]
        alpha = cut[..., 3:].astype(np.float32) / 255
        ground = np.full((*cut.shape[:2], 3), self._rng.integers(120, 220), np.float32)
        picture = (cut[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8)
        scale = SIDE / max(picture.shape[:2])
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        height, width = picture.shape[:2]
        corners = ((x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale)
        eyes = slice(
            int(corners[1] + 0.22 * (corners[3] - corners[1])), int(corners[1] + 0.48 * (corners[3] - corners[1]))
        )
        picture[eyes, int(corners[0]) : int(corners[2])] = 114
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
        box = (corners[0] / width, corners[1] / height, corners[2] / width, corners[3] / height)
        return jpeg.tobytes(), (max(0.0, box[0]), max(0.0, box[1]), min(1.0, box[2]), min(1.0, box[3]))

    def _uuid(self, at: datetime) -> UUID:
        return uuid7(at, self._rng.bytes)


def model_digest(release: int) -> str:
    """What the town's doors say their model's digest is."""
    return sha256(f"the town's release {release}".encode()).hexdigest()


def _curve(hour: int, opens: tuple[int, int]) -> float:
    """Two peaks a day, morning and late afternoon, as a share of the busiest hour."""
    middle = (hour + 0.5 - opens[0]) / (opens[1] - opens[0])
    return float(
        0.25 + 0.75 * (np.exp(-(((middle - 0.2) / 0.12) ** 2)) + 0.9 * np.exp(-(((middle - 0.72) / 0.14) ** 2)))
    )
