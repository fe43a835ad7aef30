"""The device's outbox: events and crops until the cloud has them, within a cap, and on a full disk too."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self
from uuid import UUID

from agent.delivery.shelf import Letter, Shelf, ShelfFullError
from contract.errors import ContractError

BALLAST_BYTES = 5 * 1024 * 1024  # given up on a full disk, so that there is room to delete in


class Outbox:
    """Two shelves, `events.db` and `crops.db`, under one cap: oldest crops go first, control crops next, events last.

    Used from one thread. Whatever is given up is counted, in the same transaction where the disk allows.
    """

    def __init__(self, events: Shelf, crops: Shelf, *, cap_bytes: int, ballast: Path, set_aside: int = 0) -> None:
        self._events = events
        self._crops = crops
        self._cap = cap_bytes
        self._ballast = ballast
        self._unwritten_losses = 0  # events that a full disk refused, not yet in the ledger
        self._unwritten_crops = 0  # likewise
        self.disk_full = False
        if set_aside:
            self._events.note("files_set_aside", set_aside)

    @classmethod
    def open(cls, folder: Path, *, cap_bytes: int) -> Self:
        """Raises ContractError where the folder cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise ContractError(
                f"cannot write the outbox {folder}: {error.strerror}; set outbox.folder to a folder of the agent's own"
            ) from error
        events, broken_events = Shelf.open(folder / "events.db")
        crops, broken_crops = Shelf.open(folder / "crops.db")
        outbox = cls(
            events, crops, cap_bytes=cap_bytes, ballast=folder / "ballast", set_aside=broken_events + broken_crops
        )
        outbox._take_ballast()
        return outbox

    @property
    def waiting(self) -> int:
        """Letters not yet acknowledged."""
        return self._events.waiting + self._crops.waiting

    @property
    def waiting_bytes(self) -> int:
        return self._events.size + self._crops.size

    @property
    def events_lost(self) -> int:
        """Events that were refused for want of room, ever."""
        return self._events.noted("events_lost") + self._unwritten_losses

    @property
    def crops_lost(self) -> int:
        """Crops that were given up for want of room, ever."""
        return self._crops.noted("crops_lost") + self._unwritten_crops

    @property
    def files_set_aside(self) -> int:
        """Database files found broken at a start, ever."""
        return self._events.noted("files_set_aside")

    def put_events(self, letters: Sequence[Letter]) -> int:
        """Store events in one commit; returns how many had to be refused (cap full of events, or no disk)."""
        if not letters:
            return 0
        over = self.waiting_bytes + sum(letter.cost for letter in letters) - self._cap
        if over > 0:
            self._evict_crops(over)
        kept = list(letters)
        while kept and self.waiting_bytes + sum(letter.cost for letter in kept) > self._cap:
            kept.pop()
        refused = len(letters) - len(kept)
        if not self._store_events(kept, refused):
            refused = len(letters)
        return refused

    def put_crop(self, letter: Letter) -> bool:
        """Store a crop, at the cost of older ones; False where there is no room even so."""
        over = self.waiting_bytes + letter.cost - self._cap
        taken = over <= 0 or self._evict_crops(over) >= over
        try:
            self._crops.put([letter] if taken else [], lost=self._unwritten_crops + (not taken), what="crops_lost")
            self._unwritten_crops = 0
        except ShelfFullError:
            self.disk_full = True
            self._unwritten_crops += 1
            return False
        return taken

    def pending_events(self, limit: int, *, without: Collection[UUID] = ()) -> list[Letter]:
        """The oldest events, leaving out those `without`."""
        return self._events.pending(limit, without=without)

    def pending_crops(self, limit: int, *, without: Collection[UUID] = ()) -> list[Letter]:
        """The oldest crops, leaving out those `without`."""
        return self._crops.pending(limit, without=without)

    def forget(self, stored: Collection[UUID], refused: dict[UUID, str]) -> int:
        """Take the cloud's word for these ids; unknown ones are ignored. Returns how many letters left."""
        try:
            left = self._events.forget(stored, refused) + self._crops.forget(stored, refused)
        except ShelfFullError:  # no room to delete in: the cloud is asked again, and answers again
            self._make_room()
            return 0
        if self.disk_full and left:
            self._take_ballast()
        return left

    def refused(self) -> list[tuple[UUID, str]]:
        """What the cloud will never store, oldest first, with its reason."""
        return [*self._events.dead_letters(), *self._crops.dead_letters()]

    def close(self) -> None:
        self._events.close()
        self._crops.close()

    def _store_events(self, letters: list[Letter], refused: int) -> bool:
        for attempt in range(2):
            try:
                self._events.put(letters, lost=refused + self._unwritten_losses, what="events_lost")
                self._unwritten_losses = 0
            except ShelfFullError:
                if attempt == 0:
                    self._make_room()
                    continue
                self._unwritten_losses += len(letters) + refused
                return False
            break
        return True

    def _make_room(self) -> None:
        """Give the ballast and then every crop to a full disk."""
        self.disk_full = True
        self._ballast.unlink(missing_ok=True)
        self._evict_crops(self._crops.size)

    def _evict_crops(self, wanted: int) -> int:
        """Give up crops for `wanted` bytes, control crops last; returns the bytes freed, fewer on a disk too full to delete in."""
        freed = 0
        for protected in (False, True):
            for _ in range(2):
                try:
                    if freed < wanted:
                        freed += self._crops.evict(wanted - freed, protected=protected, what="crops_lost")
                except ShelfFullError:  # the ballast is there to make room to delete in
                    self.disk_full = True
                    self._ballast.unlink(missing_ok=True)
        return freed

    def _take_ballast(self) -> None:
        try:
            with self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        except OSError:
            self._ballast.unlink(missing_ok=True)
            self.disk_full = True
        else:
            self.disk_full = False
