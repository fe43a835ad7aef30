"""What opens, repeats and closes an alert."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloud.counts.claims import wilson
from cloud.fleet.alerts import (
    RULES,
    DoorFacts,
    Finding,
    Kind,
    Limits,
    OpenAlert,
    What,
    judge_door,
    judge_end,
    judge_flood,
    judge_service,
    step,
)
from contract.events import Accelerator

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LIMITS = Limits(timedelta(minutes=2), 0.8, 0.7, 100, timedelta(days=14))
WELL = DoorFacts("front", "Front door", is_open=True, offline=False, last_seen=NOW, accelerator=Accelerator.EDGE_TPU)


def verdicts(door: DoorFacts, **changes: Any) -> dict[Kind, bool | None]:
    return {one.kind: one.bad for one in judge_door(NOW, door, LIMITS, **changes)}


def ago(**values: float) -> datetime:
    return NOW - timedelta(**values)


@pytest.mark.parametrize(
    ("kind", "changes", "bad"),
    [
        (Kind.DOOR_SILENT, {}, False),
        (Kind.DOOR_SILENT, {"last_seen": ago(seconds=121)}, True),
        (Kind.DOOR_SILENT, {"offline": True}, True),
        (Kind.CAMERA, {"words": ("camera_black",)}, True),
        (Kind.CAMERA, {"words": ("camera_moved",)}, True),
        (Kind.CAMERA, {"words": ("disk_full", "a_word_of_tomorrow")}, False),
        (
            Kind.CAMERA,
            {"words": (), "trouble": ("the picture is black: is ...",)},
            False,
        ),  # the words count where there are any
        (Kind.CAMERA, {"trouble": ("the picture is black: is the lens covered?",)}, True),  # of an older agent
        (Kind.CAMERA, {"trouble": ("the disk is full",)}, False),
        (Kind.CAMERA, {"words": ("camera_black",), "offline": True}, None),
        (Kind.ACCELERATOR_LOST, {"edgetpu_at": NOW}, False),
        (Kind.ACCELERATOR_LOST, {"accelerator": Accelerator.CPU}, False),  # it never had one
        (Kind.ACCELERATOR_LOST, {"accelerator": Accelerator.CPU, "edgetpu_at": ago(days=2)}, True),
        (Kind.ACCELERATOR_LOST, {"accelerator": Accelerator.CPU, "edgetpu_at": ago(days=31)}, False),  # taken away
        (Kind.COVERAGE_LOW, {"coverage_today": 0.79}, True),
        (Kind.COVERAGE_LOW, {"coverage_today": 0.82}, None),
        (Kind.COVERAGE_LOW, {"coverage_today": 0.86}, False),
        (Kind.COVERAGE_LOW, {}, None),
        (Kind.COMPLIANCE_LOW, {"compliance": wilson(120, 200), "passes": 200}, True),  # 53 to 67 %
        (Kind.COMPLIANCE_LOW, {"compliance": wilson(132, 200), "passes": 200}, None),  # 59 to 72 %
        (Kind.COMPLIANCE_LOW, {"compliance": wilson(142, 200), "passes": 200}, False),
        (Kind.COMPLIANCE_LOW, {"compliance": wilson(20, 60), "passes": 60}, None),  # too few
        (Kind.OUTBOX_LOSING, {"losing_at": ago(minutes=5)}, True),
        (Kind.OUTBOX_LOSING, {"losing_at": ago(hours=2)}, False),
        (Kind.DOOR_CERTIFICATE, {}, None),
        (Kind.DOOR_CERTIFICATE, {"certificate_ends": ago(days=-15)}, False),
        (Kind.DOOR_CERTIFICATE, {"certificate_ends": ago(days=-14)}, True),
        (Kind.DOOR_CERTIFICATE, {"certificate_ends": ago(days=1), "offline": True}, True),  # that may be why
    ],
)
def test_a_door_is_judged_by_the_table(kind: Kind, changes: dict[str, Any], bad: bool | None) -> None:
    assert verdicts(replace(WELL, **changes))[kind] is bad


def test_nobody_speaks_of_doors_that_were_taken_down_nor_of_silence_while_the_broker_is_away() -> None:
    assert verdicts(replace(WELL, last_seen=ago(days=31))) == {}
    assert verdicts(replace(WELL, last_seen=ago(hours=1)), reachable=False)[Kind.DOOR_SILENT] is None


def test_an_absent_line_is_no_rule() -> None:
    door = replace(WELL, coverage_today=0.1, compliance=wilson(0, 500), passes=500)
    found = judge_door(NOW, door, replace(LIMITS, coverage=None, compliance=None))
    assert [one.bad for one in found if one.kind in (Kind.COVERAGE_LOW, Kind.COMPLIANCE_LOW)] == [None, None]


@pytest.mark.parametrize(
    ("alive", "connected", "bad"),
    [(True, True, [False, False]), (True, False, [False, True]), (False, False, [True, None])],
)
def test_the_service_is_judged_by_its_consumer(alive: bool, connected: bool, bad: list[bool | None]) -> None:
    assert [one.bad for one in judge_service(alive=alive, connected=connected)] == bad


@pytest.mark.parametrize(("days", "bad", "said"), [(15, False, "ends"), (14, True, "ends"), (-1, True, "ended")])
def test_what_ends_soon_is_said_in_time(days: int, bad: bool, said: str) -> None:
    found = judge_end(NOW, Kind.CERTIFICATE_ENDING, "web", NOW + timedelta(days=days), timedelta(days=14))
    assert (found.bad, said in found.reason) == (bad, True)


@pytest.mark.parametrize(
    ("latest", "rate", "bad", "said"),
    [
        (ago(seconds=1), 5_000.4, True, "about 5,000 messages a second too many"),
        (ago(seconds=90), None, True, "too many messages"),
        (ago(seconds=91), 5_000.4, False, ""),
    ],
)
def test_a_flood_is_judged_by_its_latest_message(latest: datetime, rate: float | None, bad: bool, said: str) -> None:
    found = judge_flood(NOW, "front", "Front door", latest, rate)
    assert (found.bad, found.name, found.door) == (bad, "Front door", "front")
    assert said in found.reason


BAD = Finding(Kind.DOOR_SILENT, "front", bad=True, reason="it says nothing", door="front")
GOOD, UNKNOWN = replace(BAD, bad=False), replace(BAD, bad=None)
ASLEEP = replace(BAD, asleep=True)


@pytest.mark.parametrize(
    ("sequence", "told"),
    [
        ([(0, BAD), (170, BAD)], []),
        ([(0, BAD), (180, BAD), (300, BAD)], [(180, "opened")]),
        ([(0, BAD), (100, GOOD), (170, BAD), (340, BAD)], []),  # a short rest begins anew
        ([(0, BAD), (100, UNKNOWN), (200, BAD), (370, BAD)], []),
        ([(0, ASLEEP), (600, ASLEEP)], []),
        ([(0, ASLEEP), (600, BAD), (780, BAD)], [(780, "opened")]),  # counted from when it opened
        ([(0, BAD), (180, BAD), (200, GOOD), (259, GOOD), (260, GOOD)], [(180, "opened"), (260, "closed")]),
        ([(0, BAD), (180, BAD), (200, GOOD), (230, BAD), (270, GOOD)], [(180, "opened")]),  # it flutters
        ([(0, BAD), (180, BAD), (200, UNKNOWN), (9000, UNKNOWN)], [(180, "opened")]),
        ([(0, BAD), (180, BAD), (200, ASLEEP), (90_000, ASLEEP)], [(180, "opened")]),  # no reminder at night
        ([(0, BAD), (180, BAD), (86_579, BAD), (86_580, BAD), (90_000, BAD)], [(180, "opened"), (86_580, "reminder")]),
        ([(0, BAD), (180, BAD), (200, None)], [(180, "opened"), (200, "closed")]),  # no longer watched
    ],
)
def test_an_alert_opens_late_repeats_daily_and_closes_late(
    sequence: list[tuple[int, Finding | None]], told: list[tuple[int, str]]
) -> None:
    known: dict[Any, OpenAlert] = {}
    waiting: dict[Any, datetime] = {}
    found = []
    for at_s, finding in sequence:
        now = NOW + timedelta(seconds=at_s)
        changes, waiting = step(now, known, waiting, [finding] if finding else [])
        for change in changes:
            found.append((at_s, change.what.value))
            known.pop(BAD.key, None)
            if change.what is not What.CLOSED:
                known[BAD.key] = OpenAlert(NOW, now, "")
    assert found == told


def test_every_kind_has_a_rule() -> None:
    assert set(RULES) == set(Kind)
