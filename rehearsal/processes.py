"""Real programs as children of a rehearsal: started on free ports, waited for, stopped in order."""

import getpass
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

PORTS = range(15_000, 32_000)  # Linux gives outgoing connections what lies above


class RehearsalError(Exception):
    """Something the rehearsal needs is missing or did not start; the message says what to do."""


def free_port() -> int:
    """A TCP port on loopback that nobody listens on right now, and that the system gives to no outgoing connection."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RehearsalError("a hundred ports of loopback were tried, and all are taken: end what listens there")


def wait_until(ready: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Poll `ready` until it is true; raises RehearsalError that names `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > deadline:
            raise RehearsalError(f"{what} did not happen within {within_s:g} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """One program, its log file, and a decent way to end it."""

    def __init__(
        self, name: str, command: Sequence[str | Path], *, log: Path, env: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env,
                start_new_session=True,  # Ctrl-C reaches the rehearsal alone, which then stops its children in order
            )  # fmt: skip

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def require_running(self) -> None:
        """Raises RehearsalError with the end of the log where the program has ended."""
        if not self.running:
            tail = self.log.read_text(errors="replace")[-1500:]
            raise RehearsalError(f"{self.name} ended with code {self.process.returncode}; its last words:\n{tail}")

    def stop(self, within_s: float = 10.0) -> None:
        """SIGTERM, and SIGKILL for whoever does not listen."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(within_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait()


class Mosquitto:
    """A real mosquitto on loopback: with `configure`, which writes its configuration for a port, by mutual TLS; else open."""

    def __init__(
        self, folder: Path, *, port: int | None = None, configure: Callable[[Path, int], Path] | None = None
    ) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._configure = configure
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"mqtts://localhost:{self.port}" if self._configure else f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start (or start again, with what was persisted); returns when it listens."""
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
        if program is None:
            raise RehearsalError("mosquitto is not installed: run `make setup`, or `apt-get install mosquitto`")
        self._folder.mkdir(parents=True, exist_ok=True)
        config = (self._configure or self._open)(self._folder, self.port)
        self._child = Child("mosquitto", [program, "-c", config], log=self._folder / "mosquitto.log")
        try:
            wait_until(lambda: listens(self.port) or not self.alive, within_s=10, what="mosquitto listening")
        finally:
            self._child.require_running()
        return self

    @staticmethod
    def _open(folder: Path, port: int) -> Path:
        """Nobody is asked who they are: loopback only."""
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\n"
            "allow_anonymous true\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 5\n"
            "max_inflight_messages 200\nmax_queued_messages 100000\nmessage_size_limit 262144\n"
            f"user {_owner()}\n"
            "log_type error\nlog_type warning\n"
        )
        return config

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        """The running program's process id. Raises RehearsalError where it was never started."""
        if self._child is None:
            raise RehearsalError("mosquitto was not started")
        return self._child.process.pid

    def stop(self) -> None:
        if self._child:
            self._child.stop()

    def kill(self) -> None:
        """SIGKILL: what it had not yet saved is gone."""
        if self._child:
            self._child.kill()


def _owner() -> str:
    """Mosquitto gives up root for this user; it must be able to write where we can."""
    return getpass.getuser()
