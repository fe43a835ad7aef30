"""What people write as opening hours and lines: one spelling, and the door's own verdict."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.health.opening import HOUR_S, Opening
from agent.vision.doorway import Doorway
from cloud.fleet.hours import Hours, require_week, rules_of
from cloud.fleet.plans import require_sense
from contract.errors import ContractError
from contract.fleet import DoorPlan

SHUT = ("",) * 7
OFFICE = ("08:00-18:00",) * 5 + ("", "")
TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("", ""),
        ("8:00-18:00", "08:00-18:00"),
        (" 14:00 - 18:00 ,08:00\N{EN DASH}12:00,", "08:00-12:00, 14:00-18:00"),
        ("20:00-24:00", "20:00-24:00"),
        ("22:00-02:00", "22:00-02:00"),
    ],
)
def test_a_day_has_one_spelling(text: str, spelling: str) -> None:
    assert require_week((text, *SHUT[1:]))[0] == spelling


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("9 to 5", "write it like"),
        ("08:60-09:00", "write it like"),
        ("24:00-25:00", "write it like"),
        ("08:00-08:00", "write it like"),
        ("08:00-12:00, 11:00-13:00", "overlap"),
        ("22:00-02:00, 23:00-24:00", "overlap"),
        ("1:00-2:00,3:00-4:00,5:00-6:00,7:00-8:00,9:00-10:00", "at most 4"),
        ("\N{ARABIC-INDIC DIGIT EIGHT}:00-18:00", "write it like"),
    ],
)
def test_a_day_that_makes_no_sense_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ContractError, match=why) as caught:
        require_week((*SHUT[:2], text, *SHUT[3:]))
    assert str(caught.value).startswith("wed: ")
    with pytest.raises(ContractError, match="7 days"):
        require_week(("",))


@pytest.mark.parametrize(
    ("week", "rules"),
    [
        (SHUT, ()),
        (OFFICE, ("mon-fri 08:00-18:00",)),
        (("08:00-12:00", "", "08:00-12:00, 14:00-18:00", *SHUT[3:]), ("mon,wed 08:00-12:00", "wed 14:00-18:00")),
    ],
)
def test_days_with_the_same_hours_share_a_rule(week: tuple[str, ...], rules: tuple[str, ...]) -> None:
    assert rules_of(week) == rules


DAY = st.sampled_from(["", "08:00-18:00", "00:00-24:00", "22:00-02:00", "07:30-12:00, 13:15-19:00"])


@settings(max_examples=40, deadline=None)
@given(st.lists(DAY, min_size=7, max_size=7), st.integers(0, 24 * 400))
def test_door_and_cloud_agree_on_when_a_door_is_open(week: list[str], hour: int) -> None:
    holiday = date(2026, 1, 4)
    at = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + hour * HOUR_S
    minutes = Opening.of(rules_of(week), "Asia/Tokyo", [holiday]).in_hour(int(at // HOUR_S))
    hours = Hours.of(week, TOKYO, (holiday,))
    assert [bool(minutes >> minute & 1) for minute in (0, 29, 59)] == [
        hours.open_at(datetime.fromtimestamp(at + 60 * minute, UTC)) for minute in (0, 29, 59)
    ]


LEFT, RIGHT = {"name": "left", "line": (0, 0.5, 0.4, 0.5)}, {"name": "right", "line": (0.6, 0.5, 1, 0.5)}
SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))


@pytest.mark.parametrize(
    ("lines", "zone", "why"),
    [
        ([LEFT], (), ""),
        ([LEFT, RIGHT], SQUARE, ""),
        ([{"line": (0.5, 0.5, 0.5, 0.5)}], (), "two different points"),
        ([{"line": (0, 0.5, 1, 0.5)}, LEFT], (), "needs a name"),
        ([LEFT, LEFT], (), "two lines are called"),
        ([LEFT], ((0, 0), (1, 1)), "at least 3"),
        ([LEFT], ((0, 0), (0.5, 0), (1, 0)), "area"),
        ([LEFT], ((0, 0), (1, 1), (1, 0), (0, 0.9)), "may not cross"),
        ([LEFT], ((0, 0), (1, 0), (1, 0.2)), "outside the zone"),
    ],
)
def test_the_cloud_refuses_the_plans_that_the_door_would_refuse(lines: list[Any], zone: Any, why: str) -> None:
    plan = DoorPlan.from_parsed({"lines": lines, "zone": zone})
    if not why:
        assert require_sense(plan) is plan
        Doorway.planned(plan)
        return
    with pytest.raises(ContractError, match=why):
        require_sense(plan)
    with pytest.raises(ContractError):
        Doorway.planned(plan)


PLACE = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(lambda spot: (spot[0] / 8, spot[1] / 8))
NAMED = st.fixed_dictionaries(
    {"name": st.sampled_from(["", "a", "b"]), "line": st.tuples(PLACE, PLACE).map(lambda two: two[0] + two[1])}
)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMED, min_size=1, max_size=3), st.lists(PLACE, max_size=5))
def test_door_and_cloud_judge_any_plan_alike(lines: list[Any], zone: list[Any]) -> None:
    plan = DoorPlan.from_parsed({"lines": lines, "zone": zone})

    def refused(judge: Any) -> bool:
        try:
            judge(plan)
        except ContractError:
            return True
        return False

    assert refused(require_sense) == refused(Doorway.planned)
