"""Who may say that a request came by https, and from whom: the proxies that the settings name, and nobody else."""

import threading

import httpx
import pytest
from fastapi import FastAPI, Request

from cloud.config import CloudSettings
from cloud.web.server import WebServer, listen
from contract.errors import ContractError
from rehearsal.processes import wait_until


def echo(_closing: threading.Event) -> FastAPI:
    site = FastAPI()

    @site.get("/")
    def who(request: Request) -> tuple[str, str]:
        return request.url.scheme, request.client.host if request.client else ""

    return site


@pytest.mark.parametrize(
    ("proxies", "told"),
    [
        (("127.0.0.1", "::1"), ["https", "203.0.113.9"]),
        (("127.0.0.0/8",), ["https", "203.0.113.9"]),
        (("10.0.0.0/8",), ["http", "127.0.0.1"]),
        ((), ["http", "127.0.0.1"]),
    ],
)
def test_only_a_proxy_that_is_named_is_believed(proxies: tuple[str, ...], told: list[str]) -> None:
    door = listen("127.0.0.1", 0)
    server = WebServer(echo, door, proxies=proxies)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    assert httpx.get(f"http://127.0.0.1:{door.getsockname()[1]}/", headers=headers).json() == told
    server.stop()
    thread.join(10)


@pytest.mark.parametrize("wrong", ["*", "proxy.example.org", "10.0.0.0/33", ""])
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(ContractError, match="no address and no network"):
        CloudSettings.load(None, {"proxies": [wrong]})
