"""A batch of opened messages into the database, once each: the same batch again changes nothing."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError

from cloud.ingest.parcels import HEAD_BYTES, Fault, Misfit, Parcel, Pass, Shot, digest
from cloud.store import fleet, writing
from cloud.store.blobs import Blobs
from contract.events import Acknowledgement, Refusal
from contract.health import Heartbeat


@dataclass(frozen=True, slots=True)
class Outcome:
    """What may be said after the commit: to each device, and about which messages not yet."""

    acknowledgements: dict[str, Acknowledgement]
    postponed: tuple[Parcel, ...] = ()  # crops whose picture could not be kept: try again, acknowledge nothing


@dataclass(slots=True)
class _Answer:
    stored: list[UUID] = field(default_factory=list)
    refused: dict[UUID, Refusal] = field(default_factory=dict)


def ingest(engine: Engine, blobs: Blobs, parcels: Sequence[Parcel], *, now: datetime) -> Outcome:
    """Keep the pictures, write everything else in one transaction, commit.

    A message that the database will never take goes to quarantine and does not take the others with it.
    Raises SQLAlchemyError where the database cannot be used now: then nothing was written and nothing may be
    acknowledged.
    """
    ready, postponed = _keep_pictures(blobs, parcels)
    answers: dict[str, _Answer] = defaultdict(_Answer)
    _write(engine, ready, now, answers)
    return Outcome(
        {
            device: Acknowledgement(stored=tuple(dict.fromkeys(answer.stored)), refused=tuple(answer.refused.values()))
            for device, answer in answers.items()
            if answer.stored or answer.refused
        },
        postponed,
    )


def _keep_pictures(blobs: Blobs, parcels: Sequence[Parcel]) -> tuple[list[Parcel], tuple[Parcel, ...]]:
    ready, postponed = [], []
    for parcel in parcels:
        try:
            if parcel.shot:
                blobs.put(parcel.shot.crop.jpeg)
        except OSError:
            postponed.append(parcel)
        else:
            ready.append(parcel)
    return ready, tuple(postponed)


def _write(engine: Engine, parcels: Sequence[Parcel], now: datetime, answers: dict[str, _Answer]) -> None:
    """One transaction; where a value is refused, halves of it, until the culprit stands alone."""
    if not parcels:
        return
    attempt: dict[str, _Answer] = defaultdict(_Answer)
    try:
        with engine.begin() as connection:
            _write_rows(connection, parcels, now, attempt)
    except (DataError, IntegrityError) as error:
        if len(parcels) == 1:
            if parcels[0].misfit and parcels[0].misfit.kind is Fault.UNSTORABLE:
                raise
            misfit = Misfit(Fault.UNSTORABLE, f"the database refuses it: {type(error.orig).__name__}")
            message, device = parcels[0].message, parcels[0].device
            _write(engine, [Parcel(message, device, refused=_refusals(parcels[0]), misfit=misfit)], now, answers)
            return
        half = len(parcels) // 2
        _write(engine, parcels[:half], now, answers)
        _write(engine, parcels[half:], now, answers)
        return
    for device, answer in attempt.items():
        answers[device].stored += answer.stored
        answers[device].refused |= answer.refused


def _refusals(parcel: Parcel) -> tuple[Refusal, ...]:
    ids = [one.event.id for one in parcel.passes] + ([parcel.shot.crop.header.id] if parcel.shot else [])
    return tuple(Refusal(id=one, reason="the database refuses it") for one in ids)


def _write_rows(connection: Connection, parcels: Sequence[Parcel], now: datetime, answers: dict[str, _Answer]) -> None:
    writing.touch_devices(
        connection, [p.device for p in parcels if p.device and not _is_last_will(p.heartbeat)], at=now
    )
    misfits = [(parcel, parcel.misfit) for parcel in parcels if parcel.misfit]
    misfits += _write_events(connection, parcels, now, answers)
    misfits += _write_crops(connection, parcels, now, answers)
    for parcel in parcels:
        if parcel.device and parcel.heartbeat:
            _write_health(connection, parcel.device, parcel.heartbeat, now)
        if parcel.device and parcel.reported:
            fleet.write_reported(connection, parcel.reported, now)
        if parcel.device:
            answers[parcel.device].refused |= {one.id: one for one in parcel.refused}
    writing.write_quarantine(connection, [_quarantined(parcel, misfit, now) for parcel, misfit in misfits])
    writing.mark_change(connection)


def _write_events(
    connection: Connection, parcels: Sequence[Parcel], now: datetime, answers: dict[str, _Answer]
) -> list[tuple[Parcel, Misfit]]:
    first: dict[UUID, tuple[Parcel, Pass]] = {}
    offered = [(parcel, one) for parcel in parcels for one in parcel.passes]
    for parcel, one in offered:
        first.setdefault(one.event.id, (parcel, one))
    written = writing.write_events(
        connection, [_event_row(parcel.device or "", one, now) for parcel, one in first.values()]
    )
    clashes: dict[int, list[UUID]] = defaultdict(list)
    for parcel, one in offered:
        device, known = parcel.device or "", one.event.id
        if known in written.conflicts or one.fingerprint != first[known][1].fingerprint:
            clashes[id(parcel)].append(known)
            answers[device].refused[known] = Refusal(id=known, reason="this id is stored with another body")
        else:
            answers[device].stored.append(known)
    return [
        (parcel, Misfit(Fault.CONFLICT, f"id {ids[0]} is stored with another body; the first is kept", len(ids)))
        for parcel in parcels
        if (ids := clashes.get(id(parcel)))
    ]


def _write_crops(
    connection: Connection, parcels: Sequence[Parcel], now: datetime, answers: dict[str, _Answer]
) -> list[tuple[Parcel, Misfit]]:
    offered = [(parcel, parcel.shot) for parcel in parcels if parcel.shot]
    first: dict[UUID, tuple[Parcel, Shot]] = {}
    for parcel, shot in offered:
        first.setdefault(shot.crop.header.id, (parcel, shot))
    written = writing.write_crops(
        connection, [_crop_row(parcel.device or "", shot, now) for parcel, shot in first.values()]
    )
    misfits = []
    for parcel, shot in offered:
        device, known = parcel.device or "", shot.crop.header.id
        if known in written.conflicts or shot.fingerprint != first[known][1].fingerprint:
            answers[device].refused[known] = Refusal(id=known, reason="this id is stored with another body")
            misfits.append((parcel, Misfit(Fault.CONFLICT, f"id {known} is stored with another body")))
        else:
            answers[device].stored.append(known)
    return misfits


def _write_health(connection: Connection, device: str, heartbeat: Heartbeat, now: datetime) -> None:
    if _is_last_will(heartbeat):
        writing.write_last_will(connection, device, heartbeat.boot)
        return
    row = heartbeat.model_dump(include={
        "state", "boot", "uptime_s", "release", "accelerator", "fps", "frames", "frames_dropped", "waiting",
        "waiting_bytes", "events_lost", "crops_lost",
    })  # fmt: skip
    writing.write_heartbeat(connection, device, row | {"heartbeat_at": now, "trouble": list(heartbeat.trouble)})
    writing.expect_passes(connection, device, heartbeat.boot, heartbeat.passes, now)


def _is_last_will(heartbeat: Heartbeat | None) -> bool:
    """The broker's word in the device's place carries no time; it is no sign of life."""
    return heartbeat is not None and heartbeat.state == "offline" and heartbeat.at is None


def _event_row(device: str, one: Pass, now: datetime) -> writing.Row:
    row = one.event.model_dump(exclude={"at", "line"})  # counts are per door: a camera's lines are added up
    timing = {"at": one.at, "claimed_at": one.claimed_at, "received_at": now}
    return row | timing | {"device": device, "fingerprint": one.fingerprint}


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
        "topic": message.topic[:300].replace("\0", "?"),
        "device": parcel.device,
        "kind": misfit.kind,
        "reason": misfit.reason[:500].replace("\0", "?"),
        "things": misfit.things,
        "size": len(message.payload),
        "head": message.payload[:HEAD_BYTES],
    }
