"""A served site over a real database, and short ways to fill it with passes, coverage and control labels."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, open_message
from cloud.rules import PictureRules
from cloud.store import schema
from cloud.store.blobs import BlobFolder
from cloud.store.store import Store
from cloud.web.roles import Scope
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from contract.crops import CropHeader, Role
from contract.dataset import Answer
from contract.events import PassEvent
from contract.health import Coverage, Heartbeat
from contract.labels import LABELS, Label
from contract.topics import Channel, Topic
from rehearsal.processes import wait_until
from tests.cloud.conftest import BOOT, batch, pass_event
from tests.cloud.crop_kit import store_rows
from tests.cloud.people_kit import machine_headers, signed_in

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
WITH, WITHOUT, WRONG = LABELS


class Counting:
    """What doors sent and labellers said, and what the site answers."""

    def __init__(self, engine: Engine, folder: Path, zone: str = "Europe/Paris") -> None:
        self.engine, self._blobs, self.now = engine, BlobFolder(folder), NOW
        settings = CloudSettings.load(None, {"time_zone": zone})
        door = listen("127.0.0.1", 0)
        self._server = WebServer(partial(new_site, Store(engine), settings, clock=lambda: self.now), door)
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{door.getsockname()[1]}",
            headers=machine_headers(engine, Scope.READ, now=NOW),
            timeout=30,
        )
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self._server.started, within_s=10, what="the site serving")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._server.stop()
        self._thread.join(10)

    def person(self) -> httpx.Client:
        """A browser of somebody who is signed in now."""
        return signed_in(self.engine, str(self.client.base_url), now=self.now)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get(f"/api/v1{path}", params=query)
        answer.raise_for_status()
        return answer.json()

    def take(self, channel: Channel, device: str, payload: bytes) -> None:
        message = Message(Topic(device, channel).text, payload)
        ingest(
            self.engine, self._blobs, [open_message(message, now=self.now, pictures=PictureRules())], now=self.now
        )  # fmt: skip

    def passes(self, device: str, number: int, **changes: Any) -> None:
        values = {"at": NOW - timedelta(minutes=1), **changes}
        events: list[PassEvent] = [pass_event(index, **values) for index in range(number)]
        for start in range(0, number, 100):
            self.take(Channel.EVENTS, device, batch(device, *events[start : start + 100]))

    def heartbeat(self, device: str, **values: Any) -> None:
        heartbeat = Heartbeat(**{"device": device, "state": "online", "boot": BOOT, "at": self.now, **values})
        self.take(Channel.HEALTH, device, heartbeat.encode())

    def cover(self, device: str, since: datetime, *seen: int, is_open: int = 60, synchronised: bool = True) -> None:
        told = Coverage(since=since, open=(is_open,) * len(seen), seen=seen, clock_synchronised=synchronised)
        self.heartbeat(device, coverage=told)

    def publish(self, release: int, digest: str) -> None:
        row = {"number": release, "digest": digest, "published_at": NOW, "manifest": {}}
        with self.engine.begin() as connection:
            connection.execute(schema.releases.insert().values(**row))

    def control(
        self, device: str, counted_as: Label, answer: Answer, number: int, *, at: datetime = NOW, digest: str = "a" * 64,
        role: Role = Role.CONTROL, label: Label | None = None, weight: float = 5.0,
    ) -> None:  # fmt: skip
        """So many labelled crops of one kind; without `label` as an older agent sends them."""
        scores = tuple(0.9 if one is counted_as else 0.05 for one in LABELS)
        headers = [
            CropHeader(
                id=uuid4(), device=device, at=at, role=role, window=UUID(int=1), window_passes=40, weight=weight,
                scores=scores, label=label, box=(0.3, 0.3, 0.7, 0.7), frame_size=(640, 480), origin=(0, 0), scale=1.0,
                model_digest=digest, jpeg_digest=sha256(b"").hexdigest(),
            )
            for _ in range(number)
        ]  # fmt: skip
        store_rows(self.engine, [(header, b"") for header in headers], at)
        self.answer((header.id for header in headers), answer)

    def answer(self, crops: Iterable[UUID], answer: Answer) -> None:
        rows = [
            {
                "id": uuid4(), "crop": crop, "labeller": "Ada", "answer": answer.value, "at": NOW, "took_ms": 1,
                "prediction_seen": False, "guideline": 1,
            }
            for crop in crops
        ]  # fmt: skip
        with self.engine.begin() as connection:
            connection.execute(schema.labels.insert(), rows)
