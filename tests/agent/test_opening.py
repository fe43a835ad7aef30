"""Opening hours: what may be written, and which minutes they are."""

from datetime import UTC, date, datetime

import pytest

from agent.config import AgentSettings
from agent.health.opening import HOUR_S, Opening
from contract.errors import ContractError


def open_minutes(opening: Opening, when: str) -> int:
    """Of the UTC hour that begins at `when`."""
    return opening.in_hour(int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp() // HOUR_S)).bit_count()


@pytest.mark.parametrize(
    ("rules", "zone", "when", "minutes"),
    [
        ([], "UTC", "2026-03-01T03:00", 60),
        (["mon-fri 08:00-20:00"], "UTC", "2026-11-23T08:00", 60),  # a Monday
        (["mon-fri 08:00-20:00"], "UTC", "2026-11-23T20:00", 0),
        (["mon-fri 08:00-20:00"], "UTC", "2026-11-22T12:00", 0),  # a Sunday
        (["mon-fri 08:00-20:00"], "Europe/Paris", "2026-11-23T07:00", 60),
        (["mon-fri 08:00-20:00"], "Europe/Paris", "2026-07-20T06:00", 60),  # in summer an hour earlier
        (["mon-fri 08:30-20:00"], "UTC", "2026-11-23T08:00", 30),
        (["daily 08:30-20:00"], "Asia/Kolkata", "2026-11-22T03:00", 60),  # five and a half hours ahead
        (["sat 22:00-02:00"], "UTC", "2026-11-22T01:00", 60),  # past midnight
        (["sun 22:00-02:00"], "UTC", "2026-11-23T01:00", 60),  # past the end of the week
        (["sat,sun 10:00-11:00"], "UTC", "2026-11-22T10:00", 60),
        (["fri-mon 10:00-11:00"], "UTC", "2026-11-24T10:00", 0),
        (["mon 00:00-24:00"], "UTC", "2026-11-23T23:00", 60),
    ],
)
def test_the_open_minutes_are_those_on_the_doors_own_clock(
    rules: list[str], zone: str, when: str, minutes: int
) -> None:
    assert open_minutes(Opening.of(rules, zone), when) == minutes


@pytest.mark.parametrize(
    "rule",
    ["", "mon", "monday 08:00-20:00", "mon 8-20", "mon 08:00-08:00", "mon 24:00-25:00", "mon- 08:00-09:00", "mon 08:60-09:00"],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused_with_an_example(rule: str) -> None:
    with pytest.raises(ContractError, match="write it like 'mon-fri 08:00-20:00'"):
        Opening.of([rule], "UTC")


def test_settings_with_a_wrong_zone_name_the_field_and_an_example() -> None:
    with pytest.raises(ContractError, match=r"door: .*no time zone 'Paris' here; write it like Europe/Paris"):
        AgentSettings.load(None, {"device": "door-1", "door.time_zone": "Paris"})


def test_a_closed_day_has_no_open_minute_in_the_doors_own_zone() -> None:
    holiday = date(2026, 12, 25)
    opening = Opening.of(["daily 08:00-20:00"], "Asia/Tokyo", [holiday])
    noon = {day: datetime(2026, 12, day, 3, tzinfo=UTC).timestamp() for day in (24, 25, 26)}  # 12:00 in Tokyo
    assert [opening.in_hour(int(at // HOUR_S)).bit_count() for at in noon.values()] == [60, 0, 60]
