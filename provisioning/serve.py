"""Enrolment over HTTPS: the rules of `provisioning.enrol` behind one address, for as long as it runs."""

import math
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from contract.errors import ContractError, TryAgainError
from contract.tls import CERTIFICATE, KEY
from provisioning.brake import Brake
from provisioning.ca import certificate_text
from provisioning.enrol import enrol
from provisioning.exchange import EXCHANGE_LIMIT, PATH, Granted, Question, Refused
from provisioning.office import open_office

AT_ONCE = 32  # connections
GOODBYE_S = 3
IDLE_S = 5


class Desk:
    """Takes questions one at a time: the CA's registry belongs to one thread, and a guesser gains nothing by many."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._folder, self._clock = folder, clock
        self._brake, self._alone = Brake(), threading.Lock()

    def answer(self, address: str, content: bytes) -> Response:
        """The certificate, or why not; an address that was refused too often is not even looked at."""
        with self._alone:
            now = self._clock()
            pause = self._brake.pause(address, now).total_seconds()
            if pause > 0:
                wait = math.ceil(pause)
                return _refuse(429, f"too many refusals: try again in {wait} s", {"Retry-After": str(wait)})
            try:
                question = Question.decode(content, limit=EXCHANGE_LIMIT)
                with open_office(self._folder) as office:
                    certificate = enrol(office, question.token, question.csr.encode(), now=now)
            except ContractError as error:
                self._brake.refused(address, now)
                return _refuse(403, str(error))
            except TryAgainError as error:
                return _refuse(503, str(error), {"Retry-After": "5"})
            granted = Granted(certificate=certificate_text(certificate).decode())
            return Response(granted.encode(), media_type="application/json")


def new_enrolment(folder: Path, clock: Callable[[], datetime]) -> FastAPI:
    """The application over the CA in `folder`: `POST /enrol`, and nothing else."""
    desk = Desk(folder, clock)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post(PATH)
    async def exchange(request: Request) -> Response:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > EXCHANGE_LIMIT:
                return _refuse(413, f"at most {EXCHANGE_LIMIT} bytes are allowed here")
        address = request.client.host if request.client else ""
        return await run_in_threadpool(desk.answer, address, bytes(content))

    return app


class EnrolmentServer:
    """Speaks TLS with the identity that `provisioning service web` made."""

    def __init__(self, app: FastAPI, door: socket.socket, identity: Path) -> None:
        """Raises ContractError where the identity cannot be used."""
        certificate, key = identity / CERTIFICATE, identity / KEY
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        except OSError as error:
            raise ContractError(
                f"cannot use {CERTIFICATE} and {KEY} in {identity} ({error.strerror or error}): "
                "make them with `provisioning service web FOLDER --host NAME`"
            ) from error
        self._door = door
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off",
                limit_concurrency=AT_ONCE, timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=GOODBYE_S,
                ssl_certfile=certificate, ssl_keyfile=key,
            )
        )  # fmt: skip

    @property
    def started(self) -> bool:
        return self._server.started

    def run(self) -> None:
        """Serve until `stop`; in the main thread, until SIGTERM or Ctrl-C as well."""
        self._server.run(sockets=[self._door])

    def stop(self) -> None:
        """Safe in any thread."""
        self._server.should_exit = True


def serve(folder: Path, identity: Path, host: str, port: int, clock: Callable[[], datetime]) -> None:
    """Serve the CA in `folder` until a signal comes. Raises ContractError, or TryAgainError where the port is taken."""
    with open_office(folder):
        pass  # a CA that cannot be opened is better said now than to the first device
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        door = socket.create_server((host, port), family=family)
    except OSError as error:
        raise TryAgainError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from error
    with door:
        server = EnrolmentServer(new_enrolment(folder, clock), door, identity)
        print(f"devices enrol by TLS on port {door.getsockname()[1]}; stop with Ctrl-C", flush=True)
        try:
            server.run()
        except KeyboardInterrupt:
            return


def _refuse(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return Response(Refused(detail=why[:2000]).encode(), status, headers, "application/json")
