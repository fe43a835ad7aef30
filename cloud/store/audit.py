"""The audit log: rows that nobody changes, each of whose hashes covers the one before."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, true, update

from cloud.store.schema_accounts import audit, audit_head

BEGIN = "0" * 64
WHO_LIMIT, WHAT_LIMIT, ABOUT_LIMIT, DETAIL_LIMIT = 80, 40, 200, 300
PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """One row."""

    number: int
    at: datetime
    who: str
    what: str
    about: str
    detail: dict[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the whole chain found; `fault` names the first broken row."""

    rows: int
    head: str
    fault: str | None = None


def write(connection: Connection, now: datetime, who: str, what: str, about: str = "", **detail: Any) -> int:
    """Add a row within the caller's transaction, which from here on holds every other writer off; its number."""
    grown = update(audit_head).values(number=audit_head.c.number + 1)
    number, previous = connection.execute(grown.returning(audit_head.c.number, audit_head.c.hash)).one()
    row = {
        "number": number, "at": now.astimezone(UTC), "who": _plain(who, WHO_LIMIT), "what": _plain(what, WHAT_LIMIT),
        "about": _plain(about, ABOUT_LIMIT), "detail": {key: _value(one) for key, one in detail.items()},
        "previous": previous,
    }  # fmt: skip
    row["hash"] = chained(row)
    connection.execute(audit.insert().values(**row))
    connection.execute(update(audit_head).values(hash=row["hash"]))
    return int(number)


def chained(row: Mapping[str, Any]) -> str:
    """The hash of a row: SHA-256 of its fields as canonical JSON, the hash before included."""
    fields = [
        row["number"], row["at"].astimezone(UTC).isoformat(timespec="microseconds"), row["who"], row["what"],
        row["about"], row["detail"], row["previous"],
    ]  # fmt: skip
    return sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verify(connection: Connection) -> Verdict:
    """Walk the chain from its first row; rows that were changed, taken out, put in or cut off at the end are found."""
    walked = _walk(connection, Verdict(0, BEGIN))
    connection.execute(
        update(audit_head).values(number=audit_head.c.number)
    )  # writers wait for the few rows that are left
    if walked.fault is None:
        walked = _walk(connection, walked)
    head = connection.execute(select(audit_head)).mappings().first()
    if walked.fault is None and (head is None or (head["number"], head["hash"]) != (walked.rows, walked.head)):
        return replace(walked, fault=f"row {walked.rows + 1} is missing: the newest rows were cut off")
    return walked


def hash_at(connection: Connection, number: int) -> str | None:
    """The hash of a row; None where there is none of this number."""
    found: str | None = connection.execute(select(audit.c.hash).where(audit.c.number == number)).scalar()
    return found


def read(
    connection: Connection, *, who: str = "", what: str = "", about: str = "", before: int | None = None
) -> list[Entry]:
    """Up to PER_PAGE + 1 rows, the newest first, below number `before`; empty filters let everything through.

    `who` and `about` are found as parts, `what` whole.
    """
    wanted: ColumnElement[bool] = true()
    if before is not None:
        wanted &= audit.c.number < before
    if who:
        wanted &= audit.c.who.contains(who, autoescape=True)
    if about:
        wanted &= audit.c.about.contains(about, autoescape=True)
    if what:
        wanted &= audit.c.what == what
    rows = connection.execute(select(audit).where(wanted).order_by(audit.c.number.desc()).limit(PER_PAGE + 1))
    return [Entry(**row) for row in rows.mappings()]


def kinds(connection: Connection) -> list[str]:
    """Every `what` there is, for the filter."""
    return list(connection.execute(select(audit.c.what).distinct().order_by(audit.c.what)).scalars())


def _walk(connection: Connection, known: Verdict) -> Verdict:
    """Go on after the rows that are known to be sound, to the end or the first fault."""
    expected, previous = known.rows + 1, known.head
    newer = select(audit).where(audit.c.number > known.rows) if known.rows else select(audit)
    with connection.execute(newer.order_by(audit.c.number).execution_options(yield_per=500)) as rows:
        for row in rows.mappings():
            at, fault = f"row {row['number']}", None
            if row["number"] != expected:
                fault = f"row {expected} is missing"
            elif row["previous"] != previous:
                fault = f"{at} does not follow the row before it"
            elif row["hash"] != chained(dict(row)):
                fault = f"{at} was changed: its hash is another's"
            if fault is not None:
                return Verdict(expected - 1, previous, fault)
            expected, previous = expected + 1, row["hash"]
    return Verdict(expected - 1, previous)


def _plain(text: str, limit: int) -> str:
    """What every database keeps as it is: no NUL, no half surrogates, not too long."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[:limit])


def _value(value: Any) -> str | int | bool | None:
    return value if value is None or isinstance(value, bool | int) else _plain(str(value), DETAIL_LIMIT)
