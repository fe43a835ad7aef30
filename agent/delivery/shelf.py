"""One durable file of letters: SQLite that survives a power cut, with exact counts of what was ever given up."""

import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar
from uuid import UUID

T = TypeVar("T")

ROW_BYTES = 64  # what a row costs besides its payload, roughly
DEAD_LETTERS = 1000  # refused letters kept for a look

_TABLES = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, payload BLOB NOT NULL, protected INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS dead_letters (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS ledger (what TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing that the cloud must acknowledge by its id."""

    id: UUID
    payload: bytes
    protected: bool = False  # evicted after all that are not

    @property
    def cost(self) -> int:
        """Bytes that it counts against the cap."""
        return len(self.payload) + ROW_BYTES


class ShelfFullError(Exception):
    """The disk has no room for the commit; nothing of it was stored."""


class Shelf:
    """Letters in one SQLite file, WAL with synchronous=FULL: what `put` returned from is on the disk.

    Used from one thread. `size` and `waiting` are kept in step with the table.
    """

    waiting: int
    size: int  # bytes that count against the cap

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.waiting, self.size = self._db.execute(
            f"SELECT count(*), coalesce(sum(length(payload)), 0) + count(*) * {ROW_BYTES} FROM letters"  # noqa: S608
        ).fetchone()

    @classmethod
    def open(cls, path: Path) -> tuple[Self, bool]:
        """The shelf at `path`, and whether a broken file had to be set aside (as `<name>.broken-<n>`) to get one."""
        try:
            return cls(_connect(path)), False
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
        number = 1
        while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
            number += 1
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return cls(_connect(path)), True

    def put(self, letters: Iterable[Letter], *, lost: int = 0, what: str = "") -> None:
        """Store all or none; a letter that is already there stays as it is. Raises ShelfFullError.

        `lost` letters that could not be taken are added to the ledger's count of `what` in the same transaction.
        """

        def change() -> list[int]:
            if lost:
                self._note(what, lost)
            return [
                letter.cost
                for letter in letters
                if self._db.execute(
                    "INSERT OR IGNORE INTO letters (id, payload, protected) VALUES (?, ?, ?)",
                    (letter.id.bytes, letter.payload, letter.protected),
                ).rowcount
            ]

        stored = self._change(change)
        self.waiting += len(stored)
        self.size += sum(stored)

    def pending(self, limit: int, *, without: Collection[UUID] = ()) -> list[Letter]:
        """The oldest `limit` letters, leaving out those `without`."""
        cursor = self._db.execute(
            "SELECT id, payload, protected FROM letters ORDER BY number LIMIT ?", (limit + len(without),)
        )
        letters = (Letter(UUID(bytes=row[0]), row[1], bool(row[2])) for row in cursor)
        return [letter for letter in letters if letter.id not in without][:limit]

    def forget(self, ids: Collection[UUID], refused: dict[UUID, str]) -> int:
        """Drop what the cloud has stored, set aside what it refuses; returns how many were here."""

        def change() -> list[int]:
            for known, reason in refused.items():
                self._db.execute(
                    "INSERT INTO dead_letters (id, payload, reason) SELECT id, payload, ? FROM letters WHERE id = ?",
                    (reason, known.bytes),
                )
            self._db.execute(
                "DELETE FROM dead_letters WHERE number <= (SELECT max(number) FROM dead_letters) - ?", (DEAD_LETTERS,)
            )
            return [cost for known in (*ids, *refused) for cost in self._delete("id = ?", known.bytes)]

        return self._gone(self._change(change))

    def evict(self, wanted: int, *, protected: bool, what: str) -> int:
        """Give up the oldest letters until `wanted` bytes are free, counting them in the ledger; returns the bytes freed."""
        freed, numbers = 0, []
        for number, size in self._db.execute(
            "SELECT number, length(payload) FROM letters WHERE protected = ? ORDER BY number", (protected,)
        ):
            if freed >= wanted:
                break
            numbers.append(number)
            freed += size + ROW_BYTES

        def change() -> list[int]:
            self._note(what, len(numbers))
            return [cost for number in numbers for cost in self._delete("number = ?", number)]

        if numbers:
            self._gone(self._change(change))
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return freed

    def note(self, what: str, number: int) -> None:
        """Add `number` to the ledger's count of `what`."""
        self._change(lambda: self._note(what, number))

    def noted(self, what: str) -> int:
        """The ledger's count of `what`, ever."""
        row = self._db.execute("SELECT number FROM ledger WHERE what = ?", (what,)).fetchone()
        return int(row[0]) if row else 0

    def dead_letters(self) -> list[tuple[UUID, str]]:
        """What the cloud refused, oldest first, with its reason."""
        return [
            (UUID(bytes=known), reason)
            for known, reason in self._db.execute("SELECT id, reason FROM dead_letters ORDER BY number")
        ]

    def close(self) -> None:
        self._db.close()

    def _note(self, what: str, number: int) -> None:
        self._db.execute(
            "INSERT INTO ledger VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET number = number + excluded.number",
            (what, number),
        )

    def _delete(self, where: str, value: bytes | int) -> list[int]:
        return [
            size + ROW_BYTES
            for (size,) in self._db.execute(f"DELETE FROM letters WHERE {where} RETURNING length(payload)", (value,))  # noqa: S608
        ]

    def _gone(self, costs: list[int]) -> int:
        self.waiting -= len(costs)
        self.size -= sum(costs)
        return len(costs)

    def _change(self, change: Callable[[], T]) -> T:
        """Run `change` in a transaction of its own; raises ShelfFullError where the disk does not take it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            result = change()
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise ShelfFullError(str(error)) from error
            raise
        return result


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 1048576")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        db.executescript(_TABLES)
    except sqlite3.Error:
        db.close()
        raise
    return db
