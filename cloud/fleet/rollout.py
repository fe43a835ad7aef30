"""Who gets a release when, and when to stop: a small group first, everybody after a quiet while; knows no database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from math import ceil

from contract.fleet import Step


class State(StrEnum):
    """Where a rollout stands; `done` still asks doors that come back or are new."""

    RUNNING = "running"
    PAUSED = "paused"  # by hand
    DONE = "done"
    HALTED = "halted"  # by the stop rule, or because a newer release came first
    REVERTED = "reverted"  # by hand: an earlier release's bytes come back under a higher number
    REPLACED = "replaced"  # was done, and a newer release took its place


class Group(StrEnum):
    """Who is asked first."""

    CANARY = "canary"
    REST = "rest"


class Ending(StrEnum):
    """What became of one door that was asked."""

    OK = "ok"
    FAILED = "failed"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Rules:
    """When to go on and when to stop."""

    silent_after_s: float
    canary_soak_s: float
    canary_share: float = 0.05
    stop_share: float = 0.05  # of the doors that finished
    stop_least: int = 2  # fewer never stop the rest


@dataclass(frozen=True, slots=True)
class Rollout:
    """One release on its way; `settled_at`: since when the whole canary group has run it."""

    release: int
    state: State
    group: Group
    group_began_at: datetime
    settled_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """What was asked of a door and what it last said."""

    device: str
    present: bool  # heard lately; a door is only asked while it is
    asked: int = 0
    since: datetime | None = None  # when it was asked
    group: Group | None = None
    running: int = 0
    wanted: int = 0
    step: Step | None = None
    heard_at: datetime | None = None  # when its last report came


@dataclass(frozen=True, slots=True)
class Decision:
    """The rollout as it is now, and whom to ask for its release."""

    rollout: Rollout
    ask: tuple[str, ...] = ()


def decide(now: datetime, rollout: Rollout, doors: Sequence[Door], rules: Rules) -> Decision:
    """The next step; the same again until something changes. Malformed rules halt it."""
    if rollout.state not in (State.RUNNING, State.DONE):
        return Decision(rollout)
    if not _sound(rules):
        return Decision(replace(rollout, state=State.HALTED, reason="the rules of the rollout make no sense"))
    asked = [door for door in doors if door.asked == rollout.release]
    unasked = tuple(sorted(door.device for door in doors if door.asked < rollout.release and door.present))
    if rollout.state is State.DONE:
        return Decision(rollout, unasked)
    endings = {door.device: ending(now, door, rollout.release, rules) for door in asked}
    why = _stop(endings, rollout, rules)
    if why:
        return Decision(replace(rollout, state=State.HALTED, reason=why))
    if rollout.group is Group.CANARY:
        return _canary(now, rollout, doors, endings, rules)
    if not unasked and asked and all(endings.values()):
        return Decision(replace(rollout, state=State.DONE))
    return Decision(rollout, unasked)


def ending(now: datetime, door: Door, release: int, rules: Rules) -> Ending | None:
    """What became of a door that was asked for `release`; None while it is still at it, or was not asked."""
    if door.asked != release or door.since is None:
        return None
    if door.running == release and door.step in (Step.CONFIRMED, Step.IDLE):
        return Ending.OK
    if door.wanted == release and door.step is Step.ROLLED_BACK:
        return Ending.FAILED
    moved = door.heard_at if door.wanted == release and door.heard_at else door.since
    quiet = now - max(moved, door.since)
    return Ending.SILENT if quiet >= timedelta(seconds=rules.silent_after_s) else None


def canary_doors(release: int, doors: Sequence[str], share: float) -> tuple[str, ...]:
    """The doors that go first, another choice for each release: a share of them, two where there are four."""
    ordered = sorted(doors, key=lambda name: sha256(f"{release}:{name}".encode()).digest())
    least = 2 if len(doors) >= 4 else 1
    return tuple(sorted(ordered[: max(least, ceil(len(doors) * share))]))


def _canary(
    now: datetime, rollout: Rollout, doors: Sequence[Door], endings: dict[str, Ending | None], rules: Rules
) -> Decision:
    if not endings:
        chosen = canary_doors(rollout.release, [door.device for door in doors if door.present], rules.canary_share)
        return Decision(replace(rollout, settled_at=None), chosen)
    if not all(endings.values()):
        return Decision(replace(rollout, settled_at=None))
    settled = rollout.settled_at or now
    if now - settled < timedelta(seconds=rules.canary_soak_s):
        return Decision(replace(rollout, settled_at=settled))
    return Decision(replace(rollout, group=Group.REST, group_began_at=now, settled_at=settled))


def _stop(endings: dict[str, Ending | None], rollout: Rollout, rules: Rules) -> str:
    """Why to stop; empty: go on."""
    finished = [one for one in endings.values() if one]
    bad = sorted(name for name, one in endings.items() if one in (Ending.FAILED, Ending.SILENT))
    told = ", ".join(f"{name} {endings[name]}" for name in bad[:5])
    if rollout.group is Group.CANARY:
        return f"in the first group: {told}" if bad else ""
    if len(bad) >= rules.stop_least and len(bad) > rules.stop_share * len(finished):
        return f"{len(bad)} of {len(finished)} doors: {told}"
    return ""


def _sound(rules: Rules) -> bool:
    """Comparisons with NaN are false, so it halts as well."""
    return bool(
        rules.silent_after_s > 0
        and rules.canary_soak_s >= 0
        and 0 < rules.canary_share <= 1
        and 0 <= rules.stop_share < 1
        and rules.stop_least >= 1
    )
