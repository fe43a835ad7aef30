"""When a door is open: a week of minutes on its own clock."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contract.errors import ContractError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
HOUR_S = 3600

_RULE = re.compile(r"(?P<days>[a-z,-]+) (?P<opens>\d\d):(?P<opens_m>\d\d)-(?P<closes>\d\d):(?P<closes_m>\d\d)")


class Opening:
    """The minutes of every week in which a door is open, in its own time zone."""

    def __init__(self, week: int, zone: tzinfo) -> None:
        """`week` has a bit for each minute since Monday 00:00."""
        self._week = week
        self._zone = zone
        self.in_hour = lru_cache(maxsize=512)(self._in_hour)

    @classmethod
    def of(cls, rules: Iterable[str], zone: str) -> "Opening":
        """Of rules like `mon-fri 08:00-20:00` or `sat,sun 22:00-02:00`; without any, always.

        Raises ContractError that says how to write a rule or a zone.
        """
        try:
            known = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ContractError(f"no time zone {zone[:60]!r} here; write it like Europe/Paris") from error
        week = 0
        for rule in rules:
            week |= _minutes(rule)
        return cls(week or (1 << WEEK_MINUTES) - 1, known)

    def day_of(self, at_s: float) -> date:
        """The door's own date at `at_s` s since 1970."""
        return datetime.fromtimestamp(at_s, self._zone).date()

    def day_begins(self, day: date) -> float:
        """When the door's own `day` begins, s since 1970."""
        return datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()

    def _in_hour(self, hour: int) -> int:
        """The open minutes, as bits, of the `hour`-th hour since 1970 UTC."""
        begin = datetime.fromtimestamp(hour * HOUR_S, UTC)
        bits = 0
        for minute in range(60):
            here = (begin + timedelta(minutes=minute)).astimezone(self._zone)
            of_week = here.weekday() * DAY_MINUTES + here.hour * 60 + here.minute
            bits |= (self._week >> of_week & 1) << minute
        return bits


def _minutes(rule: str) -> int:
    found = _RULE.fullmatch(rule.strip().lower())
    how = f"{rule[:60]!r} is no opening time; write it like 'mon-fri 08:00-20:00' or 'sat,sun 10:00-18:00'"
    if not found:
        raise ContractError(how)
    opens = int(found["opens"]) * 60 + int(found["opens_m"])
    closes = int(found["closes"]) * 60 + int(found["closes_m"])
    sound = int(found["opens_m"]) < 60 and int(found["closes_m"]) < 60
    if not sound or opens >= DAY_MINUTES or closes > DAY_MINUTES or opens == closes:
        raise ContractError(f"{how}; from 00:00 to 24:00, and not the same time twice")
    long = (closes - opens) % DAY_MINUTES or DAY_MINUTES
    bits = 0
    for day in _days(found["days"], how):
        for minute in range(long):
            bits |= 1 << (day * DAY_MINUTES + opens + minute) % WEEK_MINUTES
    return bits


def _days(text: str, how: str) -> list[int]:
    if text == "daily":
        return list(range(7))
    days: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS or part.endswith("-"):
            raise ContractError(f"{how}; days are {', '.join(DAYS)} or daily")
        begin = DAYS.index(first)
        days += [(begin + step) % 7 for step in range((DAYS.index(last or first) - begin) % 7 + 1)]
    return days
