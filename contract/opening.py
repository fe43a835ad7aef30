"""Opening hours as door and cloud both write them: rules like `mon-fri 08:00-20:00`, together a week of minutes."""

import re
from collections.abc import Iterable

from contract.errors import ContractError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
ALWAYS = (1 << WEEK_MINUTES) - 1

_RULE = re.compile(
    r"(?P<days>[a-z,-]+) (?P<opens>\d\d):(?P<opens_m>\d\d)-(?P<closes>\d\d):(?P<closes_m>\d\d)", re.ASCII
)


def week_of(rules: Iterable[str]) -> int:
    """A bit for each open minute since Monday 00:00, of rules like `sat,sun 22:00-02:00`; without any rule, always.

    Raises ContractError that says how to write a rule.
    """
    week = 0
    for rule in rules:
        week |= _minutes(rule)
    return week or ALWAYS


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
