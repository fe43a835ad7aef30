"""One durable file of letters: SQLite that survives a power cut, with exact counts of what was ever given up."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

from agent.clock import Stamp

T = TypeVar("T")

ROW_BYTES = 64  # what a row costs besides its payload, roughly
DEAD_LETTERS = 1000  # refused letters kept for a look

_TABLES = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, payload BLOB NOT NULL, protected INTEGER NOT NULL,
    boot BLOB, counted_s REAL, born_s REAL NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS dead_letters (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS ledger (what TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_ADDED = {"boot": "BLOB", "counted_s": "REAL", "born_s": "REAL NOT NULL DEFAULT 0"}  # since files without them exist
_UNDATED = "CREATE INDEX IF NOT EXISTS undated ON letters (number) WHERE boot IS NOT NULL"
_LETTER = "id, payload, protected, boot, counted_s"
_SIZE = f"coalesce(sum(length(payload)), 0) + count(*) * {ROW_BYTES}"
_UNWILLING = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
)  # fmt: skip
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing that the cloud must acknowledge by its id."""

    id: UUID
    payload: bytes
    protected: bool = False  # evicted after all that are not
    stamp: Stamp | None = None  # when it was counted, where the payload's time is not known to be right

    @property
    def cost(self) -> int:
        """Bytes that it counts against the cap."""
        return len(self.payload) + ROW_BYTES


class DiskError(Exception):
    """The disk does not do it now: full, read-only or failing. Nothing of the change was stored."""

    def __init__(self, error: sqlite3.OperationalError) -> None:
        super().__init__(str(error))
        self.full = _code(error) == sqlite3.SQLITE_FULL


class Shelf:
    """Letters in one SQLite file, WAL with synchronous=FULL: what `put` returned from is on the disk.

    Used from one thread. `size` and `waiting` are kept in step with the table. A file that turns out broken is set aside
    (as `<name>.broken-<n>`), counted in `set_aside`, and a new one takes its place.
    """

    waiting: int
    undated: int  # of these, letters whose time is not known yet
    size: int  # bytes that count against the cap
    newest: int  # greatest number that a letter ever had, in this process

    def __init__(self, path: Path | None) -> None:
        """At `path`, or in memory. Raises sqlite3.OperationalError where the file cannot be opened or made."""
        self._path = path
        self.set_aside = self.newest = 0
        self._noted: dict[str, int] = {}
        try:
            self._db = _connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._start_anew()
        else:
            self._take_stock()

    @classmethod
    def in_memory(cls) -> Self:
        """For a device that has no disk to write to."""
        return cls(None)

    def put(self, letters: Iterable[Letter], *, lost: int = 0, what: str = "", born_s: float = 0.0) -> None:
        """Store all or none; a letter that is already there stays as it is. Raises DiskError.

        `lost` letters that could not be taken are added to the ledger's count of `what` in the same transaction.
        """

        def change() -> list[Letter]:
            if lost:
                self._note(what, lost)
            return [
                letter for number, letter in enumerate(letters, self.newest + 1) if self._insert(number, letter, born_s)
            ]

        letters = list(letters)
        stored = self._change(change)
        self.newest += len(letters)
        self.waiting += len(stored)
        self.undated += sum(letter.stamp is not None for letter in stored)
        self.size += sum(letter.cost for letter in stored)

    def pending(
        self, limit: int, *, without: Collection[UUID] = (), after: int = 0, until: int | None = None
    ) -> list[Letter]:
        """The oldest `limit` letters whose time is known, leaving out those `without`, numbered above `after` up to `until`."""
        most = min(limit + len(without), self.waiting - self.undated)
        if limit <= 0 or most <= 0:
            return []
        cursor = self._read(
            "SELECT number, id FROM letters WHERE boot IS NULL AND number > ? AND number <= ? ORDER BY number LIMIT ?",
            (after, self.newest if until is None else until, most),
        )
        skip = {known.bytes for known in without}
        numbers = [number for number, known in cursor if known not in skip][:limit]
        return [_letter(*self._read(f"SELECT {_LETTER} FROM letters WHERE number = ?", (one,))[0]) for one in numbers]  # noqa: S608

    def by_id(self, ids: Iterable[UUID]) -> list[Letter]:
        """Those of `ids` that are here."""
        query = f"SELECT {_LETTER} FROM letters WHERE id = ?"  # noqa: S608
        return [_letter(*row) for known in ids for row in self._read(query, (known.bytes,))]

    def to_date(self, limit: int) -> list[Letter]:
        """The oldest letters whose time is not known yet."""
        query = f"SELECT {_LETTER} FROM letters WHERE boot IS NOT NULL ORDER BY number LIMIT ?"  # noqa: S608
        return [_letter(*row) for row in self._read(query, (limit,))] if self.undated else []

    def undated_boots(self) -> list[Stamp]:
        """The last moment of each boot that has letters without a time, oldest boot first."""
        query = "SELECT boot, max(counted_s) FROM letters WHERE boot IS NOT NULL GROUP BY boot ORDER BY max(number)"
        return [Stamp(UUID(bytes=boot), at_s) for boot, at_s in self._read(query)]

    def date(self, letters: Sequence[Letter]) -> None:
        """Take these letters' payloads and stamps in place of what is stored under their ids. Raises DiskError."""

        def change() -> int:
            grown = 0
            for one in letters:
                boot, at_s = (one.stamp.boot.bytes, one.stamp.at_s) if one.stamp else (None, None)
                for (size,) in self._db.execute("SELECT length(payload) FROM letters WHERE id = ?", (one.id.bytes,)):
                    grown += len(one.payload) - size
                self._db.execute(
                    "UPDATE letters SET payload = ?, boot = ?, counted_s = ? WHERE id = ?",
                    (one.payload, boot, at_s, one.id.bytes),
                )
            return grown

        self.size += self._change(change)
        self._count_undated()

    def forget(self, ids: Collection[UUID], refused: dict[UUID, str]) -> int:
        """Drop what the cloud has stored, set aside what it refuses; returns how many were here. Raises DiskError."""

        def change() -> list[int]:
            for known, reason in refused.items():
                self._db.execute(
                    "INSERT INTO dead_letters (id, payload, reason) SELECT id, payload, ? FROM letters WHERE id = ?",
                    (reason, known.bytes),
                )
            if refused:
                self._db.execute(
                    "DELETE FROM dead_letters WHERE number <= (SELECT max(number) FROM dead_letters) - ?",
                    (DEAD_LETTERS,),
                )
            return [cost for known in (*ids, *refused) for cost in self._delete("id = ?", known.bytes)]

        return self._gone(self._change(change))

    def evict(self, wanted: int, *, protected: bool, what: str) -> int:
        """Give up the oldest letters until `wanted` bytes are free, counting them in the ledger; returns the bytes freed."""
        freed, numbers = 0, []
        query = "SELECT number, length(payload) FROM letters WHERE protected = ? ORDER BY number"
        for number, size in self._read(query, (protected,)):
            if freed >= wanted:
                break
            numbers.append(number)
            freed += size + ROW_BYTES
        self._give_up(numbers, what)
        return freed

    def expire(self, born_before_s: float, *, what: str, limit: int = 200) -> int:
        """Give up letters that are too old, counting them in the ledger; returns how many. Raises DiskError."""
        oldest = self._read("SELECT number, born_s FROM letters ORDER BY number LIMIT ?", (limit,))
        numbers = [number for number, born_s in oldest if born_s < born_before_s]
        self._give_up(numbers, what)
        return len(numbers)

    def bear_later(self, after: int, by_s: float) -> None:
        """Letters numbered above `after` were born `by_s` later than they say. Raises DiskError."""
        self._change(lambda: self._db.execute("UPDATE letters SET born_s = born_s + ? WHERE number > ?", (by_s, after)))

    def note(self, what: str, number: int) -> None:
        """Add `number` to the ledger's count of `what`. Raises DiskError."""
        self._change(lambda: self._note(what, number))

    def keep(self, values: dict[str, int]) -> None:
        """Set the ledger's numbers. Raises DiskError."""

        def change() -> None:
            for what, number in values.items():
                self._db.execute("INSERT OR REPLACE INTO ledger VALUES (?, ?)", (what, number))

        self._change(change)

    def noted(self, what: str) -> int:
        """The ledger's count of `what`, ever; what it was at the last look, where the disk does not answer."""
        with suppress(DiskError):
            rows = self._read("SELECT number FROM ledger WHERE what = ?", (what,))
            self._noted[what] = int(rows[0][0]) if rows else 0
        return self._noted.get(what, 0)

    def dead_letters(self) -> list[tuple[UUID, str]]:
        """What the cloud refused, oldest first, with its reason."""
        rows = self._read("SELECT id, reason FROM dead_letters ORDER BY number")
        return [(UUID(bytes=known), reason) for known, reason in rows]

    def close(self) -> None:
        self._db.close()

    def _insert(self, number: int, letter: Letter, born_s: float) -> bool:
        boot, at_s = (letter.stamp.boot.bytes, letter.stamp.at_s) if letter.stamp else (None, None)
        return bool(
            self._db.execute(
                "INSERT OR IGNORE INTO letters VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, letter.id.bytes, letter.payload, letter.protected, boot, at_s, born_s),
            ).rowcount
        )

    def _give_up(self, numbers: Sequence[int], what: str) -> None:
        def change() -> list[int]:
            self._note(what, len(numbers))
            return [cost for number in numbers for cost in self._delete("number = ?", number)]

        if numbers:
            self._gone(self._change(change))
            with suppress(sqlite3.DatabaseError):  # only a tidying up
                self._db.execute("PRAGMA incremental_vacuum").fetchall()
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _note(self, what: str, number: int) -> None:
        self._db.execute(
            "INSERT INTO ledger VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET number = number + excluded.number",
            (what, number),
        )

    def _delete(self, where: str, value: bytes | int) -> list[int]:
        query = f"DELETE FROM letters WHERE {where} RETURNING length(payload)"  # noqa: S608
        return [size + ROW_BYTES for (size,) in self._db.execute(query, (value,))]

    def _gone(self, costs: list[int]) -> int:
        self.waiting -= len(costs)
        self.size -= sum(costs)
        if self.undated:
            self._count_undated()
        return len(costs)

    def _read(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        return self._heeding(lambda: self._db.execute(query, values).fetchall())

    def _change(self, change: Callable[[], T]) -> T:
        """Run `change` in a transaction of its own. Raises DiskError."""

        def whole() -> T:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                result = change()
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            return result

        return self._heeding(whole)

    def _heeding(self, work: Callable[[], T]) -> T:
        """Do `work`; on a disk that is unwilling raise DiskError, on a broken file do it on a new one."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and _code(error) in _UNWILLING:
                raise DiskError(error) from error
            if _code(error) not in _BROKEN:
                raise
        self._db.close()
        self._start_anew()
        return work()

    def _start_anew(self) -> None:
        if self._path is not None:
            number = 1
            while (aside := self._path.with_name(f"{self._path.name}.broken-{number}")).exists():
                number += 1
            self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self.set_aside += 1
        self._db = _connect(self._path)
        self._take_stock()

    def _take_stock(self) -> None:
        (greatest,) = self._db.execute("SELECT coalesce(max(number), 0) FROM letters").fetchone()
        self.newest = max(self.newest, greatest)
        self.waiting, self.size = self._db.execute(f"SELECT count(*), {_SIZE} FROM letters").fetchone()  # noqa: S608
        self._count_undated()

    def _count_undated(self) -> None:
        (self.undated,) = self._db.execute("SELECT count(*) FROM letters WHERE boot IS NOT NULL").fetchone()


def _letter(known: bytes, payload: bytes, protected: int, boot: bytes | None, at_s: float | None) -> Letter:
    stamp = Stamp(UUID(bytes=boot), at_s) if boot is not None and at_s is not None else None
    return Letter(UUID(bytes=known), payload, bool(protected), stamp)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _connect(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=5.0)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 1048576")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        db.executescript(_TABLES)
        known = {row[1] for row in db.execute("PRAGMA table_info(letters)")}
        for name, kind in _ADDED.items():
            if name not in known:
                db.execute(f"ALTER TABLE letters ADD COLUMN {name} {kind}")
        db.execute(_UNDATED)
    except sqlite3.Error:
        db.close()
        raise
    return db
