"""Word to systemd, heard by a real datagram socket."""

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from agent.health.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and what NOTIFY_SOCKET says of it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@maskfleet-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + name[1:] if name.startswith("@") else name)
        heard.settimeout(2)
        yield heard, name


def test_the_manager_hears_ready_alive_status_and_stopping(manager: tuple[socket.socket, str]) -> None:
    heard, name = manager
    environment = {"NOTIFY_SOCKET": name, "PATH": "/bin"}
    notifier = Notifier.from_environment(environment)
    assert environment == {"PATH": "/bin"}
    notifier.ready()
    for now in (0.0, 0.3, 0.9, 1.0):
        notifier.alive(now)
    notifier.status("14.8 frames a second\n3 letters wait")
    notifier.status("14.8 frames a second 3 letters wait")
    notifier.stopping()
    notifier.close()
    said = [heard.recv(4096).decode() for _ in range(5)]
    assert said == [
        "READY=1", "WATCHDOG=1", "WATCHDOG=1", "STATUS=14.8 frames a second 3 letters wait", "STOPPING=1"
    ]  # fmt: skip


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "vsock:1"}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_manager_nothing_is_said_and_nothing_breaks(environment: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environment)
    notifier.ready()
    notifier.alive(1.0)
    notifier.close()
