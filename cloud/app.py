"""The composition root: the only file that names concrete classes and ties them together."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType
from typing import Literal

from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.duties import Duty, Roster, holder_name
from cloud.fleet.endings import Ends, Teller, consumer_look, file_look, server_look, signature_look
from cloud.fleet.homes import TableOfHomes
from cloud.fleet.postman import new_postman
from cloud.fleet.releases import Repository
from cloud.fleet.rollout import Rules
from cloud.fleet.steward import Steward, TableOfWishes
from cloud.fleet.watchman import Watchman
from cloud.ingest.consumer import Consumer, Pace
from cloud.ingest.gatekeeper import Gatekeeper
from cloud.ingest.home import HomePublisher
from cloud.ingest.parcels import open_message
from cloud.ingest.sink import DatabaseSink
from cloud.learning.jobs import Watch
from cloud.loop import new_loop, open_pictures
from cloud.store import erasures
from cloud.store.database import migrate, open_database
from cloud.store.partitions import PartitionMaker
from cloud.store.store import Store
from cloud.store.writing import row_maker
from cloud.upkeep.erasing import read_journal
from cloud.upkeep.housekeeper import Housekeeper
from cloud.web.passwords import Passwords
from cloud.web.people import People
from cloud.web.server import WebServer, check_identity, listen
from cloud.web.site import new_site
from contract.errors import TryAgainError
from contract.tls import client_context

log = logging.getLogger("cloud")

Part = Literal["consume", "serve"]
Work = tuple[str, Callable[[], None], Callable[[], None]]  # what a thread does: its name, how to do it, how to stop it
STALLED = 70  # exit code of a process that its own watchdog ended


class CannotStartError(TryAgainError):
    """Something around us must be put right first; the message says what."""


def prepare(settings: CloudSettings) -> Engine:
    """Make the folders, open the database and bring it up to date, also with what was erased from an earlier one.

    Raises CannotStartError or DatabaseUnavailableError with what to do.
    """
    for folder in (settings.data, *([] if settings.bucket else [settings.blob_folder])):
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
    if known := read_journal(settings.erasure_journal):
        with engine.begin() as connection:
            erasures.adopt(connection, known)
    return engine


def run(settings: CloudSettings, parts: tuple[Part, ...]) -> int:
    """Run the consumer, the web server or both until SIGTERM or Ctrl-C; returns the exit code."""
    done = threading.Event()
    door = _listen(settings.host, settings.port, "port") if "serve" in parts else None
    secure_door = _secure_door(settings) if "serve" in parts else None
    engine = prepare(settings)
    roster = Roster(engine, holder_name())
    failures: list[BaseException] = []
    with _signals(done):  # before anything is said: who reads that the page is there may end us at once
        work = _consuming(settings, engine) if "consume" in parts else []
        work += _serving(settings, engine, roster, door, secure_door) if door is not None else []
        teller = Teller(engine, _looks(settings, parts))
        work.append(("endings", teller.run, teller.stop))
        threads = [threading.Thread(target=_guard, args=(act, failures, done), name=name) for name, act, _ in work]
        for thread in threads:
            thread.start()
        done.wait()
    for _, _, stop in work:
        stop()
    for thread in threads:
        thread.join()
    roster.give_up()
    engine.dispose()
    if failures:
        raise failures[0]
    return 0


def _consuming(settings: CloudSettings, engine: Engine) -> list[Work]:
    prepare_interpreter()
    consumer, months = _new_consumer(settings, engine), PartitionMaker(engine)
    return [("consumer", consumer.run, consumer.stop), ("partitions", months.run, months.stop)]


def _serving(
    settings: CloudSettings, engine: Engine, roster: Roster, door: socket.socket, secure_door: socket.socket | None
) -> list[Work]:
    loop = new_loop(settings, engine)
    make_site = partial(new_site, Store(engine), settings, loop=loop)
    web = WebServer(make_site, door, proxies=settings.proxies)
    watch = Watch(loop.retraining, settings.retraining.check_every_s, roster.place(Duty.TRAINING))
    upkeep = roster.place(Duty.UPKEEP)
    housekeeper = Housekeeper(engine, open_pictures(settings), settings.retention, duty=upkeep)
    steward = _new_steward(settings, engine, roster)
    postman = new_postman(engine, settings.alerts, roster.place(Duty.MESSAGES))
    watchman = Watchman(engine, settings, postman, duty=roster.place(Duty.ALERTS))
    work: list[Work] = [
        ("web", web.run, web.stop),
        ("retraining", watch.run, watch.stop),
        ("housekeeper", housekeeper.run, housekeeper.stop),
        ("steward", steward.run, steward.stop),
        ("postman", postman.run, postman.stop),
        ("watchman", watchman.run, watchman.stop),
        ("duties", roster.run, roster.stop),
    ]
    host, port = door.getsockname()[:2]
    here = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    log.info("the page is at %s/", here)
    _greet(settings, engine, here)
    if secure_door is not None:
        secure = WebServer(make_site, secure_door, identity=settings.https.identity)
        work.append(("secure web", secure.run, secure.stop))
        log.info("machines are served by TLS on port %d", secure_door.getsockname()[1])
    return work


def _greet(settings: CloudSettings, engine: Engine, here: str) -> None:
    """While nobody has an account, say where the first admin gets one."""
    token = People(engine, settings.accounts, Passwords()).first_link(datetime.now(UTC))
    if token:
        site = settings.accounts.address or here
        log.info("nobody has an account yet; the first admin gets one, within 24 h, at %s/welcome/%s", site, token)


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


def prepare_interpreter() -> None:
    """A batch is thousands of objects, none in a ring: looking for rings cost a third of the decoding. And the thread that
    comes back from the database need not wait 5 ms, Python's default, for the one that decodes.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    sys.setswitchinterval(0.0002)


def _new_consumer(settings: CloudSettings, engine: Engine) -> Consumer:
    make_row = row_maker(engine)
    sink = DatabaseSink(engine, open_pictures(settings), settings.client_id, settings.retention)
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
        sink=sink,
        gate=Gatekeeper(settings.metering, sink, window=settings.receive_maximum),
        open_message=partial(open_message, pictures=settings.pictures, make_row=make_row),
        on_stall=_end_process,
        wishes=TableOfWishes(engine),
        share=settings.share,
        protocol=settings.protocol,
        home=_new_home(settings, engine),
    )


def _new_home(settings: CloudSettings, engine: Engine) -> HomePublisher | None:
    """None where Home Assistant is not to hear of doors, and never was."""
    chosen = settings.home_assistant
    table = TableOfHomes(
        engine, chosen.prefix, silent_after=timedelta(seconds=settings.silent_after_s), zone=settings.zone,
        enabled=chosen.enabled,
    )  # fmt: skip
    return HomePublisher(table, chosen.prefix) if chosen.enabled or table.announced() else None


def _new_steward(settings: CloudSettings, engine: Engine, roster: Roster) -> Steward:
    """A server without the releases decides who gets which; only one that can sign stands in line for signing."""
    folder, repository = settings.release_folder, Repository(settings.release_folder)
    rules = Rules(silent_after_s=settings.answer_within_s, canary_soak_s=settings.canary_soak_s)
    rollouts, present_s = roster.place(Duty.ROLLOUTS), settings.silent_after_s
    if repository.signs():
        releases = roster.place(Duty.RELEASES)
        return Steward(engine, repository, rules, present_s=present_s, rollouts=rollouts, releases=releases)
    if repository.is_there():
        log.warning("the releases in %s are served, but not signed anew: the keys in online/ are missing", folder)
    else:
        log.info("this server has no releases: none in %s (`cloud keys FOLDER` makes a repository)", folder)
    return Steward(engine, None, rules, present_s=present_s, rollouts=rollouts)


def _looks(settings: CloudSettings, parts: tuple[Part, ...]) -> tuple[Ends, ...]:
    """What this process holds that comes to an end."""
    looks = [file_look(path) for path in settings.alerts.watched]
    looks += [consumer_look(settings)] if "consume" in parts else []
    if "serve" in parts:
        looks += [server_look(settings), signature_look(Repository(settings.release_folder))]
    return tuple(looks)


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
