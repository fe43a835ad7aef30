"""The composition root: the only file that names concrete classes and ties them together."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Literal

from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.fleet.releases import Repository
from cloud.fleet.rollout import Rules
from cloud.fleet.steward import Steward, TableOfWishes
from cloud.ingest.consumer import Consumer, Pace
from cloud.ingest.parcels import open_message
from cloud.ingest.sink import DatabaseSink
from cloud.learning.jobs import Watch
from cloud.loop import new_loop
from cloud.store.blobs import BlobFolder
from cloud.store.database import migrate, open_database
from cloud.store.store import Store
from cloud.web.server import WebServer, check_identity, listen
from cloud.web.site import new_site
from contract.errors import TryAgainError
from contract.tls import client_context

log = logging.getLogger("cloud")

Part = Literal["consume", "serve"]
STALLED = 70  # exit code of a process that its own watchdog ended


class CannotStartError(TryAgainError):
    """Something around us must be put right first; the message says what."""


def prepare(settings: CloudSettings) -> Engine:
    """Make the folders, open the database and bring it up to date.

    Raises CannotStartError or DatabaseUnavailableError with what to do.
    """
    for folder in (settings.data, settings.blob_folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotStartError(
                f"cannot make the folder {folder} ({error.strerror}): choose another with --set data=FOLDER"
            ) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise CannotStartError(
                f"cannot write into the folder {folder}: change its owner, or choose another with --set data=FOLDER"
            )
    engine = open_database(settings.database_url)
    migrate(engine)
    return engine


def run(settings: CloudSettings, parts: tuple[Part, ...]) -> int:
    """Run the consumer, the web server or both until SIGTERM or Ctrl-C; returns the exit code."""
    done = threading.Event()
    door = _listen(settings.host, settings.port, "port") if "serve" in parts else None
    secure_door = _secure_door(settings) if "serve" in parts else None
    engine = prepare(settings)
    work: list[tuple[str, Callable[[], None], Callable[[], None]]] = []
    if "consume" in parts:
        consumer = _new_consumer(settings, engine)
        work.append(("consumer", consumer.run, consumer.stop))
    if door is not None:
        store = Store(engine)
        loop = new_loop(settings, engine)
        make_site = partial(new_site, store, settings, loop=loop)
        web = WebServer(make_site, door)
        work.append(("web", web.run, web.stop))
        watch = Watch(loop.retraining, settings.retraining.check_every_s)
        work.append(("retraining", watch.run, watch.stop))
        steward = _new_steward(settings, engine)
        work.append(("steward", steward.run, steward.stop))
        host, port = door.getsockname()[:2]
        log.info("the page is at http://%s:%d/", f"[{host}]" if ":" in host else host, port)
        if secure_door is not None:
            secure = WebServer(make_site, secure_door, identity=settings.https.identity)
            work.append(("secure web", secure.run, secure.stop))
            log.info("machines are served by TLS on port %d", secure_door.getsockname()[1])
    failures: list[BaseException] = []
    threads = [threading.Thread(target=_guard, args=(act, failures, done), name=name) for name, act, _ in work]
    with _signals(done):
        for thread in threads:
            thread.start()
        done.wait()
    for _, _, stop in work:
        stop()
    for thread in threads:
        thread.join()
    engine.dispose()
    if failures:
        raise failures[0]
    return 0


def _secure_door(settings: CloudSettings) -> socket.socket | None:
    https = settings.https
    if https.port is None or https.identity is None:
        return None
    check_identity(https.identity)
    return _listen(https.host, https.port, "https.port")


def _listen(host: str, port: int, setting: str) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise CannotStartError(
            f"cannot listen on {host}:{port} ({error.strerror}): "
            f"stop what uses it, or choose another with --set {setting}=NUMBER"
        ) from error


def _new_consumer(settings: CloudSettings, engine: Engine) -> Consumer:
    return Consumer(
        address=settings.broker_address[:2],
        tls=client_context(settings.identity) if settings.identity else None,
        client_id=settings.client_id,
        pace=Pace(
            receive_maximum=settings.receive_maximum,
            batch_events=settings.batch_events,
            batch_wait_s=settings.batch_wait_ms / 1000,
            stall_after_s=settings.stall_after_s,
            session_expiry_s=settings.session_expiry_s,
        ),
        sink=DatabaseSink(engine, BlobFolder(settings.blob_folder), settings.client_id),
        open_message=lambda message, now: open_message(message, now=now, pictures=settings.pictures),
        on_stall=_end_process,
        wishes=TableOfWishes(engine),
    )


def _new_steward(settings: CloudSettings, engine: Engine) -> Steward:
    folder = settings.release_folder
    there = (folder / "repository" / "metadata").is_dir()
    if not there:
        log.info("releases are off: there is no repository in %s (`cloud keys FOLDER` makes one)", folder)
    return Steward(
        engine,
        Repository(folder) if there else None,
        Rules(silent_after_s=settings.answer_within_s, canary_soak_s=settings.canary_soak_s),
        present_s=settings.silent_after_s,
    )


def _guard(act: Callable[[], None], failures: list[BaseException], done: threading.Event) -> None:
    """Run one part; when it ends, for whatever reason, the process ends."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 -- the one broad except: it is raised again in the main thread
        failures.append(error)
    finally:
        done.set()


def _end_process(why: str) -> None:
    log.critical("%s: ending, so that a fresh process can take over", why)
    logging.shutdown()
    os._exit(STALLED)


@contextmanager
def _signals(done: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `done` instead of ending the process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        done.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
