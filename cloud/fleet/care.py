"""Which doors need somebody: what is wrong with each, and the list of them filtered, sorted and cut into pages. Knows no database."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cloud.counts.trust import Observed
from contract.health import DRIFTED, LITTLE_DISK
from contract.trouble import Trouble, words_for

PER_PAGE = 50
LOSING_FOR = timedelta(days=1)  # a loss is news for so long


class Concern(StrEnum):
    """What the cloud itself finds, beside the words of the door."""

    OFFLINE = "offline"
    SILENT = "silent"
    NO_HEARTBEAT = "no_heartbeat"
    ON_CPU = "on_cpu"
    LOSING = "losing"
    OLD_RELEASE = "old_release"
    COVERAGE = "coverage"
    DISK_LOW = "disk_low"
    CERTIFICATE = "certificate"


Need = Concern | Trouble


class Filter(StrEnum):
    """What the list may be narrowed to, and the summary counts."""

    ONLINE = "online"
    SILENT = "silent"
    OFFLINE = "offline"
    TROUBLE = "trouble"
    ON_CPU = "on_cpu"
    LOSING = "losing"
    OLD_RELEASE = "old_release"


class Sort(StrEnum):
    """By which column the list is sorted."""

    NAME = "name"
    STATE = "state"
    SEEN = "seen"
    RELEASE = "release"
    FPS = "fps"
    TEMPERATURE = "temperature"
    DISK = "disk"
    TODAY = "today"
    WEEK = "week"
    WAITING = "waiting"
    MISSING = "missing"
    DRIFT = "drift"


STATES = (Filter.OFFLINE, Filter.SILENT, Filter.ONLINE)  # the worst first


@dataclass(frozen=True, slots=True)
class Patient:
    """One door as the list shows it; None is not known."""

    name: str
    title: str  # "": nobody gave it one
    site: str | None
    site_name: str
    state: Filter  # online, silent or offline
    since: datetime | None  # in this state; of an online one, since its agent started
    last_seen: datetime
    release: int | None
    asked: int | None  # the release that it was asked to run
    on_cpu: bool | None
    fps: float | None
    temperature_c: float | None
    under_voltage: bool | None
    throttled: bool | None
    disk_free_bytes: int | None
    today: Observed
    week: Observed
    waiting: int
    missing: int
    lost: int
    losing_at: datetime | None  # when `lost` last grew
    drift: float | None
    sentences: tuple[str, ...] = ()  # what the door complains of, in its own words
    words: tuple[str, ...] | None = None  # the same for programs; None: its agent is too old to say them
    certificate_ends: datetime | None = None

    @property
    def called(self) -> str:
        """As people call it."""
        return self.title or self.name


@dataclass(frozen=True, slots=True)
class Wish:
    """What a reader asks for."""

    text: str = ""
    site: str = ""
    state: Filter | None = None
    trouble: str = ""  # a code of Concern or Trouble
    sort: Sort = Sort.NAME
    down: bool = False
    page: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """One page of the list."""

    rows: tuple[Patient, ...]
    number: int  # of all that fit
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Where the lines are drawn, the same as for alerts."""

    coverage: float | None  # least share of today's opening hours; None: any
    certificate: timedelta  # how long before its end it is to be renewed


def needs(one: Patient, now: datetime, lines: Lines) -> tuple[Need, ...]:
    """What is wrong with a door, the gravest first. Of one that does not speak, its last complaints are no news."""
    if one.state is Filter.OFFLINE:
        return (Concern.OFFLINE,)
    if one.state is Filter.SILENT:
        return (Concern.SILENT,)
    found: list[Need] = [Concern.NO_HEARTBEAT] if one.release is None else []
    if losing(one, now):
        found.append(Concern.LOSING)
    said = words_for(one.sentences) if one.words is None else tuple(_known(word) for word in one.words)
    found += said
    told: dict[Need, bool | None] = {
        Concern.ON_CPU: one.on_cpu,
        Trouble.UNDER_VOLTAGE: one.under_voltage,
        Trouble.THROTTLED: one.throttled,
        Concern.DISK_LOW: one.disk_free_bytes is not None and one.disk_free_bytes < LITTLE_DISK,
        Concern.CERTIFICATE: one.certificate_ends is not None and one.certificate_ends - now <= lines.certificate,
        Concern.COVERAGE: lines.coverage is not None
        and one.today.share is not None
        and one.today.share < lines.coverage,
        Trouble.CLOCK_UNKNOWN: one.today.unsure_hours > 0,
        Trouble.VIEW_DRIFTED: one.drift is not None and one.drift < DRIFTED,
        Concern.OLD_RELEASE: old(one),
    }
    found.extend(need for need, true in told.items() if true)
    return tuple(dict.fromkeys(found))


def old(one: Patient) -> bool:
    """It was asked for a newer release than it runs."""
    return one.asked is not None and one.release is not None and one.release < one.asked


def losing(one: Patient, now: datetime) -> bool:
    """Its outbox gave passes up lately."""
    return one.losing_at is not None and now - one.losing_at <= LOSING_FOR


def summary(doors: Iterable[Patient], now: datetime, lines: Lines) -> dict[Filter, int]:
    """How many doors each filter leaves."""
    found = dict.fromkeys(Filter, 0)
    others = [which for which in Filter if which not in STATES]
    for one in doors:
        found[one.state] += 1
        for which in others:
            found[which] += fits(one, which, now, lines)
    return found


def fits(one: Patient, which: Filter, now: datetime, lines: Lines) -> bool:
    """Whether a filter leaves this door."""
    match which:
        case Filter.TROUBLE:
            return bool(needs(one, now, lines))
        case Filter.ON_CPU:
            return bool(one.on_cpu)
        case Filter.LOSING:
            return losing(one, now)
        case Filter.OLD_RELEASE:
            return old(one)
        case _:
            return one.state is which


def chosen(doors: Iterable[Patient], wish: Wish, now: datetime, lines: Lines) -> list[Patient]:
    """Those that fit, sorted; what is not known stands last either way."""
    text = wish.text.strip().casefold()
    left = [
        one
        for one in doors
        if (not text or any(text in part.casefold() for part in (one.name, one.title, one.site_name)))
        and (not wish.site or one.site == wish.site)
        and (wish.state is None or fits(one, wish.state, now, lines))
        and (not wish.trouble or wish.trouble in needs(one, now, lines))
    ]
    left.sort(key=lambda one: (one.called.casefold(), one.name))
    key = KEYS[wish.sort]
    known = [one for one in left if key(one) is not None]
    known.sort(key=key, reverse=wish.down)
    return known + [one for one in left if key(one) is None]


def page_of(doors: Sequence[Patient], number: int) -> Found:
    """One page, the last one where there are not so many."""
    pages = max(1, -(-len(doors) // PER_PAGE))
    page = min(max(1, number), pages)
    return Found(tuple(doors[(page - 1) * PER_PAGE : page * PER_PAGE]), len(doors), page, pages)


KEYS: dict[Sort, Callable[[Patient], Any]] = {
    Sort.NAME: lambda one: one.called.casefold(),
    Sort.STATE: lambda one: STATES.index(one.state),
    Sort.SEEN: lambda one: one.last_seen,
    Sort.RELEASE: lambda one: one.release,
    Sort.FPS: lambda one: one.fps,
    Sort.TEMPERATURE: lambda one: one.temperature_c,
    Sort.DISK: lambda one: one.disk_free_bytes,
    Sort.TODAY: lambda one: one.today.share,
    Sort.WEEK: lambda one: one.week.share,
    Sort.WAITING: lambda one: one.waiting,
    Sort.MISSING: lambda one: (one.missing, one.lost),
    Sort.DRIFT: lambda one: one.drift,
}


def _known(word: str) -> Trouble:
    return Trouble(word) if word in set(Trouble) else Trouble.OTHER
