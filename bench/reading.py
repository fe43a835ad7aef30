"""What the pages of counts cost the server as a fleet's history grows, and as the fleet does: `python -m bench.reading`."""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import httpx
import numpy as np
from fastapi import FastAPI
from sqlalchemy import Engine

from bench.filling import DAILY, DOORS, NOW, Filled, fill, fill_fleet
from cloud.config import CloudSettings
from cloud.rules import AccountRules
from cloud.store import accounts
from cloud.store.database import migrate, open_database
from cloud.store.store import Store
from cloud.store.writing import mark_change
from cloud.web.cookies import PLAIN
from cloud.web.passwords import Passwords
from cloud.web.people import People, Visit
from cloud.web.roles import Role
from cloud.web.site import new_site
from rehearsal.postgres import Postgres

# Days, and passes a door and day: a hundred thousand of a fleet that is young, a hundred thousand of a quiet one that fills a page
# (a door's looks back eight weeks), ten million.
YOUNG, QUIET, OLD = (4, DAILY), (57, 44), (400, DAILY)
FLEET = 3_000  # doors
HERE = "http://127.0.0.1"
ROUNDS, LEAST_ROUNDS, PAGE_S = 60, 20, 6.0  # of one page in one database: fewer where it is slow


@dataclass(frozen=True, slots=True)
class Page:
    """An address, and whether something changed since it was last asked for: then nothing is remembered of it."""

    name: str
    path: str
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of one page: the server's time, 95th percentile, and the median of its processor's, the database's apart."""

    p95: float
    cpu: float


PAGES = (
    Page("overview, today", "/"),
    Page("overview, today, nothing new", "/", changed=False),
    Page("overview, 28 days", "/?span=28d"),
    Page("door, today and 28 days", "/doors/door-07"),
    Page("doors", "/doors"),
    Page("API: door's compliance today", "/api/v1/compliance?door=door-07"),
)
FLEET_PAGES = (
    Page("doors", "/doors"),
    Page("doors, in trouble, by temperature", "/doors?state=trouble&sort=temperature"),
    Page("overview of a site, today", "/?site=site-07"),
    Page("a door", "/doors/door-00007"),
)


class Reader:
    """Somebody who is signed in, and the whole site in this process: every layer but the socket."""

    def __init__(self, engine: Engine, folder: str) -> None:
        self._engine = engine
        settings = CloudSettings.load(None, {"time_zone": "Europe/Paris", "data": folder})
        self._site: FastAPI = new_site(Store(engine), settings, threading.Event(), clock=lambda: NOW)
        with engine.begin() as connection:
            account = accounts.add_account(connection, NOW, name="Ada", key="ada", role=Role.ADMIN, password=None)
            people = People(engine, AccountRules(), Passwords())
            token = people.begin(connection, account, Visit("127.0.0.1", "bench"), NOW, how="bench")
        self._headers = {"Cookie": f"{PLAIN}={token}", "Accept": "text/html"}

    async def ask(self, page: Page) -> tuple[float, float]:
        """Seconds until the whole answer is there: by the clock, and of this process' processor time."""
        if page.changed:
            with self._engine.begin() as connection:
                mark_change(connection)
        transport = httpx.ASGITransport(self._site)
        async with httpx.AsyncClient(transport=transport, base_url=HERE, headers=self._headers) as client:
            begun, used = time.perf_counter(), time.process_time()
            answer = await client.get(page.path)
            taken = time.perf_counter() - begun, time.process_time() - used
        if answer.status_code != 200:
            raise RuntimeError(f"{page.path} answers {answer.status_code}")
        return taken


def measure(
    readers: Sequence[Reader],
    pages: Sequence[Page] = PAGES,
    *,
    rounds: int = ROUNDS,
    say: Callable[[str], None] = print,
) -> dict[str, list[Cost]]:
    """By page, its cost in each database; asked in turn, so that a busy moment is everybody's."""
    with asyncio.Runner() as runner:
        return {page.name: runner.run(_measure(readers, page, rounds, say)) for page in pages}


async def _measure(readers: Sequence[Reader], page: Page, rounds: int, say: Callable[[str], None]) -> list[Cost]:
    for one in readers:  # reads the labels, and warms what is warm in a running server
        await one.ask(page)
    slowest = max([(await one.ask(page))[0] for one in readers])
    turns = max(min(rounds, LEAST_ROUNDS), min(rounds, int(PAGE_S / slowest)))
    say(f"{page.name}: {turns} times")
    taken = np.array([[await one.ask(page) for one in readers] for _ in range(turns)]) * 1000
    return [
        Cost(float(np.quantile(one[:, 0], 0.95)), float(np.median(one[:, 1]))) for one in taken.transpose(1, 0, 2)
    ]  # fmt: skip


def main() -> int:
    """Print everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench.reading")
    parser.add_argument("--days", type=int, default=OLD[0], help="of the old fleet")
    parser.add_argument("--fleet", type=int, default=FLEET, help="doors")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    options = parser.parse_args()
    for kind in ("sqlite", "postgresql") if options.database == "both" else (options.database,):
        with _databases(kind) as new_engine, tempfile.TemporaryDirectory() as data:
            histories = (YOUNG, QUIET, (options.days, DAILY))
            filled = [fill(new_engine(), days, _say, daily=daily) for days, daily in histories]
            _report_history(kind, filled, measure([Reader(one.engine, data) for one in filled], say=_say))
            large = fill_fleet(new_engine(), options.fleet, _say)
            _report_fleet(options.fleet, measure([Reader(large.engine, data)], FLEET_PAGES, say=_say))
            for one in (*filled, large):
                one.engine.dispose()
    return 0


def _report_history(kind: str, filled: Sequence[Filled], found: dict[str, list[Cost]]) -> None:
    print(f"\n{kind}, {DOORS} doors; p95 of the server's ms, then the median of its CPU ms")
    ages = "".join(f"{f'{one.days} d of {one.daily}':>14}" for one in filled)
    print(f"{'':30}{ages}{'to the first':>14}{'to the second':>14}{'CPU ms':>24}")
    print(f"{'passes':30}" + "".join(f"{one.events:>14,}" for one in filled))
    for name, costs in found.items():
        times = "".join(f"{one.p95:>14.1f}" for one in costs)
        ratios = "".join(f"{costs[-1].p95 / one.p95:>14.2f}" for one in costs[:2])
        print(f"{name:30}{times}{ratios}{'/'.join(f'{one.cpu:.1f}' for one in costs):>24}", flush=True)


def _report_fleet(doors: int, found: dict[str, list[Cost]]) -> None:
    print(f"\n{f'{doors:,} doors':40}{'p95 ms':>10}{'CPU ms':>10}")
    for name, (cost,) in found.items():
        print(f"{name:40}{cost.p95:>10.1f}{cost.cpu:>10.1f}", flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _databases(kind: str) -> Iterator[Callable[[], Engine]]:
    """Where databases with our tables come from."""

    def opened(url: str) -> Engine:
        engine = open_database(url)
        migrate(engine)
        return engine

    if kind == "postgresql":
        cluster = Postgres(shared_buffers="128MB").start()
        try:
            yield lambda: opened(cluster.new_database())
        finally:
            cluster.stop(remove=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        names = count()
        yield lambda: opened(f"sqlite:///{folder}/{next(names)}.sqlite")


if __name__ == "__main__":
    sys.exit(main())
