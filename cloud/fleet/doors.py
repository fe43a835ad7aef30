"""Sites and doors as people set them: checked, stored, and told to the doors in the same transaction."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from cloud.fleet.hours import Hours, require_week, rules_of
from cloud.fleet.plans import require_sense
from cloud.store import doors as store
from cloud.store import writing
from cloud.store.doors import DoorRow, Site
from contract.errors import ContractError
from contract.fleet import REFUSED, DoorPlan, OpeningPlan, SamplingPlan

SLUG = r"[a-z0-9][a-z0-9-]{0,38}"
SET_OF_A_DOOR = ("title", "site", "note", "installed_at", "plan", "sampling", "week")
NOTHING = ""  # the version of what is not there
_REFUSAL = re.compile(rf"(?:^|; )((?:door|opening){REFUSED}.*)", re.ASCII | re.DOTALL)


class UnknownError(ContractError):
    """There is no site or no device of this name."""


class ChangedError(ContractError):
    """Somebody else changed it after it was read."""


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What people say of one device; None leaves a thing to the device's own settings, or to the site's."""

    title: str = ""
    site: str | None = None
    note: str = ""
    installed_at: date | None = None
    plan: DoorPlan | None = None
    sampling: SamplingPlan | None = None
    week: tuple[str, ...] | None = None


class Stage(StrEnum):
    """How far the newest word to a door has come."""

    NONE = "none"  # it was never told anything
    SENDING = "sending"  # the broker has not confirmed it
    SENT = "sent"  # the broker keeps it for the door
    TAKEN = "taken"  # the door acts on it
    REFUSED = "refused"  # the door took it but for a part that makes no sense to it


def stage_of(row: DoorRow) -> tuple[Stage, str]:
    """How far it has come, and what the door says against it."""
    if not row.number:
        return Stage.NONE, ""
    if row.published < row.number:
        return Stage.SENDING, ""
    if row.taken > row.number:
        return Stage.SENT, "the door follows a later word, of another database; save once more"
    if row.taken < row.number:
        return Stage.SENT, ""
    refusal = _REFUSAL.search(row.reason)
    return (Stage.REFUSED, refusal[1]) if refusal else (Stage.TAKEN, "")


def version_of(one: Site | DoorRow | None) -> str:
    """Another for everything that people may set of it."""
    if one is None:
        return NOTHING
    told = [getattr(one, name) for name in (Site.__slots__ if isinstance(one, Site) else SET_OF_A_DOOR)]
    return blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def save_site(engine: Engine, site: Site, now: datetime, *, seen: str | None = None) -> str:
    """Make or change a site, and tell its doors; returns its new version.

    `seen` is the version that the change was made on, None for whatever is there. Raises ChangedError where it is another,
    ContractError where its hours make no sense.
    """
    sound = replace(site, week=require_week(site.week), closed=tuple(sorted(set(site.closed))))
    with engine.begin() as connection:
        store.hold_sites(connection)
        _require_version(_site(connection, site.slug), seen)
        store.write_site(connection, sound)
        tell(connection, store.doors_of(connection, site.slug), now)
        writing.mark_change(connection)
        return version_of(_site(connection, site.slug))


def remove_site(engine: Engine, slug: str) -> None:
    """Raises UnknownError where there is none, ContractError while doors belong to it."""
    with engine.begin() as connection:
        store.hold_sites(connection)
        if held := store.doors_of(connection, slug):
            raise ContractError(f"{len(held)} doors belong to it ({', '.join(held[:3])}); give them another site first")
        if not store.delete_site(connection, slug):
            raise UnknownError(f"there is no site {slug[:60]!r}")
        writing.mark_change(connection)


def save_door(engine: Engine, device: str, settings: DoorSettings, now: datetime, *, seen: str | None = None) -> str:
    """Keep what people say of a device, and tell it; returns its new version.

    `seen` as for a site. Raises UnknownError, ChangedError, ContractError where something makes no sense.
    """
    week = require_week(settings.week) if settings.week is not None else None
    plan = require_sense(settings.plan) if settings.plan else None
    with engine.begin() as connection:
        store.hold_sites(connection)
        writing.lock_devices(connection, [device])
        _require_version(_require_device(connection, device), seen)
        if settings.site is not None and settings.site not in {one.slug for one in store.read_sites(connection)}:
            raise ContractError(f"there is no site {settings.site[:60]!r}")
        if week is not None and settings.site is None:
            raise ContractError("hours of its own need a site, whose clock they are meant on")
        row = {
            "device": device, "title": settings.title, "site": settings.site, "note": settings.note,
            "installed_at": settings.installed_at, "plan": plan.model_dump(mode="json") if plan else None,
            "sampling": settings.sampling.model_dump(mode="json") if settings.sampling else None,
            "week": list(week) if week else None,
        }  # fmt: skip
        store.write_door(connection, row)
        tell(connection, [device], now)
        writing.mark_change(connection)
        return version_of(_require_device(connection, device))


def forget_door(engine: Engine, device: str, now: datetime) -> None:
    """Back to the device's own settings. Raises UnknownError."""
    with engine.begin() as connection:
        _require_device(connection, device)
        store.delete_door(connection, device)
        tell(connection, [device], now)
        writing.mark_change(connection)


def tell(connection: Connection, names: Iterable[str], now: datetime) -> None:
    """Write the wishes that differ from what those devices were told last; the release in them is not touched."""
    rows = store.read_doors(connection, names)
    told = store.read_told(connection, [row.device for row in rows])
    known = {site.slug: site for site in store.read_sites(connection)}
    for row in rows:
        wanted = parts_for(row, known.get(row.site or ""))
        last: dict[str, Any] = told.get(row.device, {})
        if wanted != {part: last.get(part) for part in store.PARTS}:
            store.write_told(connection, row.device, wanted, above=row.taken, now=now)


def parts_for(row: DoorRow, site: Site | None) -> dict[str, dict[str, Any] | None]:
    """What a device is to be told beside its release."""
    opening = None
    if site:
        plan = OpeningPlan(time_zone=site.time_zone, open=rules_of(row.week or site.week), closed=site.closed)
        opening = plan.model_dump(mode="json")
    return {"sampling": row.sampling, "door": row.plan, "opening": opening}


def hours_of(row: DoorRow, site: Site | None) -> Hours | None:
    """When the door is open; None where nobody said, or in words that this machine does not know."""
    if site is None:
        return None
    try:
        return Hours.of(row.week or site.week, ZoneInfo(site.time_zone), site.closed)
    except (ContractError, KeyError, ValueError, OSError):  # another machine's list of zones
        return None


def _site(connection: Connection, slug: str) -> Site | None:
    return next((one for one in store.read_sites(connection) if one.slug == slug), None)


def _require_device(connection: Connection, device: str) -> DoorRow:
    for row in store.read_doors(connection, [device]):
        return row
    raise UnknownError(f"no device {device[:60]!r} ever spoke here")


def _require_version(one: Site | DoorRow | None, seen: str | None) -> None:
    if seen is None or seen == version_of(one):
        return
    if seen == NOTHING:
        raise ChangedError("there is one of this name already")
    raise ChangedError("somebody else changed it meanwhile; load the page again to see how it is now")
