"""When a door is open: a week of minutes on its own clock, but for the days on which it stays shut."""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contract.errors import ContractError
from contract.fleet import OpeningPlan
from contract.opening import DAY_MINUTES, week_of

HOUR_S = 3600


class Opening:
    """The minutes of every week in which a door is open, in its own time zone."""

    def __init__(self, week: int, zone: tzinfo, closed: Collection[date] = ()) -> None:
        """`week` has a bit for each minute since Monday 00:00; on the days `closed` nothing is open."""
        self._week = week
        self._zone = zone
        self._closed = frozenset(closed)
        self.in_hour = lru_cache(maxsize=512)(self._in_hour)

    @classmethod
    def of(cls, rules: Iterable[str], zone: str, closed: Collection[date] = ()) -> Self:
        """Of rules like `mon-fri 08:00-20:00` or `sat,sun 22:00-02:00`; without any, always.

        Raises ContractError that says how to write a rule or a zone.
        """
        try:
            known = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ContractError(f"no time zone {zone[:60]!r} here; write it like Europe/Paris") from error
        return cls(week_of(rules), known, closed)

    @classmethod
    def planned(cls, plan: OpeningPlan) -> Self:
        """What the cloud wants; raises ContractError where it makes no sense."""
        return cls.of(plan.open, plan.time_zone, plan.closed)

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
            bits |= (self._week >> of_week & (here.date() not in self._closed)) << minute
        return bits
