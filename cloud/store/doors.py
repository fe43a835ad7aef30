"""The statements about sites and doors: what people say of them, and what the doors are told of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.schema import devices, doors_desired, reported
from cloud.store.schema_doors import doors, sites

PARTS = ("sampling", "door", "opening")  # of a desired state, beside the release


@dataclass(frozen=True, slots=True)
class Site:
    """A place with one clock and one set of opening hours."""

    slug: str
    name: str
    time_zone: str
    week: tuple[str, ...]  # seven texts, Monday first
    closed: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class DoorRow:
    """A device with what people say of it, and how far the newest word to it has come."""

    device: str
    title: str  # "": none was given
    site: str | None
    note: str
    installed_at: date | None
    plan: dict[str, Any] | None
    sampling: dict[str, Any] | None
    week: tuple[str, ...] | None
    number: int  # of the newest word; 0: there is none
    published: int  # the number that the broker has confirmed
    taken: int  # the number that the device says it acts on
    reason: str  # what it says is wrong with it


def read_sites(connection: Connection) -> tuple[Site, ...]:
    """All of them, by name."""
    query = select(sites).order_by(sites.c.name, sites.c.slug)
    return tuple(
        Site(
            row["slug"], row["name"], row["time_zone"], tuple(row["week"]),
            tuple(date.fromisoformat(one) for one in row["closed"]),
        )
        for row in connection.execute(query).mappings()
    )  # fmt: skip


def hold_sites(connection: Connection) -> None:
    """Nobody else changes sites, or which doors belong to them, until the transaction ends."""
    connection.execute(update(sites).values(slug=sites.c.slug))


def write_site(connection: Connection, site: Site) -> None:
    """Make it, or replace it."""
    row = {
        "slug": site.slug, "name": site.name, "time_zone": site.time_zone, "week": list(site.week),
        "closed": [one.isoformat() for one in site.closed],
    }  # fmt: skip
    _put(connection, sites, sites.c.slug, row)


def delete_site(connection: Connection, slug: str) -> bool:
    """False where there is none. Its doors must have left it."""
    return bool(connection.execute(delete(sites).where(sites.c.slug == slug)).rowcount)


def doors_of(connection: Connection, slug: str) -> list[str]:
    """The devices of a site, by name."""
    query = select(doors.c.device).where(doors.c.site == slug).order_by(doors.c.device)
    return list(connection.execute(query).scalars())


def read_doors(connection: Connection, names: Iterable[str] | None = None) -> tuple[DoorRow, ...]:
    """All devices, or those, by name; one that nobody described has empty settings."""
    joined = (
        devices.outerjoin(doors, doors.c.device == devices.c.name)
        .outerjoin(doors_desired, doors_desired.c.device == devices.c.name)
        .outerjoin(reported, reported.c.device == devices.c.name)
    )
    described = (
        doors.c.title,
        doors.c.site,
        doors.c.note,
        doors.c.installed_at,
        doors.c.plan,
        doors.c.sampling,
        doors.c.week,
    )
    sent = (
        func.coalesce(doors_desired.c.number, 0).label("number"),
        func.coalesce(doors_desired.c.published_number, 0).label("published"),
        func.coalesce(reported.c.number, 0).label("taken"),
        func.coalesce(reported.c.reason, "").label("reason"),
    )
    query = select(devices.c.name, *described, *sent).select_from(joined).order_by(devices.c.name)
    if names is not None:
        query = query.where(devices.c.name.in_(list(names)))
    return tuple(
        DoorRow(
            row["name"], row["title"] or "", row["site"], row["note"] or "", row["installed_at"], row["plan"],
            row["sampling"], tuple(row["week"]) if row["week"] else None, row["number"], row["published"], row["taken"],
            row["reason"],
        )
        for row in connection.execute(query).mappings()
    )  # fmt: skip


def write_door(connection: Connection, row: dict[str, Any]) -> None:
    """Replace what people say of the device `row["device"]`, which must be known."""
    _put(connection, doors, doors.c.device, row)


def delete_door(connection: Connection, device: str) -> bool:
    """Forget what people said of a device; False where nobody did."""
    return bool(connection.execute(delete(doors).where(doors.c.device == device)).rowcount)


def read_told(connection: Connection, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By device: the parts of the newest word to it, and its number."""
    columns = [doors_desired.c[part] for part in PARTS]
    query = select(doors_desired.c.device, doors_desired.c.number, *columns)
    rows = connection.execute(query.where(doors_desired.c.device.in_(list(names)))).mappings()
    return {row["device"]: dict(row) for row in rows}


def write_told(
    connection: Connection, device: str, parts: dict[str, dict[str, Any] | None], *, above: int, now: datetime
) -> None:
    """A new word to a device, its number over `above` too; the release it was asked for stays as it is."""
    insert = _insert(connection, doors_desired)
    first = {"device": device, "number": above + 1, "release": 0, "group": "", "since": now, **parts}
    grown = func.max if connection.dialect.name == "sqlite" else func.greatest
    number = grown(doors_desired.c.number, above) + 1
    statement = insert.values(**first).on_conflict_do_update(
        index_elements=[doors_desired.c.device], set_={**parts, "number": number}
    )
    connection.execute(statement)


def _put(connection: Connection, table: Any, key: Any, row: dict[str, Any]) -> None:
    changed = {name: value for name, value in row.items() if name != key.name}
    insert = _insert(connection, table).values(**row)
    connection.execute(insert.on_conflict_do_update(index_elements=[key], set_=changed))


def _insert(connection: Connection, table: Any) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
