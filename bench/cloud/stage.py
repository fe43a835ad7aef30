"""What the measurements share: a broker that queues without limit, a PostgreSQL that syncs, timed drains, counted CPU."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.cloud.load import publish
from bench.cloud.throttle import held
from contract.topics import Channel, every
from rehearsal.postgres import Postgres
from rehearsal.processes import Child, Mosquitto, RehearsalError, wait_until

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 120.0
PROGRAMS = (("mosquitto_sub", "mosquitto-clients"), ("psql", "postgresql-client"), ("sqlite3", "sqlite3"))


@dataclass(frozen=True, slots=True)
class Drain:
    """How a queue at the broker was emptied."""

    events: int
    wall_s: float
    cpu_s: dict[str, float]  # by part

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.wall_s

    @property
    def cpu_us(self) -> dict[str, float]:
        """Microseconds of CPU an event, by part."""
        return {name: round(used / self.events * 1e6, 1) for name, used in self.cpu_s.items()}


class Stage:
    """One run's broker and databases, in a folder."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        for program, package in PROGRAMS:
            if shutil.which(program) is None:
                raise RehearsalError(f"{program} is not installed: `apt-get install {package}`")
        self.folder, self._settings = folder, settings
        self.broker = Mosquitto(folder / "broker", configure=_roomy)
        self.postgres = Postgres(fsync="on", shared_buffers="128MB", max_wal_size="2GB")

    def start(self) -> None:
        self.broker.start()
        self.postgres.start()

    def stop(self) -> None:
        self.broker.stop()
        self.postgres.stop(remove=True)

    def subscribe_in_c(self, name: str) -> None:
        """Make the session of a mosquitto_sub, so that messages wait for it."""
        subprocess.run(self._reader(name, "-E"), check=True)

    def subscribe(self, name: str, database: str, *settings: str) -> None:
        """Make a consumer's session, and its tables."""
        child = self._consumer(name, database, settings)
        self._await_connection(child, 1)
        child.stop()

    def drain_in_c(self, name: str, messages: int, sink: Sequence[str | Path]) -> Drain:
        """`mosquitto_sub | sink`, from the start until both have ended."""
        before, own, begun = self.cpu(), _children_s(), time.perf_counter()
        reader = subprocess.Popen(self._reader(name, "-C", str(messages)), stdout=subprocess.PIPE)
        subprocess.run([str(part) for part in sink], stdin=reader.stdout, check=True, stdout=subprocess.DEVNULL)
        reader.wait()
        wall_s = time.perf_counter() - begun
        return Drain(messages, wall_s, self.used(before) | {"programs": _children_s() - own})

    def drain(self, names: Sequence[str], database: str, events: int, *settings: str) -> Drain:
        """The real consumers, from the first one's connection until the tallies say that every event is stored."""
        with self._connected(names[:1], names, database, settings) as pids:
            return self._timed(pids, events, lambda: _await_stored(database, events))

    def feed(
        self,
        names: Sequence[str],
        database: str,
        load: Sequence[tuple[str, bytes]],
        events: int,
        *settings: str,
        share: float,
    ) -> Drain:
        """The real consumers, each held to a share of a core; all are connected before the first message is sent."""

        def send_and_wait() -> None:
            with held(pids, share, _process_s):
                publish(self.broker.port, load)
                _await_stored(database, events)

        with self._connected(names, names, database, settings) as pids:
            return self._timed(pids, events, send_and_wait)

    @contextmanager
    def _connected(
        self, awaited: Sequence[str], names: Sequence[str], database: str, settings: Sequence[str]
    ) -> Iterator[list[int]]:
        seen = {name: self._log(name).count(CONNECTED) for name in names}
        children = [self._consumer(name, database, settings) for name in names]
        try:
            for child in children:
                if child.name in awaited:
                    self._await_connection(child, seen[child.name] + 1)
            yield [child.process.pid for child in children]
        finally:
            for child in children:
                child.stop()

    def _timed(self, pids: Sequence[int], events: int, work: Callable[[], None]) -> Drain:
        before, start_s, begun = self.cpu(), sum(map(_process_s, pids)), time.perf_counter()
        work()
        wall_s, used_s = time.perf_counter() - begun, sum(map(_process_s, pids)) - start_s
        return Drain(events, wall_s, self.used(before) | {"consumers": used_s})

    def _reader(self, name: str, *more: str) -> list[str]:
        at = ["-h", "127.0.0.1", "-p", str(self.broker.port), "-i", name, "-c", "-q", "1", "-t", every(Channel.EVENTS)]
        return ["mosquitto_sub", *at, *more]

    def _consumer(self, name: str, database: str, settings: Sequence[str]) -> Child:
        values = [
            f"broker=mqtt://127.0.0.1:{self.broker.port}", f"data={self.folder / 'data'}", f"client_id={name}",
            f"database={database}", *self._settings, *settings,
        ]  # fmt: skip
        options = [part for value in values for part in ("--set", value)]
        return Child(name, [sys.executable, "-m", "cloud", "consume", *options], log=self.folder / f"{name}.log")

    def _await_connection(self, child: Child, times: int) -> None:
        wait_until(
            lambda: self._log(child.name).count(CONNECTED) >= times or not child.running, within_s=60, what=f"{child.name} connected"
        )  # fmt: skip
        child.require_running()

    def _log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def cpu(self) -> dict[str, float]:
        """CPU seconds of broker and PostgreSQL so far."""
        return {"broker": _process_s(self.broker.pid), "PostgreSQL": family_s(self.postgres.pid)}

    def used(self, before: dict[str, float]) -> dict[str, float]:
        return {name: after - before[name] for name, after in self.cpu().items()}


CONNECTED = "connected to the broker"


def psycopg_url(database: str) -> str:
    """SQLAlchemy's URL in psql's and psycopg's words."""
    return database.replace("postgresql+psycopg", "postgresql")


def _stored(database: str) -> Callable[[], int]:
    """How many events the boots' tallies know: a few rows, so that asking costs nothing."""
    query = "SELECT coalesce(sum(stored), 0) FROM boots"
    connection: Any
    if database.startswith("sqlite"):
        connection = sqlite3.connect(database.removeprefix("sqlite:///"), timeout=30)
    else:
        connection = psycopg.connect(psycopg_url(database), autocommit=True)
    return lambda: int(connection.execute(query).fetchone()[0])


def _await_stored(database: str, events: int) -> None:
    begun, stored = time.perf_counter(), _stored(database)
    while stored() < events:
        if time.perf_counter() - begun > PATIENCE_S:
            raise RehearsalError(f"only {stored()} of {events} events were stored within {PATIENCE_S:g} s")
        time.sleep(0.02)


def _roomy(folder: Path, port: int) -> Path:
    """As `provisioning broker` configures it, but it keeps whatever comes, and writes no snapshot in the middle."""
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nset_tcp_nodelay true\n"
        "max_inflight_messages 20\nmax_queued_messages 0\nmax_queued_bytes 0\nlog_type error\nlog_type warning\n"
    )
    return config


def _process_s(pid: int) -> float:
    """CPU seconds of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def family_s(pid: int) -> float:
    """CPU seconds of a process, of its children that live, and of those that ended."""
    while True:
        with suppress(FileNotFoundError):  # a child that ends between the two readings: read again
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return sum(map(int, fields[11:15])) / TICKS + sum(_process_s(int(one)) for one in children)
        Path(f"/proc/{pid}").stat()


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system
