"""A site that is told to stop leaves nothing open, whatever the other side of a connection is doing."""

import socket
import threading
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from cloud.web.server import WebServer, listen
from rehearsal.processes import wait_until

ASKED = {
    "nothing said": b"",
    "half a request": b"POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n1",
    "an answer that nobody reads": b"GET /flood HTTP/1.1\r\nHost: here\r\n\r\n",
}


def site(_closing: threading.Event) -> FastAPI:
    made = FastAPI()

    @made.post("/read")
    async def read(request: Request) -> int:
        return len(await request.body())

    @made.get("/flood")
    async def flood() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65_536

        return StreamingResponse(parts())

    return made


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_no_connection_outlives_the_server(asked: bytes) -> None:
    door = listen("127.0.0.1", 0)
    server = WebServer(site, door)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving")
    with socket.create_connection(door.getsockname(), timeout=10) as line:
        line.sendall(asked)
        threading.Event().wait(0.3)
        server.stop()
        thread.join(20)
        assert not thread.is_alive()
        assert hung_up(line)


def hung_up(line: socket.socket) -> bool:
    line.settimeout(2)
    try:
        while line.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True
