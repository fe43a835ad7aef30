"""Runs a site on an already listening socket, in whatever thread, until it is told to stop."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from contract.errors import ContractError
from contract.tls import CERTIFICATE, KEY

BACKLOG = 128
GOODBYE_S = 3


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; raises OSError where the address or the port is not to be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    door = socket.socket(family, kind, protocol)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(BACKLOG)
    except OSError:
        door.close()
        raise
    return door


def check_identity(identity: Path) -> None:
    """Raises ContractError where `identity` has no sound certificate with its key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(identity / CERTIFICATE, identity / KEY, password="")
    except OSError as error:
        raise ContractError(
            f"cannot use {CERTIFICATE} and {KEY} in {identity} ({error.strerror or error}): "
            "make them with `provisioning service web FOLDER --host NAME`"
        ) from error


class WebServer:
    """Uvicorn without its signal handlers; `make_site` gets the event that ends long answers.

    With an `identity` folder it speaks TLS 1.2 or later, and nothing else. `proxies` are believed when they name who asks.
    """

    def __init__(
        self,
        make_site: Callable[[threading.Event], FastAPI],
        door: socket.socket,
        *,
        identity: Path | None = None,
        proxies: Sequence[str] = ("127.0.0.1", "::1"),
    ) -> None:
        self._closing, self._door = threading.Event(), door
        self._server = _Server(
            uvicorn.Config(
                make_site(self._closing),
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=list(proxies),
                lifespan="on",
                timeout_graceful_shutdown=GOODBYE_S,
                ssl_certfile=identity / CERTIFICATE if identity else None,
                ssl_keyfile=identity / KEY if identity else None,
            )
        )

    @property
    def started(self) -> bool:
        return self._server.started

    def run(self) -> None:
        """Serve until `stop`."""
        self._server.run(sockets=[self._door])

    def stop(self) -> None:
        """End the long answers, then the server. Safe in any thread."""
        self._closing.set()
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Uvicorn that hangs up on whoever is still there when the time to say goodbye is over."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0.01)  # in which they are told that they are lost
