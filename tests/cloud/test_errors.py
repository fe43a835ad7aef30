"""What goes wrong is told to people as a page in their language, and to programs as JSON."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.loop import new_loop
from cloud.store.store import Store
from cloud.web.errors import WORDS
from cloud.web.headers import HEADERS
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from rehearsal.processes import wait_until
from tests.cloud.people_kit import person_headers

PERSON = {"Accept": "text/html,application/xhtml+xml", "Accept-Language": "de"}

ALONE = {"Connection": "close"}  # uvicorn hangs up after an error that nobody foresaw


class Broken:
    """A list of trainings that cannot be read, for a reason that nobody foresaw."""

    def latest(self, _number: int) -> NoReturn:
        raise RuntimeError("a secret of the machine room")


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    """Somebody's who is signed in, at a site whose list of trainings is broken."""
    settings = CloudSettings.load(None, {"data": str(tmp_path)})
    loop = replace(new_loop(settings, engine), jobs=Broken())  # type: ignore[arg-type]
    door = listen("127.0.0.1", 0)
    server = WebServer(partial(new_site, Store(engine), settings, loop=loop), door)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving")
    address = f"http://127.0.0.1:{door.getsockname()[1]}"
    with httpx.Client(base_url=address, timeout=20, headers={**person_headers(engine, address), **ALONE}) as client:
        yield client
    server.stop()
    thread.join(10)


@pytest.mark.parametrize(
    ("path", "status", "heading"),
    [
        ("/nothing-here", 404, "Diese Seite gibt es nicht"),
        ("/settings/nowhere", 404, "Diese Seite gibt es nicht"),
        ("/quarantine/forget", 422, "Das ist nicht zu verstehen"),
        ("/doors?text=%00", 422, "Das ist nicht zu verstehen"),
        ("/learning", 500, "Hier ging etwas schief"),
    ],
)
def test_a_person_gets_a_page_and_a_program_does_not(
    client: httpx.Client, path: str, status: int, heading: str
) -> None:
    page = client.get(path, headers=PERSON)
    assert page.status_code == status
    assert f"<h1>{heading}</h1>" in page.text
    assert '<html lang="de">' in page.text
    assert "secret" not in page.text
    assert page.headers.get_list("content-security-policy") == [HEADERS["Content-Security-Policy"]]
    assert page.headers["cache-control"] == "no-store"
    told = client.get(path)
    assert told.status_code == status
    assert "<" not in told.text
    assert "secret" not in told.text


def test_what_is_said_of_an_unknown_name_is_text_and_nothing_else(client: httpx.Client) -> None:
    page = client.get("/settings/%3Cscript%3Ealert(1)%3C%2Fscript%3E", headers=PERSON)
    assert page.status_code == 404
    assert "<script>alert" not in page.text


def test_a_method_that_a_page_does_not_know_says_which_it_does(client: httpx.Client) -> None:
    page = client.put("/nothing-here", headers=PERSON)
    assert page.status_code in (404, 405)
    assert "<h1>" in page.text


def test_every_status_has_something_to_do() -> None:
    assert all(what and advice and what != advice for what, advice in WORDS.values())
