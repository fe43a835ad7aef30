"""A site in this process, over a real socket and a real database, whose clock a test sets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, open_message
from cloud.rules import PictureRules
from cloud.store.blobs import BlobFolder
from cloud.store.store import Store
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from contract.fleet import Reported, Step
from contract.health import Heartbeat
from contract.topics import Channel, Topic
from rehearsal.processes import wait_until
from tests.cloud.conftest import BOOT, batch, pass_event
from tests.cloud.people_kit import person_headers

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)  # a Monday


class Site:
    """Requests are an admin's, from this site's own pages, signed in at the test's own time."""

    def __init__(self, engine: Engine, folder: Path, address: str) -> None:
        self.now, self.engine, self.address = NOW, engine, address
        self._blobs = BlobFolder(folder / "blobs")
        self._signed_in_at: datetime | None = None
        self._person: dict[str, str] = {}
        self.client = httpx.Client(base_url=address, timeout=30, event_hooks={"request": [self._sign]})

    def _sign(self, request: httpx.Request) -> None:
        if self._signed_in_at != self.now:
            self._signed_in_at = self.now
            self._person = person_headers(self.engine, self.address, now=self.now)
        for name, value in self._person.items():
            request.headers.setdefault(name, value)

    def take(self, device: str, channel: Channel, payload: bytes) -> None:
        """As the consumer would."""
        parcel = open_message(Message(Topic(device, channel).text, payload), now=self.now, pictures=PictureRules())
        ingest(self.engine, self._blobs, [parcel], now=self.now)

    def heartbeat(self, device: str, **values: Any) -> None:
        beat = Heartbeat(**{"device": device, "state": "online", "boot": BOOT, "at": self.now, **values})
        self.take(device, Channel.HEALTH, beat.encode())

    def passes(self, device: str, number: int, **values: Any) -> None:
        for start in range(0, number, 100):
            events = [pass_event(one, **{"at": self.now, **values}) for one in range(start, min(start + 100, number))]
            self.take(device, Channel.EVENTS, batch(device, *events))

    def report(self, device: str, **values: Any) -> None:
        base = {"device": device, "at": self.now, "release": 0, "digest": "a" * 64, "step": Step.IDLE}
        self.take(device, Channel.REPORTED, Reported.model_validate({**base, **values}).encode())

    def put(self, path: str, **body: Any) -> httpx.Response:
        return self.client.put(f"/api/v1{path}", json=body)

    def api(self, path: str) -> Any:
        answer = self.client.get(f"/api/v1{path}")
        answer.raise_for_status()
        return answer.json()


@contextmanager
def served(engine: Engine, folder: Path, **settings: Any) -> Iterator[Site]:
    """The site while it is served."""
    door = listen("127.0.0.1", 0)
    site = Site(engine, folder, f"http://127.0.0.1:{door.getsockname()[1]}")
    known = CloudSettings.load(None, {"data": str(folder), **settings})
    server = WebServer(partial(new_site, Store(engine), known, clock=lambda: site.now), door)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving")
    yield site
    site.client.close()
    server.stop()
    thread.join(10)
    assert not thread.is_alive()
