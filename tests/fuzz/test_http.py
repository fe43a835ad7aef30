"""What no browser sends: path tricks, odd hosts, broken lengths, slow and huge bodies; answered by 4xx or hung up on."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import Engine

from cloud.store.database import migrate, open_database
from cloud.web.access import ROUTES
from tests.cloud.people_kit import person_headers
from tests.fuzz.conftest import served

HUGE = 10 * 1024 * 1024
UPWARDS = (
    "..",
    "%2e%2e",
    "%2e%2e%2f%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%5c..%5c",
    "%00",
    "a%00.js",
    "%c0%ae%c0%ae",
    "//etc/passwd",
    "x" * 5_000,
)
PREFIXES = (
    "/static/",
    "/tuf/metadata/",
    "/tuf/targets/releases/1/",
    "/tuf/targets/releases/",
    "/api/v1/crops/",
    "/api/v1/snapshots/",
    "/api/v1/counts.",
    "/settings/",
    "/welcome/",
)
BROKEN = {
    "a negative length": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "no number as length": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "two lengths": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a broken chunk": b"POST /sign-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "an endless query": b"GET /?" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no such version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
    "bytes": bytes(range(256)) * 20 + b"\r\n\r\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite, once for all of these: nothing here is about the database."""
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('http') / 'test.sqlite'}")
    migrate(opened)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def address(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(engine, tmp_path_factory.mktemp("site")) as where:
        yield where


def raw(address: str, data: bytes) -> bytes:
    """The beginning of the answer; empty where it hung up."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as line:
        try:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            return line.recv(4096)
        except OSError:  # it hung up before all was said
            return b""


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_request_is_refused_and_the_next_one_is_served(address: str, what: str) -> None:
    answer = raw(address, BROKEN[what])
    status = int(answer[9:12]) if answer.startswith(b"HTTP/") else 400
    assert status < 500
    assert httpx.get(f"{address}/healthz").status_code == 200


def test_no_path_leads_out_of_its_folder(address: str, engine: Engine) -> None:
    headers = {"Cookie": person_headers(engine, address)["Cookie"]}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    for prefix in PREFIXES:
        for trick in UPWARDS:
            answer = raw(
                address, f"GET {prefix}{trick} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n".encode()
            )
            status = int(answer[9:12]) if answer.startswith(b"HTTP/") else 400
            assert 300 <= status < 500, (prefix, trick, status)
            assert b"root:" not in answer


@pytest.mark.parametrize("number", ["9" * 30, "9" * 300, "9" * 5_000, "-1", "1e3", "0x1", "\u0661"])
def test_a_release_of_any_number_is_not_found(address: str, number: str) -> None:
    answer = httpx.get(f"{address}/tuf/targets/releases/{number}/{'a' * 64}.manifest.json")
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "ranges", ["bytes=", "bytes=9-1", "bytes=-0", "bytes=a-b", "x" * 3_000, "bytes=99999999999999999999-", "bytes=" + "0-1," * 3_000, "lines=1-2"]
)  # fmt: skip
def test_an_odd_range_is_refused_or_ignored(address: str, ranges: str) -> None:
    answer = httpx.get(f"{address}/static/page.css", headers={"Range": ranges})
    assert answer.status_code in (200, 206, 400, 416)
    assert len(answer.content) < 200_000


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "HEAD", "<SCRIPT>"])
def test_a_wrong_method_is_refused(address: str, method: str) -> None:
    try:
        answer = httpx.request(method, f"{address}/sign-in")
    except httpx.LocalProtocolError:
        return
    assert 400 <= answer.status_code < 500


def test_another_hosts_name_opens_nothing(address: str, engine: Engine) -> None:
    """It appears in no answer, and a change with it is refused."""
    headers = person_headers(engine, address)
    for host in ("evil.example", "evil.example:80@x", "[::1]", "a" * 3_000):
        answer = httpx.post(
            f"{address}/users/invite", headers={**headers, "Host": host}, data={"name": "Eve", "role": "admin"}
        )
        assert 400 <= answer.status_code < 500
        assert "evil.example" not in answer.text


def test_a_huge_body_is_refused_by_every_route(address: str, engine: Engine) -> None:
    headers = person_headers(engine, address) | {"Content-Type": "application/json"}
    tried = 0
    with httpx.Client(base_url=address, timeout=30, headers=headers) as client:
        for line in ROUTES:
            method, _, path = line.partition(" ")
            if (
                method == "GET"
                or path == "/sign-out"
                or "{" in path.replace("{slug}", "").replace("{device}", "").replace("{verb}", "")
            ):
                continue
            path = path.format(slug="a-site", device="front", verb="pause")
            try:
                answer = client.request(method, path, content=b'{"name":"' + b"x" * HUGE + b'"}')
            except httpx.TransportError:
                continue  # it hung up before it had read all of it
            tried += 1
            assert 300 <= answer.status_code < 500, line
            if path.startswith("/api/v1/sites") and method == "PUT":
                assert answer.status_code == 413
    assert tried > 5
    assert httpx.get(f"{address}/healthz").status_code == 200


def test_slow_bodies_keep_nobody_else_waiting(address: str) -> None:
    parts = urlsplit(address)
    head = f"POST /sign-in HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 500\r\n\r\nname=a"
    lines = [socket.create_connection((parts.hostname, parts.port), timeout=10) for _ in range(100)]
    try:
        for line in lines:
            line.sendall(head.encode())
        assert all(httpx.get(f"{address}/healthz", timeout=5).status_code == 200 for _ in range(10))
    finally:
        for line in lines:
            line.close()
