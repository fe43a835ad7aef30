"""A whole system on one machine: a broker, a cloud and doors, each a real process with a folder of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud.fleet.keys import make_keys
from rehearsal.identities import Identities
from rehearsal.processes import Child, Mosquitto, RehearsalError, free_port, wait_until


@dataclass(frozen=True, slots=True)
class Doorway:
    """One door: a clip that is played as if live, and where its threshold lies."""

    name: str
    clip: Path
    line: tuple[float, float, float, float]
    loop: bool = True
    settings: str = ""  # more TOML tables for its settings file


class House:
    """Started piece by piece, stopped in reverse.

    With `cloud_settings` (TOML) the cloud has more than the least; with `found_releases` doors take releases from it.
    """

    def __init__(self, folder: Path, *, port: int = 0, cloud_settings: str = "") -> None:
        self.folder = folder
        self.identities = Identities(folder / "identities")
        self.broker = Mosquitto(folder / "broker", configure=self.identities.configure_broker)
        self.cloud: Child | None = None
        self.doors: dict[str, Child] = {}
        self._others: list[Child] = []
        self._port = port or free_port()
        self._cloud_settings = cloud_settings
        self._root: Path | None = None
        self._reader = ""  # the token that our own questions carry

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def trainer_keys(self) -> Path:
        """Where the key lies that signs releases, once they are founded."""
        return self.folder / "trainer-keys"

    def found_releases(self) -> None:
        """Make the keys of releases and give everybody his own: the safe, the trainer, the cloud, the cards."""
        home = self.folder / "cloud" / "releases"
        make_keys(home, datetime.now(UTC))
        (home / "offline").rename(self.folder / "safe")
        (home / "trainer").rename(self.trainer_keys)
        self._root = self.folder / "root.json"
        shutil.copy(home / "repository" / "metadata" / "root.json", self._root)

    def start_cloud(self) -> None:
        """Start `cloud all` (again); returns when its page answers. Raises RehearsalError."""
        settings = self._settings(
            "cloud",
            f'broker = "{self.broker.url}"\nidentity = "{self.identities.cloud()}"\ndata = "{self.folder / "cloud"}"\n'
            f'host = "127.0.0.1"\nport = {self._port}\n{self._cloud_settings}',
        )
        child = self.cloud = self._child("cloud", "cloud", "all", "--config", settings)

        def answers() -> bool:
            child.require_running()
            try:
                urllib.request.urlopen(f"{self.page}healthz", timeout=30).close()  # noqa: S310 - our own loopback
            except OSError:
                return False
            return True

        wait_until(answers, within_s=60, what=f"the cloud answering at {self.page}")
        self._reader = self._reader or self.token("rehearsal", "read")

    def start_door(self, door: Doorway) -> None:
        """Start one door's agent (again); its outbox is where it was."""
        settings = self._settings(
            door.name,
            f'device = "{door.name}"\n\n[camera]\nsource = "{door.clip}"\nloop = {str(door.loop).lower()}\n\n'
            f"[door]\nline = {list(door.line)}\n\n"
            f'[broker]\nurl = "{self.broker.url}"\nidentity = "{self.identities.door(door.name)}"\nheartbeat_s = 2\n\n'
            f'[outbox]\nfolder = "{self.folder / door.name}"\nclock_wait_s = 0\n\n{self._update(door)}{door.settings}',
        )
        self.doors[door.name] = self._child(f"door {door.name}", "agent", "run", "--config", settings)

    def _update(self, door: Doorway) -> str:
        if self._root is None:
            return ""
        return (
            f'[update]\nurl = "{self.page}tuf"\nroot = "{self._root}"\nfolder = "{self.models(door.name)}"\n'
            "check_s = 2\nconfirm_s = 5\n\n"
        )

    def models(self, door: str) -> Path:
        """The folder of a door's releases."""
        return self.folder / f"{door}-models"

    @property
    def welcome(self) -> str:
        """The one-time link by which the first visitor becomes an admin, as the cloud's log says it."""
        text = self.cloud.log.read_text() if self.cloud else ""
        return next((word for word in reversed(text.split()) if word.startswith(f"{self.page}welcome/")), self.page)

    def token(self, name: str, scope: str = "trainer") -> str:
        """A new token of the cloud's for a machine. Raises RehearsalError."""
        return self._by_hand("token", name, "--scope", scope)

    def _by_hand(self, *words: str) -> str:
        """What `cloud WORDS` prints."""
        command = [sys.executable, "-m", "cloud", *words, "--config", str(self.folder / "cloud.toml")]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RehearsalError(f"cloud {' '.join(words)}: {made.stderr.strip()}")
        return made.stdout.strip()

    def ask(self, path: str) -> Any:
        """What the cloud's API answers to a GET of `/api/v1/PATH`."""
        asked = urllib.request.Request(f"{self.page}api/v1/{path}", headers={"Authorization": f"Bearer {self._reader}"})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own loopback
            return json.load(answer)

    def require_running(self) -> None:
        """Raises RehearsalError with its last words where any process has ended."""
        for child in filter(None, [self.cloud, *self.doors.values()]):
            child.require_running()

    def overview(self) -> list[dict[str, Any]]:
        """What the cloud's API says of every door."""
        doors: list[dict[str, Any]] = self.ask("doors")
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
        for child in self._others:
            child.stop()
        self.stop_doors()
        if self.cloud:
            self.cloud.stop()
        self.broker.stop()

    def start(self, name: str, module: str, *arguments: str | Path) -> Child:
        """One of our programs beside the cloud and the doors; it is stopped with them."""
        self._others.append(self._child(name, module, *arguments))
        return self._others[-1]

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
