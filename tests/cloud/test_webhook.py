"""Webhooks against real little servers: signed, never redirected, never to an address that was not meant."""

import hmac
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cloud.fleet.webhook import SIGNATURE, NotDeliveredError, Webhook, read_secret
from contract.errors import ContractError

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECRET = b"0123456789abcdef"
TLS = ssl.create_default_context()


class Listener:
    """A little HTTP server that remembers what it was sent, and answers as told."""

    def __init__(self, status: int = 204, location: str = "") -> None:
        self.status, self.location = status, location
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.heard.append((self.path, dict(self.headers), body))
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?room=1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def send(url: str, *, private: bool = False, whole_s: float = 15.0) -> None:
    Webhook(SECRET, private=private, tls=TLS, whole_s=whole_s).send(url, b'{"a": 1}', "message-1", NOW)


def test_a_message_is_signed_over_its_time_and_body(listener: Listener) -> None:
    send(listener.url)
    ((path, headers, body),) = listener.heard
    assert (path, body, headers["X-Maskfleet-Delivery"]) == ("/hook?room=1", b'{"a": 1}', "message-1")
    at, mark = (part.split("=")[1] for part in headers[SIGNATURE].split(","))
    assert int(at) == int(NOW.timestamp())
    assert hmac.compare_digest(mark, hmac.new(SECRET, f"{at}.".encode() + body, sha256).hexdigest())


@pytest.mark.parametrize("status", [301, 307, 400, 410, 500])
def test_any_answer_but_a_good_one_is_not_delivered_and_a_redirect_is_not_followed(
    listener: Listener, status: int
) -> None:
    other = Listener()
    listener.status, listener.location = status, other.url
    with pytest.raises(NotDeliveredError, match=f"answers {status}"):
        send(listener.url)
    assert other.heard == []
    other.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.2/",
        "https://10.0.0.1/",
        "https://192.168.1.1:8443/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1%lo]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://100.64.0.1/",
    ],
)
def test_a_message_does_not_go_to_addresses_that_were_not_meant(url: str) -> None:
    with pytest.raises(NotDeliveredError, match=r"may not go to|no such name"):
        send(url)


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/", "https://224.0.0.1/", "https://127.0.0.2/", "https://0.0.0.0/"]
)
def test_some_addresses_are_never_meant(url: str) -> None:
    with pytest.raises(NotDeliveredError, match="may not go to"):
        send(url, private=True)


def test_a_name_that_leads_here_is_refused_unless_it_says_so() -> None:
    with pytest.raises(NotDeliveredError, match="may not go to"):
        send(f"https://{socket.gethostname()}/") if _leads_here() else send("https://127.0.0.9/")


def _leads_here() -> bool:
    try:
        return socket.gethostbyname(socket.gethostname()).startswith("127.")
    except OSError:
        return False


@contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that takes one connection and does as it likes."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with door:
            line, _ = door.accept()
            with line:
                try:
                    talk(line)
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{door.getsockname()[1]}/"
    thread.join()


def _drip(line: socket.socket) -> None:
    for _ in range(100):
        line.sendall(b"H")
        time.sleep(0.1)


def _rubbish(line: socket.socket) -> None:
    line.recv(4096)
    line.sendall(b"SSH-2.0-OpenSSH\r\n")


@pytest.mark.parametrize(
    "talk", [_drip, _rubbish, lambda line: line.close()], ids=["drips", "speaks nonsense", "hangs up"]
)
def test_a_server_that_misbehaves_holds_nobody_up(talk: Callable[[socket.socket], None]) -> None:
    begun = time.monotonic()
    with talking(talk) as url, pytest.raises(NotDeliveredError):
        send(url, whole_s=0.5)
    assert time.monotonic() - begun < 8


def test_nobody_there_is_said_in_words() -> None:
    with pytest.raises(NotDeliveredError, match="refused"):
        send("http://127.0.0.1:1/secret-path")
    with pytest.raises(NotDeliveredError) as caught:
        send("http://127.0.0.1:1/secret-path")
    assert "secret-path" not in str(caught.value)


def test_a_secret_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(ContractError, match="needs 16"):
        read_secret(tmp_path / "short")
    with pytest.raises(ContractError, match="cannot read"):
        read_secret(tmp_path / "none")
    (tmp_path / "good").write_bytes(SECRET + b"\n")
    assert read_secret(tmp_path / "good") == SECRET
