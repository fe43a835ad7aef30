"""A batch of opened messages into the database, once each: the same batch again changes nothing."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from operator import itemgetter
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError

from cloud.ingest.keeping import Erased, Kept, erased_by_now, keep_pictures, lost_since
from cloud.ingest.parcels import HEAD_BYTES, Fault, Message, Misfit, Parcel, Shot, digest
from cloud.rules import RetentionRules
from cloud.store import coverage, fleet, pictures, writing
from cloud.store.arrivals import BootTally
from cloud.store.blobs import Blobs
from cloud.store.vitals import write_vitals
from contract.events import Acknowledgement, Refusal
from contract.health import Coverage, Heartbeat
from contract.plain import plain_acknowledgement

DEFAULT_RULES = RetentionRules()
IDS_AT_ONCE, REFUSALS_AT_ONCE = 2_000, 80  # of one message to a device: under 128 KB, whatever the reasons say
HEALTH = (
    "state", "boot", "uptime_s", "release", "accelerator", "fps", "frames", "frames_dropped", "waiting", "waiting_bytes",
    "events_lost", "crops_lost", "drift",
)  # fmt: skip

_ID, _OWNED = itemgetter(0), itemgetter(0, 1)  # of a pass: its id; its id and its device


@dataclass(slots=True)
class Answer:
    """What may be said to one device; ids stay the texts that they came as, since most are only sent back."""

    ids: list[str] = field(default_factory=list)
    refusals: dict[UUID, Refusal] = field(default_factory=dict)

    @property
    def stored(self) -> tuple[UUID, ...]:
        """What is committed."""
        return tuple(map(UUID, self.ids))

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What never will be."""
        return tuple(self.refusals.values())

    def payloads(self) -> Iterator[bytes]:
        """Of `acks` messages, each small enough for every broker: one that is too large would end the connection, again and again."""
        for start in range(0, len(self.ids), IDS_AT_ONCE):
            yield plain_acknowledgement(self.ids[start : start + IDS_AT_ONCE])
        refused = self.refused
        for start in range(0, len(refused), REFUSALS_AT_ONCE):
            yield Acknowledgement(stored=(), refused=refused[start : start + REFUSALS_AT_ONCE]).encode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What may be said after the commit: to each device, and about which messages not yet."""

    acknowledgements: dict[str, Answer]
    postponed: tuple[Parcel, ...] = ()  # crops whose picture could not be kept: try again, acknowledge nothing
    clashed: tuple[Message, ...] = ()  # what looked sound until the database was asked


@dataclass(frozen=True, slots=True)
class _Batch:
    """What every part of one batch is written with."""

    now: datetime
    kept: Kept
    rules: RetentionRules
    told: coverage.Told
    lost: list[Parcel] = field(default_factory=list)
    clashed: list[Message] = field(default_factory=list)
    covered: dict[str, Coverage] = field(default_factory=dict)  # to be remembered once it is committed


def ingest(
    engine: Engine,
    blobs: Blobs,
    parcels: Sequence[Parcel],
    *,
    now: datetime,
    rules: RetentionRules = DEFAULT_RULES,
    told: coverage.Told | None = None,
) -> Outcome:
    """Keep the pictures, write everything else in one transaction, commit.

    A message that the database will never take goes to quarantine and does not take the others with it. What was erased
    is told to be stored, so that the door forgets it, and nothing of it is kept.
    Raises SQLAlchemyError where the database cannot be used now: then nothing was written and nothing may be
    acknowledged.
    """
    kept = keep_pictures(engine, blobs, parcels)
    answers: dict[str, Answer] = defaultdict(Answer)
    batch = _Batch(now, kept, rules, told or coverage.Told())
    _write(engine, kept.ready, batch, answers)
    for answer in answers.values():
        answer.ids = list(dict.fromkeys(answer.ids))
    said = {device: answer for device, answer in answers.items() if answer.ids or answer.refusals}
    return Outcome(said, (*kept.postponed, *batch.lost), tuple(batch.clashed))


def _write(engine: Engine, parcels: Sequence[Parcel], batch: "_Batch", answers: dict[str, Answer]) -> None:
    """One transaction; where a value is refused, halves of it, until the culprit stands alone."""
    if not parcels:
        return
    attempt: dict[str, Answer] = defaultdict(Answer)
    try:
        with engine.begin() as connection:
            lost = _write_rows(connection, parcels, batch, attempt)
    except (DataError, IntegrityError, OverflowError, UnicodeError) as error:  # the last two before they reach it
        if len(parcels) == 1:
            if parcels[0].misfit and parcels[0].misfit.kind is Fault.UNSTORABLE:
                raise
            misfit = Misfit(
                Fault.UNSTORABLE, f"the database refuses it: {type(getattr(error, 'orig', error)).__name__}"
            )
            message, device = parcels[0].message, parcels[0].device
            _write(engine, [Parcel(message, device, refused=_refusals(parcels[0]), misfit=misfit)], batch, answers)
            return
        half = len(parcels) // 2
        _write(engine, parcels[:half], batch, answers)
        _write(engine, parcels[half:], batch, answers)
        return
    batch.lost.extend(lost)
    batch.told.remember(batch.covered, batch.now)
    for device, answer in attempt.items():
        answers[device].ids += answer.ids
        answers[device].refusals |= answer.refusals


def _refusals(parcel: Parcel) -> tuple[Refusal, ...]:
    ids = [UUID(one.id) for one in parcel.passes] + ([parcel.shot.crop.header.id] if parcel.shot else [])
    return tuple(Refusal(id=one, reason="the database refuses it") for one in ids)


def _write_rows(
    connection: Connection, parcels: Sequence[Parcel], batch: _Batch, answers: dict[str, Answer]
) -> list[Parcel]:
    """Everything of a batch but those whose picture has gone since we looked, which are returned.

    Tables in one order and rows by key, so that two consumers never wait for each other in a ring; rows that many batches
    share (hours, boots, devices, changes) come last, so that they wait briefly.
    """
    now = batch.now
    others = [one for one in parcels if not one.plain]
    heard = {one.device for one in others if one.device and not _is_last_will(one.heartbeat)}
    alive = sorted(heard | {one.device for one in parcels if one.plain and one.device})
    writing.register_devices(connection, alive, now)
    lost = lost_since(connection, others, batch.kept)
    if lost:
        parcels, others = ([one for one in some if one not in lost] for some in (parcels, others))
    erased = erased_by_now(connection, parcels, others, batch.rules, now)
    misfits = [(parcel, parcel.misfit) for parcel in others if parcel.misfit]
    clashes, tallies = _write_events(connection, parcels, now, answers, erased)
    misfits += clashes
    misfits += _write_crops(connection, others, now, answers, erased)
    beats = sorted(
        ((p.device, p.heartbeat) for p in others if p.device and p.heartbeat), key=lambda one: one[0]
    )  # of one device in the order they came
    counted = [BootTally(name, beat.boot, 0, beat.passes) for name, beat in beats if not _is_last_will(beat)]
    writing.merge_boots(connection, [*tallies, *counted], now)
    writing.lock_devices(connection, sorted({*alive, *(name for name, _ in beats)}))
    writing.see_devices(connection, alive, now)
    _write_health(connection, beats, batch)
    for report in sorted((p.reported for p in others if p.device and p.reported), key=lambda one: one.device):
        fleet.write_reported(connection, report, now)
    for parcel in others:
        if parcel.device and parcel.refused:
            answers[parcel.device].refusals |= {one.id: one for one in parcel.refused}
    batch.clashed.extend(parcel.message for parcel, _ in misfits if parcel.misfit is None)
    writing.write_quarantine(connection, [_quarantined(parcel, misfit, now) for parcel, misfit in misfits])
    writing.mark_change(connection)
    return lost


def _write_events(
    connection: Connection,
    parcels: Sequence[Parcel],
    now: datetime,
    answers: dict[str, Answer],
    erased: Erased,
) -> tuple[list[tuple[Parcel, Misfit]], tuple[BootTally, ...]]:
    offered = list(chain.from_iterable([parcel.passes for parcel in parcels]))
    first = dict(zip(map(_ID, reversed(offered)), reversed(offered), strict=True))
    gone = erased.passes
    wanted = [one for known, one in first.items() if known not in gone] if gone else list(first.values())
    written = writing.write_events(connection, wanted, now)
    if not written.conflicts and len(first) == len(offered):
        for known, device in map(_OWNED, offered):
            answers[device].ids.append(known)
        return [], written.boots
    misfits = []
    for parcel in parcels:
        clashes: list[UUID] = []
        for one in parcel.passes:
            known = UUID(one.id)
            if one.fingerprint != written.conflicts.get(known, first[one.id].fingerprint):
                clashes.append(known)
                answers[one.device].refusals[known] = Refusal(id=known, reason="this id is stored with another body")
            else:
                answers[one.device].ids.append(one.id)
        if clashes:
            reason = f"id {clashes[0]} is stored with another body; the first is kept"
            misfits.append((parcel, Misfit(Fault.CONFLICT, reason, len(clashes))))
    return misfits, written.boots


def _write_crops(
    connection: Connection,
    parcels: Sequence[Parcel],
    now: datetime,
    answers: dict[str, Answer],
    erased: Erased,
) -> list[tuple[Parcel, Misfit]]:
    offered = [(parcel, parcel.shot) for parcel in parcels if parcel.shot]
    first: dict[UUID, tuple[Parcel, Shot]] = {}
    for parcel, shot in offered:
        first.setdefault(shot.crop.header.id, (parcel, shot))
    conflicts = writing.write_crops(
        connection,
        [
            _crop_row(parcel.device or "", shot, now)
            for known, (parcel, shot) in first.items()
            if known not in erased.crops
        ],
    )
    pictures.doom(
        connection, (shot.crop.header.jpeg_digest for known, (_, shot) in first.items() if known in erased.crops), now
    )
    misfits = []
    for parcel, shot in offered:
        device, known = parcel.device or "", shot.crop.header.id
        if shot.fingerprint != conflicts.get(known, first[known][1].fingerprint):
            answers[device].refusals[known] = Refusal(id=known, reason="this id is stored with another body")
            misfits.append((parcel, Misfit(Fault.CONFLICT, f"id {known} is stored with another body")))
        else:
            answers[device].ids.append(str(known))
    return misfits


def _write_health(connection: Connection, beats: Sequence[tuple[str, Heartbeat]], batch: _Batch) -> None:
    """The newest word of each device, as if all had been written one after the other; of coverage, every one."""
    newest: dict[str, Heartbeat] = {}
    wills: dict[str, UUID] = {}
    hours: list[coverage.CoveredHour] = []
    for name, beat in beats:
        if _is_last_will(beat):
            wills[name] = beat.boot
            continue
        wills.pop(name, None)
        newest[name] = beat
        if beat.coverage:
            hours += batch.told.moved(name, beat.coverage)
            batch.covered[name] = beat.coverage
    writing.write_heartbeats(connection, {name: _health_row(beat, batch.now) for name, beat in newest.items()})
    coverage.write_coverage(connection, hours, batch.now)
    write_vitals(connection, newest, batch.now)
    for name, boot in sorted(wills.items()):
        writing.write_last_will(connection, name, boot)


def _health_row(beat: Heartbeat, now: datetime) -> writing.Row:
    row: writing.Row = {name: getattr(beat, name) for name in HEALTH}
    board = beat.board.model_dump(exclude_none=True) if beat.board else None
    return row | {"heartbeat_at": now, "trouble": list(beat.trouble), "board": board}


def _is_last_will(heartbeat: Heartbeat | None) -> bool:
    """The broker's word in the device's place carries no time; it is no sign of life."""
    return heartbeat is not None and heartbeat.state == "offline" and heartbeat.at is None


def _crop_row(device: str, shot: Shot, now: datetime) -> writing.Row:
    header = shot.crop.header
    return {
        "id": header.id,
        "device": device,
        "at": shot.at,
        "claimed_at": shot.claimed_at,
        "received_at": now,
        "role": header.role,
        "window": header.window,
        "jpeg_digest": header.jpeg_digest,
        "jpeg_bytes": len(shot.crop.jpeg),
        "width": shot.picture.width,
        "height": shot.picture.height,
        "header": header.model_dump(mode="json"),
        "fingerprint": shot.fingerprint,
    }


def _quarantined(parcel: Parcel, misfit: Misfit, now: datetime) -> writing.Row:
    message = parcel.message
    return {
        "digest": digest(message),
        "received_at": now,
        "last_received_at": now,
        "deliveries": 1,
        "topic": _storable(message.topic)[:300],
        "device": parcel.device,
        "kind": misfit.kind,
        "reason": _storable(misfit.reason)[:500],
        "things": misfit.things,
        "size": len(message.payload),
        "head": message.payload[:HEAD_BYTES],
    }


def _storable(text: str) -> str:
    """Without what a database does not take: NUL, and halves of surrogate pairs."""
    return text.encode(errors="replace").decode().replace("\0", "?")
