"""The health of the whole fleet on one page, and as CSV."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy import Engine

from cloud.counts.export import plain
from cloud.counts.periods import HOUR, day_start
from cloud.counts.trust import Observed
from cloud.fleet.care import Filter, Lines, Patient, Sort, Wish, chosen, needs, page_of, summary
from cloud.store.care import SiteName, asked_releases, site_names
from cloud.store.passes import observed_by_door
from cloud.store.store import Device, Store
from cloud.store.vitals import Vitals, read_vitals
from cloud.web.advice import ADVICE
from cloud.web.asking import note
from cloud.web.pages import Pages
from contract.events import Accelerator
from contract.health import Board

WEEK = timedelta(days=7)
Text = Annotated[str, Query(max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")]
COLUMNS = (
    "door", "title", "site", "state", "since", "last_seen", "release", "asked_release", "accelerator", "fps",
    "temperature_c", "under_voltage", "throttled", "disk_free_bytes", "coverage_today", "coverage_7_days", "waiting",
    "missing", "lost", "drift", "clock_synchronised", "trouble", "in_its_own_words",
)  # fmt: skip


class Ward:
    """Every door's health at one moment; a handful of queries, however many doors there are."""

    def __init__(self, store: Store, *, zone: ZoneInfo, silent_after: timedelta, lines: Lines) -> None:
        self._store, self._zone, self._silent_after, self.lines = store, zone, silent_after, lines

    @property
    def engine(self) -> Engine:
        """The database."""
        return self._store.engine

    def sites(self) -> tuple[SiteName, ...]:
        """All sites, by name."""
        with self.engine.connect() as connection:
            return site_names(connection)

    def doors(self, now: datetime) -> list[Patient]:
        """All doors, by name."""
        midnight = day_start(now, self._zone)
        with self.engine.connect() as connection:
            vitals, asked = read_vitals(connection), asked_releases(connection)
            called = {one.slug: one.name for one in site_names(connection)}
            today = observed_by_door(connection, midnight, now + HOUR)
            before = observed_by_door(connection, now - WEEK, midnight)
        nothing = Observed()
        return [
            self._patient(
                one, now, vitals.get(one.name), asked.get(one.name), called.get(one.site or "", ""),
                today.get(one.name, nothing), before.get(one.name, nothing),
            )
            for one in self._store.devices()
        ]  # fmt: skip

    def _patient(
        self, one: Device, now: datetime, vitals: Vitals | None, asked: int | None, site_name: str, today: Observed,
        before: Observed,
    ) -> Patient:  # fmt: skip
        board = Board.model_validate(one.board) if one.board is not None else Board()
        state, since = Filter.ONLINE, None
        if one.state == "offline":
            state, since = Filter.OFFLINE, one.last_seen
        elif now - one.last_seen > self._silent_after:
            state, since = Filter.SILENT, one.last_seen
        elif one.heartbeat_at is not None:
            since = one.heartbeat_at - timedelta(seconds=min(one.uptime_s, 1e9))
        return Patient(
            name=one.name, title=one.title, site=one.site, site_name=site_name, state=state, since=since,
            last_seen=one.last_seen, release=one.release, asked=asked,
            on_cpu=one.accelerator == Accelerator.CPU if one.accelerator else None,
            fps=one.fps if one.release is not None else None, temperature_c=board.temperature_c,
            under_voltage=board.under_voltage, throttled=board.throttled, disk_free_bytes=board.disk_free_bytes,
            today=today, week=today + before, waiting=one.waiting, missing=one.missing, lost=one.events_lost,
            losing_at=vitals.losing_at if vitals else None, drift=one.drift, sentences=one.trouble,
            words=vitals.words if vitals else None, certificate_ends=vitals.certificate_ends if vitals else None,
        )  # fmt: skip


def new_doors(ward: Ward, pages: Pages, clock: Callable[[], datetime]) -> APIRouter:
    """`/doors` and `/doors.csv`."""
    site = APIRouter(include_in_schema=False)

    @site.get("/doors")
    def doors(
        text: Text = "", at: Text = "", state: Text = "", trouble: Text = "", sort: Text = "",
        down: Text = "", page: Text = "",
    ) -> Response:  # fmt: skip
        now, wish = clock(), wish_of(text, at, state, trouble, sort, down, page)
        everybody = ward.doors(now)
        found = page_of(chosen(everybody, wish, now, ward.lines), wish.page)
        return pages.plain(
            "doors.html", now=now, found=found, wish=wish, sites=ward.sites(), summary=summary(everybody, now, ward.lines),
            total=len(everybody), needs=lambda one: needs(one, now, ward.lines), advice=ADVICE, sorts=Sort,
            to=lambda **changes: address(replace(wish, page=1, **changes) if "page" not in changes else replace(wish, **changes)),
            csv=address(replace(wish, page=1), "/doors.csv"),
        )  # fmt: skip

    @site.get("/doors.csv")
    def as_csv(
        text: Text = "", at: Text = "", state: Text = "", trouble: Text = "", sort: Text = "", down: Text = "",
    ) -> Response:  # fmt: skip
        now = clock()
        found = chosen(ward.doors(now), wish_of(text, at, state, trouble, sort, down), now, ward.lines)
        note("doors", doors=len(found))
        return Response(
            table(found, now, ward.lines), media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="doors-{now:%Y%m%d-%H%M}.csv"'},
        )  # fmt: skip

    return site


def wish_of(text: str, at: str, state: str, trouble: str, sort: str, down: str, page: str = "") -> Wish:
    """What the address asks for; what it cannot mean is as if it were not there."""
    known = {one.value for one in ADVICE}
    return Wish(
        text=text, site=at, state=Filter(state) if state in set(Filter) else None,
        trouble=trouble if trouble in known else "", sort=Sort(sort) if sort in set(Sort) else Sort.NAME,
        down=down == "1", page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )  # fmt: skip


def address(wish: Wish, path: str = "/doors") -> str:
    """The inverse: only what is not as by itself."""
    told = {
        "text": wish.text, "at": wish.site, "state": wish.state or "", "trouble": wish.trouble,
        "sort": "" if wish.sort is Sort.NAME else wish.sort, "down": "1" if wish.down else "",
        "page": str(wish.page) if wish.page > 1 else "",
    }  # fmt: skip
    query = urlencode({name: str(value) for name, value in told.items() if value})
    return f"{path}?{query}" if query else path


def table(doors: Iterable[Patient], now: datetime, lines: Lines) -> bytes:
    """CSV with one row a door; an empty cell is not known; no cell is taken for a formula."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(COLUMNS)
    for one in doors:
        accelerator = None if one.on_cpu is None else Accelerator.CPU if one.on_cpu else Accelerator.EDGE_TPU
        clock = one.today.unsure_hours == 0 if one.today.hours else None
        cells = (
            one.name, one.title, one.site, one.state, one.since, one.last_seen, one.release, one.asked, accelerator,
            one.fps, one.temperature_c, one.under_voltage, one.throttled, one.disk_free_bytes, one.today.share,
            one.week.share, one.waiting, one.missing, one.lost, one.drift, clock, " ".join(needs(one, now, lines)),
            "; ".join(one.sentences),
        )  # fmt: skip
        rows.writerow([_cell(value) for value in cells])
    return written.getvalue().encode()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, float):
        return round(value, 6)
    return plain(value) if isinstance(value, str) else value
