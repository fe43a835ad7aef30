"""The device's outbox: events and crops until the cloud has them, within a cap, on a full disk and without one."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self
from uuid import UUID

from agent.clock import Reading, boot_starts
from agent.delivery.age import DAY_S, Age
from agent.delivery.shelf import DiskError, Letter, Shelf
from contract.errors import ContractError

BALLAST_BYTES = 5 * 1024 * 1024  # given up on a full disk, so that there is room to delete in
SPARE_BYTES = 1024 * 1024  # of events kept in memory alone while the disk takes none: three hours of a busy door
DATED_AT_ONCE = 500  # events whose time is put right in one commit
TEND_S = 60.0  # between two looks at how old things are
KEEP_S = 3600.0  # between two notes of it on the disk
CROP_DAYS = 7
_NO_DISK = (errno.EROFS, errno.EIO)
_NO_ROOM = 1024 * 1024  # a disk that fails with less than this free is called full

Redate = Callable[[bytes, datetime, bool], bytes]


class Outbox:
    """Two shelves, `events.db` and `crops.db`, under one cap: oldest crops go first, control crops next, events last.

    Used from one thread. Whatever is given up is counted, in the same transaction where the disk allows. Events that the
    disk does not take wait in memory, up to SPARE_BYTES, and are sent from there.
    """

    def __init__(
        self, events: Shelf, crops: Shelf, *, cap_bytes: int, ballast: Path | None, crop_days: int = CROP_DAYS,
        event_days: int | None = None,
    ) -> None:  # fmt: skip
        self._events = events
        self._crops = crops
        self._cap = cap_bytes
        self._ballast = ballast  # None: there is no disk
        self._crop_days, self._event_days = crop_days, event_days
        self._age = Age.restored({name: crops.noted(name) for name in ("age_s", "known_at", "known_age_s")})
        self._inherited = ((events, events.newest), (crops, crops.newest))
        self._tended_s = self._kept_s = float("-inf")
        self._spare: dict[UUID, Letter] = {}  # events that the disk did not take, oldest first
        self._unwritten_losses = 0  # events given up that are not yet in the ledger
        self._unwritten_crops = 0  # likewise
        self.disk_full = False
        self.disk_away = ballast is None  # read-only or failing
        self._take_ballast()

    @classmethod
    def open(cls, folder: Path, *, cap_bytes: int, crop_days: int = CROP_DAYS, event_days: int | None = None) -> Self:
        """Crops older than `crop_days` are given up, and events older than `event_days`, if that is said.

        Raises ContractError where the folder cannot be written; on a read-only or failing disk everything is in memory.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _require_writable(folder)
            events, crops = _shelves(folder)
        except OSError as error:
            if error.errno in _NO_DISK:
                return cls._without_disk()
            raise ContractError(
                f"cannot write the outbox {folder}: {error.strerror}; set outbox.folder to a folder of the agent's own"
            ) from error
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR or _free(folder) < _NO_ROOM:
                return cls._without_disk()
            raise
        ballast = folder / "ballast"
        return cls(events, crops, cap_bytes=cap_bytes, ballast=ballast, crop_days=crop_days, event_days=event_days)

    @classmethod
    def _without_disk(cls) -> Self:
        return cls(Shelf.in_memory(), Shelf.in_memory(), cap_bytes=2 * SPARE_BYTES, ballast=None)

    @property
    def waiting(self) -> int:
        """Letters not yet acknowledged."""
        return self._events.waiting + self._crops.waiting + len(self._spare)

    @property
    def waiting_bytes(self) -> int:
        return self._events.size + self._crops.size + sum(letter.cost for letter in self._spare.values())

    @property
    def in_memory(self) -> int:
        """Events that a power cut would take."""
        return len(self._spare) if self._ballast else self._events.waiting

    @property
    def undated(self) -> int:
        """Events that wait for the right time before they may be sent."""
        return self._events.undated

    @property
    def newest(self) -> int:
        """The number of the newest event; events get growing ones."""
        return self._events.newest

    @property
    def events_lost(self) -> int:
        """Events that were refused for want of room, or outlived their age, ever."""
        return self._events.noted("events_lost") + self._unwritten_losses

    @property
    def crops_lost(self) -> int:
        """Crops that were given up for want of room or for their age, ever."""
        return self._crops.noted("crops_lost") + self._unwritten_crops

    @property
    def files_set_aside(self) -> int:
        """Database files found broken, ever."""
        fresh = self._events.set_aside + self._crops.set_aside
        if fresh:
            with suppress(DiskError):
                self._events.note("files_set_aside", fresh)
                self._events.set_aside = self._crops.set_aside = fresh = 0
        return self._events.noted("files_set_aside") + fresh

    def put_events(self, letters: Sequence[Letter]) -> int:
        """Store events in one commit; returns how many had to be refused (cap full of events; no disk and no memory)."""
        if not letters:
            return 0
        over = self.waiting_bytes + sum(letter.cost for letter in letters) - self._cap
        if over > 0:
            self._evict_crops(over)
        kept = list(letters)
        while kept and self.waiting_bytes + sum(letter.cost for letter in kept) > self._cap:
            kept.pop()
        refused = len(letters) - len(kept)
        if self._store_events([*self._spare.values(), *kept], refused):
            self._spare.clear()
            return refused
        return refused + self._spare_events(kept)

    def put_crop(self, letter: Letter) -> bool:
        """Store a crop, at the cost of older ones; False where there is no room even so."""
        over = self.waiting_bytes + letter.cost - self._cap
        taken = over <= 0 or self._evict_crops(over) >= over
        try:
            self._crops.put(
                [letter] if taken else [],
                lost=self._unwritten_crops + (not taken),
                what="crops_lost",
                born_s=self._age.s,
            )
            self._unwritten_crops = 0
        except DiskError as error:
            self._take_note(error)
            self._unwritten_crops += 1
            return False
        return taken

    def pending_events(
        self, limit: int, *, without: Collection[UUID] = (), after: int = 0, until: int | None = None
    ) -> list[Letter]:
        """The oldest events whose time is known, leaving out those `without`, numbered above `after` up to `until`."""
        limit = max(0, limit)
        spare = [one for one in self._spare.values() if one.id not in without and one.stamp is None]
        try:
            return [*spare, *self._events.pending(limit, without=without, after=after, until=until)][:limit]
        except DiskError as error:
            self._take_note(error)
            return spare[:limit]

    def find_events(self, ids: Collection[UUID]) -> list[Letter]:
        """Those of `ids` that are still here."""
        try:
            found = self._events.by_id(known for known in ids if known not in self._spare)
        except DiskError as error:
            self._take_note(error)
            found = []
        return [*(self._spare[known] for known in ids if known in self._spare), *found]

    def find_crops(self, ids: Collection[UUID]) -> list[Letter]:
        """Those of `ids` that are still here."""
        try:
            return self._crops.by_id(ids)
        except DiskError as error:
            self._take_note(error)
            return []

    def pending_crops(self, limit: int, *, without: Collection[UUID] = ()) -> list[Letter]:
        """The oldest crops, leaving out those `without`."""
        try:
            return self._crops.pending(limit, without=without)
        except DiskError as error:
            self._take_note(error)
            return []

    def forget(self, stored: Collection[UUID], refused: dict[UUID, str]) -> int:
        """Take the cloud's word for these ids; unknown ones are ignored. Returns how many letters left."""
        spared = sum(self._spare.pop(known, None) is not None for known in (*stored, *refused))
        try:
            left = self._events.forget(stored, refused) + self._crops.forget(stored, refused)
        except DiskError as error:  # no room to delete in: the cloud is asked again, and answers again
            self._make_room(error)
            return spared
        if left and (self.disk_full or self.disk_away):
            self._take_ballast()
        return left + spared

    def date_events(self, reading: Reading, redate: Redate, *, settle: bool = False) -> int:
        """Put right the time of events that were counted before it was known: `redate` makes a letter's new payload.

        Without a time to trust nothing happens, unless they shall `settle` for what they say. Returns how many were dated.
        """
        if not (reading.trusted or settle):
            return 0
        here = {reading.stamp.boot: reading.at - timedelta(seconds=reading.stamp.at_s)} if reading.trusted else {}
        self._spare = {one.id: _dated(one, here, reading, redate) if one.stamp else one for one in self._spare.values()}
        if not self._events.undated:
            return 0
        try:
            letters = self._events.to_date(DATED_AT_ONCE)
            starts = boot_starts(self._events.undated_boots(), reading) if reading.trusted else {}
            self._events.date([_dated(one, starts, reading, redate) for one in letters])
        except DiskError as error:
            self._make_room(error)
            return 0
        return len(letters)

    def tend(self, now: Reading) -> None:
        """To be called often; now and then it gives up what is too old, and tries the disk for what waits in memory."""
        if now.stamp.at_s - self._tended_s < TEND_S:
            return
        self._tended_s = now.stamp.at_s
        dark_s = self._age.grow(now)
        try:
            for shelf, inherited in (
                self._inherited if dark_s else ()
            ):  # what came since the start was not there in the dark
                shelf.bear_later(inherited, dark_s)
            self._crops.expire(self._age.s - self._crop_days * DAY_S, what="crops_lost")
            if self._event_days:
                self._events.expire(self._age.s - self._event_days * DAY_S, what="events_lost")
            if now.stamp.at_s - self._kept_s >= KEEP_S:
                self._crops.keep(self._age.as_values())
                self._kept_s = now.stamp.at_s
        except DiskError as error:
            self._take_note(error)
        if self.disk_full and self._ballast and _free(self._ballast.parent) > 2 * BALLAST_BYTES:
            self._take_ballast()
        self._store_spare()

    def refused(self) -> list[tuple[UUID, str]]:
        """What the cloud will never store, oldest first, with its reason."""
        return [*self._events.dead_letters(), *self._crops.dead_letters()]

    def close(self) -> None:
        self._store_spare()
        self._events.close()
        self._crops.close()

    def _store_events(self, letters: list[Letter], refused: int) -> bool:
        for attempt in range(2):
            try:
                lost = refused + self._unwritten_losses
                self._events.put(letters, lost=lost, what="events_lost", born_s=self._age.s)
            except DiskError as error:
                self._make_room(error)
                if attempt == 0:
                    continue
                self._unwritten_losses += refused
                return False
            break
        self._unwritten_losses = 0
        self.disk_away = self._ballast is None
        return True

    def _store_spare(self) -> None:
        if self._spare and self._store_events(list(self._spare.values()), 0):
            self._spare.clear()

    def _spare_events(self, letters: Sequence[Letter]) -> int:
        """Keep them in memory as long as there is room; returns how many had to be refused."""
        room, refused = SPARE_BYTES - sum(one.cost for one in self._spare.values()), 0
        for one in letters:
            if one.cost <= room:
                self._spare[one.id] = one
                room -= one.cost
            else:
                refused += 1
        self._unwritten_losses += refused
        return refused

    def _take_note(self, error: DiskError) -> None:
        if error.full or (self._ballast and _free(self._ballast.parent) < _NO_ROOM):
            self.disk_full = True
        else:
            self.disk_away = True

    def _make_room(self, error: DiskError) -> None:
        """Give the ballast and then every crop to a full disk."""
        self._take_note(error)
        if self.disk_full:
            self._drop_ballast()
            self._evict_crops(self._crops.size)

    def _evict_crops(self, wanted: int) -> int:
        """Give up crops for `wanted` bytes, control crops last; returns the bytes freed, fewer on a disk too full to delete in."""
        freed = 0
        for protected in (False, True):
            for _ in range(2):
                try:
                    if freed < wanted:
                        freed += self._crops.evict(wanted - freed, protected=protected, what="crops_lost")
                except DiskError as error:  # the ballast is there to make room to delete in
                    self._take_note(error)
                    self._drop_ballast()
        return freed

    def _drop_ballast(self) -> None:
        if self._ballast:
            with suppress(OSError):
                self._ballast.unlink(missing_ok=True)

    def _take_ballast(self) -> None:
        if self._ballast is None:
            return
        try:
            with self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        except OSError as error:
            self._drop_ballast()
            self.disk_full, self.disk_away = error.errno == errno.ENOSPC, error.errno in _NO_DISK
        else:
            self.disk_full = self.disk_away = False


def _dated(letter: Letter, starts: dict[UUID, datetime], now: Reading, redate: Redate) -> Letter:
    payload, stamp = letter.payload, letter.stamp
    if stamp and stamp.boot in starts:
        at = starts[stamp.boot] + timedelta(seconds=stamp.at_s)
        with suppress(ContractError):  # a payload that cannot be read is the cloud's to judge
            payload = redate(payload, at, stamp.boot == now.stamp.boot)
    return Letter(letter.id, payload, letter.protected)


def _shelves(folder: Path) -> tuple[Shelf, Shelf]:
    """On a disk that was full already the ballast makes room to open them."""
    try:
        return Shelf(folder / "events.db"), Shelf(folder / "crops.db")
    except sqlite3.OperationalError:
        (folder / "ballast").unlink(missing_ok=True)
        return Shelf(folder / "events.db"), Shelf(folder / "crops.db")


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        raise OSError(errno.EROFS if read_only else errno.EACCES, "Permission denied")


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
