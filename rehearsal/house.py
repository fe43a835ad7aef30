"""A whole system on one machine: a broker, a cloud and doors, each a real process with a folder of its own."""

import json
import os
import signal
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.identities import Identities
from rehearsal.processes import Child, Mosquitto, free_port, wait_until


@dataclass(frozen=True, slots=True)
class Doorway:
    """One door: a clip that is played as if live, and where its threshold lies."""

    name: str
    clip: Path
    line: tuple[float, float, float, float]
    loop: bool = True
    settings: str = ""  # more TOML tables for its settings file


class House:
    """Started piece by piece, stopped in reverse."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        self.identities = Identities(folder / "identities")
        self.broker = Mosquitto(folder / "broker", configure=self.identities.configure_broker)
        self.cloud: Child | None = None
        self.doors: dict[str, Child] = {}
        self._port = port or free_port()

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start_cloud(self) -> None:
        """Start `cloud all` (again); returns when its page answers. Raises RehearsalError."""
        settings = self._settings(
            "cloud",
            f'broker = "{self.broker.url}"\nidentity = "{self.identities.cloud()}"\ndata = "{self.folder / "cloud"}"\nhost = "127.0.0.1"\nport = {self._port}\n',
        )
        child = self.cloud = self._child("cloud", "cloud", "all", "--config", settings)

        def answers() -> bool:
            child.require_running()
            try:
                self.overview()
            except OSError:
                return False
            return True

        wait_until(answers, within_s=60, what=f"the cloud answering at {self.page}")

    def start_door(self, door: Doorway) -> None:
        """Start one door's agent (again); its outbox is where it was."""
        settings = self._settings(
            door.name,
            f'device = "{door.name}"\n\n[camera]\nsource = "{door.clip}"\nloop = {str(door.loop).lower()}\n\n'
            f"[door]\nline = {list(door.line)}\n\n"
            f'[broker]\nurl = "{self.broker.url}"\nidentity = "{self.identities.door(door.name)}"\nheartbeat_s = 2\n\n'
            f'[outbox]\nfolder = "{self.folder / door.name}"\n\n{door.settings}',
        )
        self.doors[door.name] = self._child(f"door {door.name}", "agent", "run", "--config", settings)

    def require_running(self) -> None:
        """Raises RehearsalError with its last words where any process has ended."""
        for child in filter(None, [self.cloud, *self.doors.values()]):
            child.require_running()

    def overview(self) -> list[dict[str, Any]]:
        """What the cloud's API says of every door."""
        with urllib.request.urlopen(f"{self.page}api/v1/doors", timeout=10) as answer:  # noqa: S310 - our own loopback
            doors: list[dict[str, Any]] = json.load(answer)
            return doors

    def wait_online(self, *, within_s: float = 60) -> None:
        """Return when every started door has reported to the cloud. Raises RehearsalError."""

        def online() -> bool:
            self.require_running()
            return {door["name"] for door in self.overview() if door["state"] == "online"} >= set(self.doors)

        wait_until(online, within_s=within_s, what="every door reporting to the cloud")

    def stop_doors(self) -> None:
        """Let every agent finish: its last passes are delivered before it ends."""
        for child in self.doors.values():
            if child.running:
                child.process.send_signal(signal.SIGTERM)
        for child in self.doors.values():
            child.stop(within_s=15)

    def stop(self) -> None:
        """Stop all that still runs."""
        self.stop_doors()
        if self.cloud:
            self.cloud.stop()
        self.broker.stop()

    def _child(self, name: str, module: str, *arguments: str | Path) -> Child:
        # One arithmetic thread each: several doors share this machine's cores.
        env = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"}
        log = self.folder / "logs" / f"{name.replace(' ', '-')}.log"
        return Child(name, [sys.executable, "-m", module, *arguments], log=log, env=env)

    def _settings(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
