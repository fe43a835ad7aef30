"""What the authority remembers: tokens (as digests), serials, revocations, and who asked for what, in one SQLite file."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from contract.errors import ContractError, TryAgainError

_TABLES = """
create table if not exists tokens (
    digest text primary key, device text not null, expires_at integer not null, spent_at integer);
create table if not exists certificates (
    serial text primary key, name text not null, expires_at integer not null, revoked_at integer);
create table if not exists lists (number integer primary key autoincrement, at integer not null);
create table if not exists audit (at integer not null, what text not null, name text not null, detail text not null);
"""


@dataclass(frozen=True, slots=True)
class Token:
    """A one-time token as it is stored: by its digest."""

    digest: str
    device: str
    expires_at: datetime
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit."""

    at: datetime
    what: str
    name: str
    detail: str


class Registry:
    """The file `registry.db` beside the CA's key; used from one thread, by any number of processes.

    Every change and its line in the audit are one transaction.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises ContractError where the file cannot be used."""
        try:
            database = sqlite3.connect(path, timeout=10, isolation_level=None)
            database.execute("pragma synchronous=full")
            database.executescript(_TABLES)
        except sqlite3.Error as error:
            raise ContractError(f"cannot use {path}: {error}") from error
        return cls(database)

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, for itself alone; raises TryAgainError where the file cannot be written now."""
        try:
            self._database.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._database.execute("rollback")
                raise
            self._database.execute("commit")
        except sqlite3.Error as error:
            raise TryAgainError(f"the registry cannot be written now ({error}); try again") from error

    def add_token(self, token: Token) -> None:
        self._database.execute(
            "insert into tokens (digest, device, expires_at) values (?, ?, ?)",
            (token.digest, token.device, _seconds(token.expires_at)),
        )

    def token(self, digest: str) -> Token | None:
        row = self._database.execute(
            "select digest, device, expires_at, spent_at from tokens where digest = ?", (digest,)
        ).fetchone()
        return Token(row[0], row[1], _instant(row[2]), row[3] is not None) if row else None

    def spend(self, digest: str, *, now: datetime) -> None:
        self._database.execute("update tokens set spent_at = ? where digest = ?", (_seconds(now), digest))

    def spend_all(self, device: str, *, now: datetime) -> int:
        """Take back the device's unused tokens; returns how many."""
        return self._database.execute(
            "update tokens set spent_at = ? where device = ? and spent_at is null", (_seconds(now), device)
        ).rowcount

    def add_certificate(self, serial: int, name: str, expires_at: datetime) -> None:
        self._database.execute(
            "insert into certificates (serial, name, expires_at) values (?, ?, ?)",
            (f"{serial:x}", name, _seconds(expires_at)),
        )

    def knows(self, name: str) -> bool:
        """Whether a certificate or a token was ever made for this name."""
        return (
            self._database.execute(
                "select 1 from certificates where name = ?1 union all select 1 from tokens where device = ?1", (name,)
            ).fetchone()
            is not None
        )

    def revoke(self, name: str, *, now: datetime) -> int:
        """Mark every certificate of `name` as revoked; returns how many were not yet."""
        return self._database.execute(
            "update certificates set revoked_at = ? where name = ? and revoked_at is null", (_seconds(now), name)
        ).rowcount

    def revoked(self, *, now: datetime) -> list[tuple[int, datetime]]:
        """Serial and time of every revocation that still matters: what has run out needs no list."""
        rows = self._database.execute(
            "select serial, revoked_at from certificates where revoked_at is not null and expires_at > ? order by 2, 1",
            (_seconds(now),),
        )
        return [(int(serial, 16), _instant(at)) for serial, at in rows]

    def next_list(self, *, now: datetime) -> int:
        """A number greater than that of every revocation list before."""
        number = self._database.execute("insert into lists (at) values (?)", (_seconds(now),)).lastrowid
        return int(number or 0)

    def note(self, what: str, name: str, detail: str, *, now: datetime) -> None:
        """Add a line to the audit."""
        self._database.execute("insert into audit values (?, ?, ?, ?)", (_seconds(now), what, name, detail))

    def audit(self) -> list[Entry]:
        """Everything noted, oldest first."""
        rows = self._database.execute("select at, what, name, detail from audit order by rowid")
        return [Entry(_instant(at), what, name, detail) for at, what, name, detail in rows]


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
