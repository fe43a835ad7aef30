"""A site's opening hours as people write them, as doors read them, and whether it is open now."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import lru_cache

from contract.errors import ContractError
from contract.opening import DAY_MINUTES, DAYS, week_of

Week = Sequence[str]
"""Seven texts like `08:00-12:00, 14:00-18:00`, Monday first; an empty one is a closed day, seven of them are always open."""

MOST_SPANS = 4  # of a day
_SPAN = re.compile(r"(\d{1,2}):(\d\d) ?[-\N{EN DASH}] ?(\d{1,2}):(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hours:
    """When a door is open, on its own clock."""

    week: int  # a bit for each minute since Monday 00:00
    zone: tzinfo
    closed: Collection[date] = ()

    @classmethod
    def of(cls, week: Week, zone: tzinfo, closed: Collection[date] = ()) -> "Hours":
        """Raises ContractError as `require_week`."""
        return cls(_minutes(require_week(week)), zone, closed)

    def open_at(self, now: datetime) -> bool:
        """Whether it is open at `now`."""
        here = now.astimezone(self.zone)
        minute = here.weekday() * DAY_MINUTES + here.hour * 60 + here.minute
        return here.date() not in self.closed and bool(self.week >> minute & 1)


def require_week(week: Week) -> tuple[str, ...]:
    """Each day in one spelling: spans of `HH:MM-HH:MM` in order, `24:00` for midnight at the end; over midnight is allowed.

    Raises ContractError that names the day and what is wrong.
    """
    if len(week) != len(DAYS):
        raise ContractError(f"a week has {len(DAYS)} days, Monday first, not {len(week)}")
    return tuple(_day(name, text) for name, text in zip(DAYS, week, strict=True))


def rules_of(week: Week) -> tuple[str, ...]:
    """The same in the door's grammar, days with equal hours together. `week` must be in the spelling of `require_week`."""
    rules: list[str] = []
    for span in dict.fromkeys(span for day in week for span in day.split(", ") if span):
        days = [name for name, day in zip(DAYS, week, strict=True) if span in day.split(", ")]
        rules.append(f"{','.join(_runs(days))} {span}")
    return tuple(rules)


@lru_cache(maxsize=1024)
def _minutes(week: tuple[str, ...]) -> int:
    return week_of(rules_of(week))


def _day(name: str, text: str) -> str:
    spans = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        found = _SPAN.fullmatch(part)
        opens, closes = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
        sound = found and int(found[2]) < 60 and int(found[4]) < 60
        if not sound or opens >= DAY_MINUTES or closes > DAY_MINUTES or opens == closes:
            raise ContractError(
                f"{name}: {part[:40]!r} is no opening time; write it like 08:00-12:00, 14:00-18:00, and leave a closed day empty"
            )
        spans.append((opens, closes))
    spans.sort()
    ends = [closes if closes > opens else closes + DAY_MINUTES for opens, closes in spans]
    if any(end > later[0] for end, later in zip(ends, spans[1:], strict=False)):
        raise ContractError(f"{name}: two opening times overlap")
    if len(spans) > MOST_SPANS:
        raise ContractError(f"{name}: at most {MOST_SPANS} opening times a day")
    return ", ".join(f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in spans)


def _runs(days: Sequence[str]) -> list[str]:
    """`mon-fri` for neighbours, alone for single days."""
    runs: list[list[str]] = []
    for name in days:
        if runs and DAYS.index(name) == DAYS.index(runs[-1][-1]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
