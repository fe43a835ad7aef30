"""Guessing passwords at the real site: from one address and from many, forged and at once; refused alike, and slower each time."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from math import log2
from pathlib import Path
from statistics import median

import httpx
import pytest
from sqlalchemy import Engine

from cloud.store import accounts as store
from cloud.store.database import migrate, open_database
from cloud.web.names import name_key
from cloud.web.passwords import Passwords
from cloud.web.roles import Role
from cloud.web.throttle import ADDRESS, NAME, PAIR
from rehearsal.processes import wait_until
from tests.cloud.people_kit import PASSWORD
from tests.fuzz.conftest import MORE, running
from tests.fuzz.hostile import TEXTS

TRIES = int(60 * MORE)
REFUSED, WAIT, IN = 403, 429, 303


class Guesser:
    """Somebody at an address of this machine's own network, all of which is loopback."""

    def __init__(self, site: str, address: str = "127.0.0.1", **headers: str) -> None:
        transport = httpx.HTTPTransport(local_address=address, verify=False)
        self._client = httpx.Client(base_url=site, transport=transport, timeout=30, headers={"Origin": site, **headers})

    def tries(self, name: str = "Ada", password: str = "wrong", **headers: str) -> httpx.Response:
        with self._client as client:
            return client.post("/sign-in", data={"name": name, "password": password}, headers=headers)


@contextmanager
def opened(engine: Engine, folder: Path, proxies: Sequence[str] = ()) -> Iterator[str]:
    """A site with Ada, whose password is kept as people's are."""
    with engine.begin() as connection:
        kept = Passwords().hash(PASSWORD)
        store.add_account(
            connection, datetime.now(UTC), name="Ada", key=name_key("Ada"), role=Role.ADMIN, password=kept
        )
    with running(engine, folder, proxies) as where:
        yield where


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """SQLite, where a test asks for no other."""
    which = getattr(request, "param", "sqlite")
    url = (
        f"sqlite:///{tmp_path / 'test.sqlite'}"
        if which == "sqlite"
        else request.getfixturevalue("postgres").new_database()
    )
    known = open_database(url)
    migrate(known)
    yield known
    known.dispose()


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[str]:
    with opened(engine, tmp_path) as where:
        yield where


@pytest.fixture
def behind_a_proxy(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """The proxy is this machine, as by default."""
    with opened(engine, tmp_path, ("127.0.0.1",)) as where:
        yield where


def at_once(number: int, one: Callable[[int], httpx.Response]) -> tuple[Counter[int], float]:
    """How so many tries, eight at a time, were answered, and how long that took in s."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(number)))
    for answer in answers:
        assert answer.status_code != WAIT or int(answer.headers["retry-after"]) >= 1
    return Counter(answer.status_code for answer in answers), time.perf_counter() - begun


def looked_at(free: int, took_s: float) -> int:
    """The most tries whose password is compared meanwhile: the free ones, then after 1 s, 2 s, 4 s, ..."""
    return free + 1 + int(log2(1 + took_s))


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_many_guesses_at_one_name_from_one_address_are_soon_not_even_looked_at(site: str) -> None:
    found, took_s = at_once(TRIES, lambda number: Guesser(site).tries(password=f"guess {number}"))
    assert set(found) == {REFUSED, WAIT}
    assert PAIR.free <= found[REFUSED] <= looked_at(PAIR.free, took_s)
    for _ in range(2):  # and each that is looked at makes the next wait twice as long: 4 s at least by now
        wait_until(lambda: Guesser(site).tries().status_code == REFUSED, within_s=60, what="a guess being looked at")
    assert Guesser(site).tries(password=PASSWORD).status_code == WAIT  # right, but nobody looks
    assert Guesser(site, "127.0.0.2").tries(password=PASSWORD).status_code == IN


def test_a_header_does_not_make_another_address_of_a_guesser(site: str) -> None:
    def forged(number: int) -> httpx.Response:
        other = f"198.51.100.{number % 250}"
        names = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP")
        return Guesser(site, **dict.fromkeys(names, other)).tries(password=f"guess {number}")

    found, took_s = at_once(TRIES, forged)
    assert set(found) == {REFUSED, WAIT}
    assert found[REFUSED] <= looked_at(PAIR.free, took_s)


def test_behind_a_proxy_the_address_that_the_proxy_saw_counts_and_not_what_the_guesser_wrote(
    behind_a_proxy: str,
) -> None:
    def through(seen: str, written: str, password: str = "wrong") -> httpx.Response:
        chain = {"X-Forwarded-For": f"{written}, {seen}", "X-Forwarded-Proto": "https"}
        https = behind_a_proxy.replace("http://", "https://")
        return Guesser(behind_a_proxy, **chain).tries(password=password, Origin=https)

    found, took_s = at_once(TRIES, lambda number: through("203.0.113.7", f"198.51.100.{number % 250}"))
    assert set(found) == {REFUSED, WAIT}
    assert found[REFUSED] <= looked_at(PAIR.free, took_s)
    assert through("203.0.113.8", "203.0.113.7", PASSWORD).status_code == IN


def test_a_guesser_with_many_addresses_is_slowed_by_the_name_and_its_owner_is_not(site: str) -> None:
    assert Guesser(site, "127.0.9.9").tries(password=PASSWORD).status_code == IN
    found, took_s = at_once(TRIES, lambda number: Guesser(site, f"127.0.1.{number % 250 + 1}").tries())
    assert set(found) == {REFUSED, WAIT}
    assert found[REFUSED] <= looked_at(NAME.free, took_s)
    assert Guesser(site, "127.0.9.9").tries(password=PASSWORD).status_code == IN  # where it went well before
    new_place = Guesser(site, "127.0.8.8").tries(password=PASSWORD)
    assert new_place.status_code in (IN, WAIT)
    assert int(new_place.headers.get("retry-after", 0)) <= NAME.most_s


def test_a_guesser_of_many_names_is_slowed_by_its_address(site: str) -> None:
    found, took_s = at_once(TRIES, lambda number: Guesser(site).tries(f"person-{number}"))
    assert set(found) == {REFUSED, WAIT}
    assert found[REFUSED] <= looked_at(ADDRESS.free, took_s)
    assert Guesser(site, "127.0.0.2").tries(password=PASSWORD).status_code == IN


def test_nobody_learns_from_an_answer_or_its_time_whether_a_name_is_known(site: str) -> None:
    took: dict[str, list[float]] = {"Ada": [], "Bob": []}
    said: dict[str, set[tuple[int, str]]] = {"Ada": set(), "Bob": set()}
    names_of_headers = set()
    Guesser(site, "127.0.7.1").tries("Eve")  # what is made once is made now
    for number in range(9):
        for name in took:
            begun = time.perf_counter()
            answer = Guesser(site, f"127.0.2.{number + 1}").tries(name)
            took[name].append(time.perf_counter() - begun)
            said[name].add((answer.status_code, re.sub(rf"\b{name}\b", "NAME", answer.text)))
            names_of_headers.add(tuple(sorted(set(answer.headers) - {"set-cookie"})))
    assert said["Ada"] == said["Bob"]
    assert {status for status, _ in said["Ada"]} == {REFUSED}
    assert len(names_of_headers) == 1
    assert 0.25 < median(took["Bob"]) / median(took["Ada"]) < 4, took  # a name that is not looked at takes a tenth


def test_throttled_answers_are_the_same_for_known_and_unknown_names(site: str) -> None:
    for name in ("Ada", "Bob"):
        found, took_s = at_once(12, lambda _, name=name: Guesser(site, "127.0.3.1").tries(name))  # type: ignore[misc]
        assert set(found) == {REFUSED, WAIT}
        assert PAIR.free <= found[REFUSED] <= looked_at(PAIR.free, took_s)


def test_hostile_names_and_passwords_are_refused_like_any_other(site: str) -> None:
    for number, hostile in enumerate(one for one in TEXTS if "\ud800" not in one and "\udfff" not in one):
        answer = Guesser(site, f"127.0.4.{number + 1}").tries(hostile, hostile)
        assert 400 <= answer.status_code < 500, hostile
        assert "<script>alert" not in answer.text
