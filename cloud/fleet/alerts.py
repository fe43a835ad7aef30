"""What deserves somebody's attention: a table of rules, and when an alert opens, is repeated and closes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cloud.counts.claims import Share
from contract.events import Accelerator
from contract.trouble import CAMERA, words_for

DAY = timedelta(days=1)
GONE_AFTER = timedelta(days=30)  # a door that is silent for longer was taken down
LOST_FOR = timedelta(hours=1)  # so long a loss counts as one that goes on
FLOODS_FOR = timedelta(seconds=90)  # more than the consumer's usual cool-down, after which it looks again
CORAL_AGO = timedelta(days=30)  # a door that had no accelerator for longer has none


class Kind(StrEnum):
    """What may be wrong."""

    DOOR_SILENT = "door_silent"
    CAMERA = "camera"
    ACCELERATOR_LOST = "accelerator_lost"
    COVERAGE_LOW = "coverage_low"
    COMPLIANCE_LOW = "compliance_low"
    OUTBOX_LOSING = "outbox_losing"
    FLOODING = "flooding"
    CONSUMER_AWAY = "consumer_away"
    BROKER_DOWN = "broker_down"
    CERTIFICATE_ENDING = "certificate_ending"
    SIGNATURES_ENDING = "signatures_ending"
    REVOCATIONS_ENDING = "revocations_ending"
    DOOR_CERTIFICATE = "door_certificate"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one kind is named, and for how long it must be so before it opens, and be well before it closes."""

    title: str
    opens_after: timedelta
    closes_after: timedelta


RULES: Mapping[Kind, Rule] = {
    Kind.DOOR_SILENT: Rule("door silent", timedelta(minutes=3), timedelta(minutes=1)),
    Kind.CAMERA: Rule("camera in trouble", timedelta(minutes=2), timedelta(minutes=5)),
    Kind.ACCELERATOR_LOST: Rule("accelerator lost", timedelta(minutes=10), timedelta(minutes=5)),
    Kind.COVERAGE_LOW: Rule("coverage low", timedelta(minutes=30), timedelta(minutes=10)),
    Kind.COMPLIANCE_LOW: Rule("compliance low", timedelta(minutes=15), timedelta(minutes=15)),
    Kind.OUTBOX_LOSING: Rule("outbox losing passes", timedelta(0), timedelta(0)),
    Kind.FLOODING: Rule("flooding", timedelta(seconds=10), timedelta(minutes=5)),
    Kind.CONSUMER_AWAY: Rule("no consumer running", timedelta(minutes=1), timedelta(seconds=30)),
    Kind.BROKER_DOWN: Rule("broker out of reach", timedelta(minutes=1), timedelta(seconds=30)),
    Kind.CERTIFICATE_ENDING: Rule("certificate about to end", timedelta(0), timedelta(0)),
    Kind.SIGNATURES_ENDING: Rule("release signatures about to end", timedelta(0), timedelta(0)),
    Kind.REVOCATIONS_ENDING: Rule("revocation list about to end", timedelta(0), timedelta(0)),
    Kind.DOOR_CERTIFICATE: Rule("door's certificate about to end", timedelta(0), timedelta(0)),
}

Key = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the lines are drawn."""

    silent_after: timedelta
    coverage: float | None  # least share of today's opening hours; None: no such alert
    compliance: float | None  # the same of properly worn masks
    compliance_passes: int  # under so many nothing is said of it
    certificate: timedelta


@dataclass(frozen=True, slots=True)
class DoorFacts:
    """What is known of a door at one moment."""

    device: str
    name: str  # as people call it
    is_open: bool  # by its opening hours; without any it always is
    offline: bool  # by its own last word
    last_seen: datetime
    accelerator: Accelerator | None = None
    edgetpu_at: datetime | None = None
    words: tuple[str, ...] | None = None  # None: its agent is too old to say them
    trouble: tuple[str, ...] = ()
    events_lost: int = 0
    losing_at: datetime | None = None
    certificate_ends: datetime | None = None  # None: its agent does not say, or it has none
    coverage_today: float | None = None
    compliance: Share | None = None
    passes: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind, looked at in one place: bad, well, or (None) not to be said now."""

    kind: Kind
    subject: str  # a device, or a part of the service
    bad: bool | None
    reason: str = ""
    door: str | None = None
    name: str = ""  # of the subject, for people
    asleep: bool = False  # nobody wants to hear of it now

    @property
    def key(self) -> Key:
        return self.kind, self.subject


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """One that is open."""

    opened_at: datetime
    reminded_at: datetime
    reason: str


class What(StrEnum):
    """What happens to an alert."""

    OPENED = "opened"
    REMINDER = "reminder"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Change:
    """To be stored and told."""

    what: What
    finding: Finding


def judge_door(now: datetime, door: DoorFacts, limits: Limits, *, reachable: bool = True) -> tuple[Finding, ...]:
    """Every rule about one door; none once it was taken down.

    Where no door is `reachable`, for want of a broker or a consumer, silence says nothing of this one.
    """
    quiet = now - door.last_seen
    if quiet > GONE_AFTER:
        return ()
    away = door.offline or quiet > limits.silent_after
    words = door.words if door.words is not None else words_for(door.trouble)
    camera = [text for text in door.trouble if set(words_for([text])) & CAMERA] or list(door.trouble)
    losing = door.losing_at is not None and now - door.losing_at <= LOST_FOR
    had_coral = door.edgetpu_at is not None and now - door.edgetpu_at <= CORAL_AGO
    verdicts: tuple[tuple[Kind, bool | None, str], ...] = (
        (
            Kind.DOOR_SILENT,
            away if reachable else None,
            "it said goodbye, or lost the broker" if door.offline else "it says nothing",
        ),
        (Kind.CAMERA, None if away else bool(CAMERA & set(words)), "; ".join(camera[:2])),
        (
            Kind.ACCELERATOR_LOST,
            None if away or door.accelerator is None else door.accelerator is Accelerator.CPU and had_coral,
            "it counts on the CPU, where it had a Coral",
        ),
        (Kind.COVERAGE_LOW, None if away else _low(door.coverage_today, limits.coverage), _coverage(door, limits)),
        (Kind.COMPLIANCE_LOW, _compliance_low(door, limits), _compliance(door, limits)),
        (Kind.DOOR_CERTIFICATE, *_ending(now, door.certificate_ends, limits.certificate)),
        (Kind.OUTBOX_LOSING, losing, f"its outbox is full: {door.events_lost} passes were given up in all"),
    )
    return tuple(
        Finding(kind, door.device, bad, _plain(reason) if bad else "", door.device, door.name, asleep=not door.is_open)
        for kind, bad, reason in verdicts
    )


def judge_flood(now: datetime, device: str, name: str, latest: datetime, rate: float | None) -> Finding:
    """A door whose messages are no longer opened; `rate` is how many a second came lately, where that is known."""
    much = "too many messages" if rate is None else f"about {rate:,.0f} messages a second too many"
    reason = f"it sends {much}: they are counted, not opened; revoke its certificate if it goes on"
    bad = now - latest <= FLOODS_FOR
    return Finding(Kind.FLOODING, device, bad, reason if bad else "", door=device, name=name)


def judge_end(now: datetime, kind: Kind, subject: str, ends: datetime, within: timedelta) -> Finding:
    """Something that ends at a known time."""
    bad, said = _ending(now, ends, within)
    return Finding(kind, subject, bad, said, name=subject)


def judge_service(*, alive: bool, connected: bool) -> tuple[Finding, ...]:
    """Whether a consumer runs, and whether the broker is there for it."""
    return (
        Finding(Kind.CONSUMER_AWAY, "consumer", not alive, "messages wait at the broker; start `cloud consume`", name="the consumer"),
        Finding(
            Kind.BROKER_DOWN, "broker", not connected if alive else None,
            "the consumer cannot reach it; doors keep their passes until it is back", name="the broker",
        ),
    )  # fmt: skip


def step(
    now: datetime, open_alerts: Mapping[Key, OpenAlert], waiting: Mapping[Key, datetime], findings: Iterable[Finding]
) -> tuple[Sequence[Change], dict[Key, datetime]]:
    """What changes, and since when each verdict that is not yet acted upon has held.

    A finding that is asleep opens nothing and repeats nothing. What is open and is no longer looked at is closed.
    """
    changes, still, seen = list[Change](), dict[Key, datetime](), set[Key]()
    for one in findings:
        seen.add(one.key)
        known, rule = open_alerts.get(one.key), RULES[one.kind]
        against = one.bad is True and not one.asleep if known is None else one.bad is False
        if against:
            since = waiting.get(one.key, now)
            if now - since >= (rule.opens_after if known is None else rule.closes_after):
                changes.append(Change(What.OPENED if known is None else What.CLOSED, one))
            else:
                still[one.key] = since
        elif known and one.bad and not one.asleep and now - known.reminded_at >= DAY:
            changes.append(Change(What.REMINDER, one))
    for key in open_alerts.keys() - seen:
        changes.append(Change(What.CLOSED, Finding(*key, False, "it is no longer watched", name=key[1])))
    return changes, still


def _ending(now: datetime, ends: datetime | None, within: timedelta) -> tuple[bool | None, str]:
    if ends is None:
        return None, ""
    left = ends - now
    return left <= within, f"it ended on {ends:%Y-%m-%d}" if left <= timedelta(0) else f"it ends on {ends:%Y-%m-%d}"


def _plain(text: str) -> str:
    """A device's own words may hold anything; a database or a mail server may not take it."""
    return "".join(one if one.isprintable() else "?" for one in text)[:300]


def _low(value: float | None, limit: float | None) -> bool | None:
    """Between the limit and a little above nothing is said, so that it does not flutter."""
    if value is None or limit is None:
        return None
    return True if value < limit else False if value >= min(1.0, limit + 0.05) else None


def _compliance_low(door: DoorFacts, limits: Limits) -> bool | None:
    """Bad where the whole interval lies below the line, well where the share itself is above it."""
    if limits.compliance is None or door.compliance is None or door.passes < limits.compliance_passes:
        return None
    if door.compliance.high < limits.compliance:
        return True
    return False if door.compliance.rate >= limits.compliance else None


def _coverage(door: DoorFacts, limits: Limits) -> str:
    if door.coverage_today is None or limits.coverage is None:
        return ""
    return (
        f"{door.coverage_today:.0%} of today's opening hours were looked at; at least {limits.coverage:.0%} should be"
    )


def _compliance(door: DoorFacts, limits: Limits) -> str:
    if door.compliance is None or limits.compliance is None:
        return ""
    share = door.compliance
    return (
        f"{share.rate:.0%} (interval {share.low:.0%} to {share.high:.0%}) of {door.passes} passes wore a mask properly; "
        f"the line is {limits.compliance:.0%}"
    )
