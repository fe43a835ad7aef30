"""What is kept of a batch: pictures before rows, nothing twice, and nothing of what was erased or has had its time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Engine

from cloud.ingest.parcels import Parcel, Shot
from cloud.rules import RetentionRules
from cloud.store import erasures, pictures
from cloud.store.arrivals import Pass
from cloud.store.blobs import Blobs
from cloud.upkeep.terms import too_late


@dataclass(frozen=True, slots=True)
class Kept:
    """Which parcels can be written now, and which must wait because the blobs do not answer."""

    ready: tuple[Parcel, ...]
    postponed: tuple[Parcel, ...] = ()
    trusted: frozenset[str] = frozenset()  # pictures that were not put, since a row said that they are kept


@dataclass(frozen=True, slots=True)
class Erased:
    """Ids that are not to be stored."""

    passes: frozenset[str]
    crops: frozenset[UUID]


def keep_pictures(engine: Engine, blobs: Blobs, parcels: Sequence[Parcel]) -> Kept:
    """Put the pictures of which no row says that they are kept; raises SQLAlchemyError where the rows cannot be asked.

    After the first picture that cannot be kept the others of this batch are not tried: a store that stalls would hold
    up the passes for as long again with each of them.
    """
    shots = [parcel.shot for parcel in parcels if parcel.shot]
    if not shots:
        return Kept(tuple(parcels))
    digests = {one.crop.header.jpeg_digest for one in shots}
    with engine.begin() as connection:
        trusted = pictures.known_digests(connection, digests)
        leaving = pictures.rescue(connection, digests - trusted)
        unwanted = _erased_shots(connection, parcels, erasures.read(connection))
        unwanted |= pictures.gone_ids(connection, {one.crop.header.id for one in shots})
    ready: list[Parcel] = []
    postponed: list[Parcel] = []
    failed = False
    for parcel in parcels:
        shot = parcel.shot
        if shot is None or shot.crop.header.id in unwanted or shot.crop.header.jpeg_digest in trusted:
            ready.append(parcel)
        elif failed or shot.crop.header.jpeg_digest in leaving:
            postponed.append(parcel)
        else:
            try:
                blobs.put(shot.crop.jpeg)
            except OSError:
                failed = True
                postponed.append(parcel)
            else:
                ready.append(parcel)
    return Kept(tuple(ready), tuple(postponed), trusted)


def lost_since(connection: Connection, parcels: Sequence[Parcel], kept: Kept) -> list[Parcel]:
    """Those that trust in a row which has gone since; the rows of the others stay until this transaction ends."""
    trusting = [one for one in parcels if one.shot and one.shot.crop.header.jpeg_digest in kept.trusted]
    held = pictures.hold(connection, {_digest(one) for one in trusting}) if trusting else frozenset()
    return [one for one in trusting if _digest(one) not in held]


def erased_by_now(
    connection: Connection, parcels: Sequence[Parcel], others: Sequence[Parcel], rules: RetentionRules, now: datetime
) -> Erased:
    """What of the batch is only to be told as stored; no erasure comes in before the transaction ends.

    `others` are the parcels that hold more than passes which their doors dated.
    """
    spans = erasures.spans(connection)
    crops = _erased_shots(connection, others, spans)
    dated_by_us = {UUID(one.id) for parcel in others for one in parcel.passes if one.seen.claimed_at is not None}
    passes = {str(one) for one in erasures.buried(connection, dated_by_us)} if dated_by_us else set()
    here = {one.device for one in parcels} if spans else set()
    about_events = [one for one in spans if one.events and (one.device is None or one.device in here)]
    if about_events or rules.event_days is not None:
        passes |= {one.id for parcel in parcels for one in parcel.passes if _has_gone(one, about_events, rules, now)}
    return Erased(frozenset(passes), frozenset(crops))


def _has_gone(one: Pass, spans: Sequence[erasures.Erasure], rules: RetentionRules, now: datetime) -> bool:
    if one.synchronised and too_late(one.seen.claimed, rules, now):
        return True
    return any(erasure.covers(one.device, one.seen.at, one.seen.claimed) for erasure in spans)


def _erased_shots(
    connection: Connection, parcels: Sequence[Parcel], spans: Sequence[erasures.Erasure]
) -> set[UUID]:  # fmt: skip
    shots = [(parcel.device or "", parcel.shot) for parcel in parcels if parcel.shot]
    if not shots:
        return set()
    found = set(erasures.buried(connection, {shot.crop.header.id for _, shot in shots}))
    found |= {shot.crop.header.id for device, shot in shots if _covered(spans, device, shot)}
    return found


def _covered(spans: Sequence[erasures.Erasure], device: str, shot: Shot) -> bool:
    return any(one.covers(device, shot.at, shot.crop.header.at) for one in spans)


def _digest(parcel: Parcel) -> str:
    return parcel.shot.crop.header.jpeg_digest if parcel.shot else ""
