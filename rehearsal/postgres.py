"""A private PostgreSQL cluster for rehearsals, from Debian's binaries, in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

from rehearsal.processes import RehearsalError, wait_until

PLACES = ("/usr/lib/postgresql", "/opt/homebrew/opt/postgresql", "/usr/local/opt/postgresql")
SETTINGS = {"fsync": "off", "listen_addresses": "''", "max_connections": "40", "shared_buffers": "16MB"}


def postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl, the newest version's; None where PostgreSQL is not installed."""
    found = [path.parent for place in PLACES for path in Path(place).glob("**/bin/initdb")]
    on_path = shutil.which("initdb")
    return max(found, key=lambda path: path.parent.name) if found else Path(on_path).parent if on_path else None


class Postgres:
    """A cluster that only a Unix socket in its own folder leads to, without passwords; gone after `stop(remove=True)`."""

    def __init__(self, **settings: str) -> None:
        """`settings` go over those that make a rehearsal quick."""
        self._settings = SETTINGS | settings
        programs = postgres_programs()
        if programs is None:
            raise RehearsalError("PostgreSQL is not installed: `apt-get install postgresql`")
        self._programs = programs
        self._owner = _owner()
        self._folder = Path(tempfile.mkdtemp(prefix="mf-pg-", dir="/tmp"))  # short, as socket paths must be
        if self._owner:
            shutil.chown(self._folder, self._owner)

    def start(self) -> Self:
        """Start (or start again, with what it holds); returns when it accepts connections."""
        cluster = self._folder / "cluster"
        if not cluster.exists():
            self._run("initdb", "-D", cluster, "-U", "maskfleet", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = " ".join(f"-c {key}={value}" for key, value in self._settings.items())
        self._run(
            "pg_ctl", "-D", cluster, "-l", self._folder / "log", "-w", "-t", "30",
            "-o", f"{options} -k {self._folder}", "start",
        )  # fmt: skip
        return self

    def new_database(self) -> str:
        """The SQLAlchemy URL of a fresh, empty database."""
        name = f"t{uuid4().hex[:12]}"
        self._run("createdb", "-h", self._folder, "-U", "maskfleet", name)
        return f"postgresql+psycopg://maskfleet@/{name}?host={self._folder}"

    @property
    def pid(self) -> int:
        """The server's first process, the parent of all others."""
        return int((self._folder / "cluster" / "postmaster.pid").read_text().split()[0])

    def stop(self, *, remove: bool = False) -> None:
        """Stop at once, connections or not; `remove` takes the folder away too."""
        self._run("pg_ctl", "-D", self._folder / "cluster", "-m", "immediate", "-w", "stop", check=False)
        if remove:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL to all its processes; it comes back by replaying its log."""
        first = self.pid
        os.kill(first, signal.SIGSTOP)  # it would start new children for dead ones
        children = [int(one) for one in Path(f"/proc/{first}/task/{first}/children").read_text().split()]
        for one in (*children, first):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        wait_until(  # a dead first process that nobody has waited for yet still looks like a running server
            lambda: not any(Path(f"/proc/{one}").exists() for one in (*children, first)),
            within_s=10,
            what="the death of PostgreSQL",
        )

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> None:
        with (self._folder / f"{program}.out").open("w+") as output:  # a pipe would stay open in the server
            answer = subprocess.run(
                [str(self._programs / program), *map(str, arguments)],
                cwd=self._folder, user=self._owner, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
            )  # fmt: skip
            output.seek(0)
            words = output.read()[-500:]
        if check and answer.returncode:
            raise RehearsalError(f"{program} ended with code {answer.returncode}: {words}")


def _owner() -> str | None:
    """PostgreSQL refuses to run as root: a user who is not, where we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RehearsalError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
