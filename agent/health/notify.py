"""Word to systemd: ready, alive, and one line for `systemctl status`."""

import os
import socket
from collections.abc import MutableMapping
from typing import Self

TELL_S = 1.0  # the least time between two pings


class Notifier:
    """Datagrams to the socket that the service manager named; without one, silence (sd_notify(3))."""

    def __init__(self, address: str = "") -> None:
        """`address` is a path, or `@name` for an abstract socket."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._said = ""
        self._pinged_s = float("-inf")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket:
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """The manager's socket, taken out of `environment` so that no child speaks in our name."""
        address = environment.pop("NOTIFY_SOCKET", "")
        return cls(address if address[:1] in ("/", "@") else "")

    def ready(self) -> None:
        """The start is over."""
        self._send("READY=1")

    def alive(self, now_s: float) -> None:
        """The whole pipeline moves; at most once a second."""
        if now_s - self._pinged_s >= TELL_S:
            self._pinged_s = now_s
            self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """One plain line, sent when it changes."""
        line = " ".join(line.split())
        if line != self._said:
            self._said = line
            self._send(f"STATUS={line}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket:
            self._socket.close()

    def _send(self, text: str) -> None:
        if self._socket:
            try:
                self._socket.sendto(text.encode(), self._address)
            except OSError:  # the manager is gone or busy: a word lost is better than a door that waits for it
                return
