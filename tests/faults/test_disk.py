"""Disks that are read-only, fail or rot under the device's outbox: counting goes on."""

import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from agent.clock import Reading, Stamp
from agent.delivery.outbox import SPARE_BYTES, TEND_S, Outbox
from agent.delivery.shelf import Letter

MANY = 10**9
BOOT = UUID(int=9)


def letter(number: int, size: int = 100, *, stamp: Stamp | None = None) -> Letter:
    return Letter(UUID(int=number), b"x" * size, stamp=stamp)


def numbers(letters: list[Letter]) -> list[int]:
    return [one.id.int for one in letters]


def later(box: Outbox, up_s: float) -> None:
    box.tend(Reading(datetime(2026, 11, 24, tzinfo=UTC), Stamp(BOOT, up_s), trusted=False))


class Disk:
    """A file system of its own that can be made read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def remount(self, mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode},size=30m", self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a file system here")
    yield Disk(folder)
    subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def failing_writes() -> Iterator[None]:
    """Every write beyond a file's first page fails; SQLite takes it for a failing disk, as it would EIO."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(disk: Disk, box: Outbox) -> Iterator[None]:
    """The kernel does this to a card that fails. Files that are open for writing would keep it from it."""
    for shelf in (box._events, box._crops):
        shelf._db.close()
    disk.remount("ro")
    for shelf in (box._events, box._crops):
        assert shelf._path
        shelf._db = sqlite3.connect(f"file:{shelf._path}?immutable=1", uri=True, isolation_level=None)
    yield
    for shelf in (box._events, box._crops):
        shelf._db.close()
    disk.remount("rw")
    for shelf in (box._events, box._crops):
        shelf._db = sqlite3.connect(str(shelf._path), isolation_level=None)


def test_while_the_disk_is_read_only_events_wait_in_memory_and_are_sent_from_there(disk: Disk) -> None:
    """[44] EROFS in the middle of the day; later it is mounted anew."""
    box = Outbox.open(disk.folder / "outbox", cap_bytes=MANY)
    box.put_events([letter(1)])
    with read_only(disk, box):
        assert box.put_events([letter(2), letter(3)]) == 0
        assert sorted(numbers(box.pending_events(10))) == [1, 2, 3]
        assert numbers(box.find_events([UUID(int=2)])) == [2]
        assert (box.disk_away, box.disk_full, box.in_memory, box.waiting) == (True, False, 2, 3)
        assert box.forget([UUID(int=2)], {}) == 1
        assert not box.put_crop(letter(20))
    later(box, TEND_S)
    assert (box.disk_away, box.in_memory, box.events_lost) == (False, 0, 0)
    box.close()
    again = Outbox.open(disk.folder / "outbox", cap_bytes=MANY)
    assert numbers(again.pending_events(10)) == [1, 3]
    again.close()


def test_while_writes_fail_events_wait_in_memory_and_are_stored_later(tmp_path: Path) -> None:
    """[44] As EIO."""
    box = Outbox.open(tmp_path, cap_bytes=MANY)
    box.put_events([letter(1)])
    with failing_writes():
        assert box.put_events([letter(2, stamp=Stamp(BOOT, 5.0))]) == 0
        assert box.put_events([letter(3)]) == 0
        assert (box.disk_away, box.in_memory) == (True, 2)
        assert sorted(numbers(box.pending_events(10))) == [1, 3]  # 2 waits for its time
        now = Reading(datetime(2026, 11, 24, tzinfo=UTC), Stamp(BOOT, 9.0), trusted=True)
        box.date_events(now, lambda payload, _at, _sure: payload)
        assert sorted(numbers(box.pending_events(10))) == [1, 2, 3]
    assert box.put_events([letter(4)]) == 0
    assert (box.disk_away, box.in_memory) == (False, 0)
    assert numbers(box.pending_events(10)) == [1, 2, 3, 4]
    assert box.events_lost == 0
    box.close()


def test_memory_is_bounded_too_and_what_it_refuses_is_counted(tmp_path: Path) -> None:
    """[44] [46]"""
    box = Outbox.open(tmp_path, cap_bytes=MANY)
    with failing_writes():
        refused = sum(box.put_events([letter(number, 10_000)]) for number in range(200))
        assert refused == 200 - SPARE_BYTES // letter(0, 10_000).cost
        assert box.events_lost == refused
    assert box.put_events([letter(1000)]) == 0
    assert (box.events_lost, box.waiting) == (refused, 201 - refused)
    box.close()


def test_a_door_whose_disk_is_read_only_from_the_start_counts_in_memory(disk: Disk) -> None:
    """[98]"""
    Outbox.open(disk.folder / "outbox", cap_bytes=MANY).close()
    disk.remount("ro")
    box = Outbox.open(disk.folder / "outbox", cap_bytes=MANY)
    assert box.put_events([letter(1), letter(2)]) == 0
    assert (box.disk_away, box.in_memory, numbers(box.pending_events(10))) == (True, 2, [1, 2])
    assert box.forget([UUID(int=1)], {}) == 1
    later(box, 0)
    assert box.disk_away
    box.close()
    disk.remount("rw")


def fill(folder: Path) -> Path:
    hog = folder / "hog"
    with hog.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"z" * 4096)
        except OSError:
            return hog


def test_a_door_that_starts_on_a_full_disk_opens_its_outbox_with_the_ballast(disk: Disk) -> None:
    """[43]"""
    first = Outbox.open(disk.folder / "outbox", cap_bytes=MANY)
    first.put_events([letter(1)])
    first.close()
    hog = fill(disk.folder)
    box = Outbox.open(disk.folder / "outbox", cap_bytes=MANY)
    assert box.put_events([letter(number) for number in range(2, 50)]) == 0
    assert (len(box.pending_events(100)), box.disk_full, box.disk_away, box.in_memory) == (49, True, False, 0)
    later(box, 0)
    assert box.disk_full
    hog.unlink()
    later(box, TEND_S)
    assert not box.disk_full
    box.close()


def test_a_door_that_never_had_room_for_an_outbox_counts_in_memory(disk: Disk) -> None:
    """[43]"""
    (disk.folder / "outbox").mkdir()
    fill(disk.folder)
    box = Outbox.open(disk.folder / "outbox", cap_bytes=MANY)
    assert box.put_events([letter(1)]) == 0
    assert (numbers(box.pending_events(10)), box.disk_away, box.in_memory) == ([1], True, 1)
    box.close()


def test_a_file_that_rots_while_the_door_is_at_work_is_set_aside_and_the_next_event_is_kept(tmp_path: Path) -> None:
    """[42] [34]"""
    box = Outbox.open(tmp_path, cap_bytes=MANY)
    box.put_events([letter(number) for number in range(1, 500)])
    box._events._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    box._events._db.execute("PRAGMA shrink_memory").fetchall()
    with (tmp_path / "events.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 200)
    assert box.put_events([letter(1000)]) == 0
    assert numbers(box.pending_events(10)) == [1000]
    assert box.files_set_aside == 1
    assert (tmp_path / "events.db.broken-1").exists()
    box.close()
    again = Outbox.open(tmp_path, cap_bytes=MANY)
    assert (numbers(again.pending_events(10)), again.files_set_aside) == ([1000], 1)
    again.close()
