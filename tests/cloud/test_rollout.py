"""Who is asked when, and what stops a rollout."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloud.fleet.rollout import Door, Group, Rollout, Rules, State, canary_doors, decide
from contract.fleet import Step

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RULES = Rules(silent_after_s=600, canary_soak_s=3600)
CANARY = Rollout(2, State.RUNNING, Group.CANARY, NOW - timedelta(hours=3))
REST = replace(CANARY, group=Group.REST)


def door(name: str, *, asked: bool = True, ago_s: float = 60, step: Step = Step.TRIAL, running: int = 1) -> Door:
    since = NOW - timedelta(seconds=ago_s)
    return Door(name, True, 2 if asked else 0, since if asked else None, None, running, 2 if asked else 0, step, since)


def fine(name: str) -> Door:
    return door(name, step=Step.CONFIRMED, running=2)


def failed(name: str) -> Door:
    return door(name, step=Step.ROLLED_BACK)


def silent(name: str) -> Door:
    return door(name, ago_s=601)


def unasked(name: str) -> Door:
    return door(name, asked=False)


@pytest.mark.parametrize(("fleet", "size"), [(1, 1), (3, 1), (4, 2), (40, 2), (100, 5), (0, 0)])
def test_the_first_group_is_small_and_its_order_depends_on_the_release(fleet: int, size: int) -> None:
    names = [f"door-{number}" for number in range(fleet)]
    assert len(canary_doors(1, names, 0.05)) == size
    assert fleet < 40 or canary_doors(1, names, 0.05) != canary_doors(2, names, 0.05)


def test_only_the_first_group_is_asked_and_absent_doors_are_not() -> None:
    doors = [unasked(f"door-{number}") for number in range(5)]
    assert len(decide(NOW, CANARY, doors, RULES).ask) == 2
    assert decide(NOW, CANARY, [replace(one, present=False) for one in doors], RULES).ask == ()


def test_the_others_wait_until_the_first_group_has_run_it_for_a_while() -> None:
    doors = [fine("a"), unasked("b")]
    settled = decide(NOW, CANARY, doors, RULES)
    assert (settled.rollout.settled_at, settled.ask) == (NOW, ())
    assert decide(NOW + timedelta(minutes=59), settled.rollout, doors, RULES).rollout.group is Group.CANARY
    later = decide(NOW + timedelta(hours=1), settled.rollout, doors, RULES).rollout
    assert later.group is Group.REST
    assert decide(NOW, later, doors, RULES).ask == ("b",)


@pytest.mark.parametrize(
    ("rollout", "doors", "state"),
    [
        (CANARY, [door("a")], State.RUNNING),
        (CANARY, [failed("a"), fine("b")], State.HALTED),
        (CANARY, [silent("a"), fine("b")], State.HALTED),
        (REST, [fine("a"), fine("b")], State.DONE),
        (REST, [fine("a"), failed("b"), fine("c")], State.DONE),
        (REST, [fine("a"), failed("b"), silent("c")], State.HALTED),
        (REST, [*(fine(f"d{n}") for n in range(38)), failed("b"), silent("c")], State.DONE),
        (REST, [*(fine(f"d{n}") for n in range(37)), failed("b"), silent("c")], State.HALTED),
        (REST, [fine("a"), unasked("b")], State.RUNNING),
        (replace(REST, state=State.PAUSED), [fine("a"), unasked("b")], State.PAUSED),
        (replace(REST, state=State.HALTED), [fine("a"), unasked("b")], State.HALTED),
    ],
)
def test_where_a_rollout_goes_from_here(rollout: Rollout, doors: list[Door], state: State) -> None:
    decision = decide(NOW, rollout, doors, RULES)
    assert decision.rollout.state is state
    assert state in (State.RUNNING, State.DONE) or decision.ask == ()
    assert (decision.rollout.reason != "") == (state is State.HALTED and rollout.state is State.RUNNING)


def test_a_done_rollout_still_asks_a_door_that_comes_back() -> None:
    assert decide(NOW, replace(REST, state=State.DONE), [fine("a"), unasked("b")], RULES).ask == ("b",)


@pytest.mark.parametrize(
    "changes",
    [
        {"stop_share": float("nan")},
        {"stop_least": 0},
        {"canary_share": 0},
        {"canary_soak_s": -1},
        {"silent_after_s": 0},
    ],
)
def test_rules_that_make_no_sense_stop_everything(changes: dict[str, float]) -> None:
    rules = replace(RULES, **changes)  # type: ignore[arg-type]
    decision = decide(NOW, CANARY, [unasked("a")], rules)
    assert (decision.rollout.state, decision.ask) == (State.HALTED, ())
