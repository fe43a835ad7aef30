"""Databases, brokers and the cloud as a process, as the cloud's own tests have them; a site; and how much is tried."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.fleet.keys import make_keys
from cloud.store.store import Store
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from rehearsal.processes import wait_until
from tests.cloud.conftest import database_url, door, engine, postgres, start_cloud
from tests.fuzz.messages import Books
from tests.fuzz.mischief import Mischief

__all__ = ["MORE", "database_url", "door", "engine", "postgres", "start_cloud"]

MORE = float(os.environ.get("MASKFLEET_FUZZ", "1"))  # times as much as a default run tries


@pytest.fixture
def address(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """Of a site on each database, whose doors sent what doors should not."""
    with served(engine, tmp_path) as where:
        yield where


@contextmanager
def served(engine: Engine, folder: Path) -> Iterator[str]:
    """The address of a site while it is served."""
    now = datetime.now(UTC)
    make_keys(folder / "releases", now)
    mischief, books = Mischief(Random(5), now), Books(engine, folder / "blobs", now)
    books.take(mischief.next() for _ in range(1_000))
    with running(engine, folder) as where:
        yield where


@contextmanager
def running(engine: Engine, folder: Path, proxies: Sequence[str] = ()) -> Iterator[str]:
    """The address of the site of a database that is there."""
    door = listen("127.0.0.1", 0)
    make = partial(new_site, Store(engine), CloudSettings.load(None, {"data": str(folder)}))
    server = WebServer(make, door, proxies=proxies)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, within_s=10, what="the site serving")
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.stop()
        thread.join(10)
