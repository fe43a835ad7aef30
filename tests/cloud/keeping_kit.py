"""Doors' messages, real pictures and a way in, for tests of what is kept and for how long."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import cv2
import numpy as np
from sqlalchemy import ColumnElement, Engine, func, select

from cloud.ingest.ingest import Outcome, ingest
from cloud.ingest.parcels import Message, open_message
from cloud.learning.labelling import Given, Labelling
from cloud.learning.snapshots import Snapshots
from cloud.rules import PictureRules, RetentionRules
from cloud.store import schema
from cloud.store.blobs import Blobs
from contract.crops import Crop, CropHeader
from contract.dataset import Answer
from contract.events import PassEvent
from contract.topics import Channel, Topic
from tests.cloud.conftest import batch, pass_event


def jpeg(seed: int = 0, side: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def crop(at: datetime, seed: int = 0, device: str = "front", **changes: Any) -> Crop:
    picture = jpeg(seed)
    values: dict[str, Any] = {
        "id": uuid4(), "device": device, "at": at, "role": "priority", "window": uuid4(), "window_passes": 12,
        "weight": 3.5, "scores": (0.4, 0.5, 0.1), "box": (0.2, 0.2, 0.8, 0.8), "frame_size": (640, 480),
        "origin": (10, 20), "scale": 1.0, "model_digest": "a" * 64, "jpeg_digest": sha256(picture).hexdigest(),
    }  # fmt: skip
    return Crop(CropHeader.model_validate({**values, **changes}), picture)


def crop_message(one: Crop) -> Message:
    return Message(Topic(one.header.device, Channel.CROPS).text, one.encode())


def pass_message(device: str, *events: PassEvent) -> Message:
    return Message(Topic(device, Channel.EVENTS).text, batch(device, *events))


class Site:
    """A database and a place for pictures, with the consumer's way in and a labeller."""

    def __init__(self, engine: Engine, blobs: Blobs, rules: RetentionRules | None = None) -> None:
        self.engine, self.blobs, self.rules = engine, blobs, rules or RetentionRules()
        self.desk, self.snapshots = Labelling(engine), Snapshots(engine, blobs)

    def take(self, *messages: Message, now: datetime) -> Outcome:
        parcels = [open_message(one, now=now, pictures=PictureRules()) for one in messages]
        return ingest(self.engine, self.blobs, parcels, now=now, rules=self.rules)

    def take_crops(self, *crops: Crop, now: datetime) -> Outcome:
        return self.take(*(crop_message(one) for one in crops), now=now)

    def take_passes(self, device: str, times: Sequence[datetime], *, now: datetime) -> list[PassEvent]:
        events = [pass_event(number, at=at) for number, at in enumerate(times)]
        for start in range(0, len(events), 100):
            self.take(pass_message(device, *events[start : start + 100]), now=now)
        return events

    def label(self, one: Crop, now: datetime, answer: Answer = Answer.WITH_MASK) -> UUID:
        event = uuid4()
        assert self.desk.give(Given(event, one.header.id, "Ada", answer), now)
        return event

    def rows(self, table: str, *where: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(schema.metadata.tables[table])
        with self.engine.connect() as connection:
            return int(connection.execute(query.where(*where)).scalar_one())

    def passes(self, device: str | None = None) -> int:
        query = select(func.coalesce(func.sum(schema.hours.c.passes), 0))
        query = query if device is None else query.where(schema.hours.c.device == device)
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def kept(self, *crops: Crop) -> list[bool]:
        """Of which the picture is among the blobs."""
        listed = {one.digest for one in self.blobs.entries()}
        return [one.header.jpeg_digest in listed for one in crops]


def days(number: float) -> timedelta:
    return timedelta(days=number)
