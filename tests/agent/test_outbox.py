import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.delivery.outbox import Outbox
from agent.delivery.shelf import ROW_BYTES, Letter
from contract.errors import ContractError

MANY = 10**9


def letter(number: int, size: int = 100, *, protected: bool = False) -> Letter:
    return Letter(UUID(int=number), b"x" * size, protected)


def numbers(letters: list[Letter]) -> list[int]:
    return [one.id.int for one in letters]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox.open(tmp_path / "outbox", cap_bytes=MANY)
    yield opened
    opened.close()


def test_what_was_put_is_there_after_the_next_start(tmp_path: Path) -> None:
    first = Outbox.open(tmp_path, cap_bytes=MANY)
    first.put_events([letter(1), letter(2)])
    first.put_crop(letter(3, protected=True))
    first.close()
    again = Outbox.open(tmp_path, cap_bytes=MANY)
    assert numbers(again.pending_events(10)) == [1, 2]
    assert again.pending_crops(10) == [letter(3, protected=True)]
    assert (again.waiting, again.waiting_bytes) == (3, 3 * (100 + ROW_BYTES))
    again.close()


def test_a_letter_is_forgotten_only_by_its_own_id(outbox: Outbox) -> None:
    outbox.put_events([letter(1), letter(2), letter(3)])
    assert outbox.forget([UUID(int=2), UUID(int=99)], {}) == 1
    assert outbox.forget([UUID(int=2)], {}) == 0  # said twice
    assert numbers(outbox.pending_events(10)) == [1, 3]
    assert outbox.waiting_bytes == 2 * (100 + ROW_BYTES)


def test_a_letter_put_twice_is_there_once(outbox: Outbox) -> None:
    outbox.put_events([letter(1)])
    outbox.put_events([letter(1), letter(2)])
    assert outbox.waiting == 2


def test_pending_letters_come_oldest_first_without_those_on_their_way(outbox: Outbox) -> None:
    outbox.put_events([letter(number) for number in range(1, 8)])
    assert numbers(outbox.pending_events(3, without={UUID(int=1), UUID(int=3)})) == [2, 4, 5]


def test_a_refused_letter_is_set_aside_with_its_reason_and_blocks_nobody(tmp_path: Path) -> None:
    box = Outbox.open(tmp_path, cap_bytes=MANY)
    box.put_events([letter(1), letter(2)])
    assert box.forget([], {UUID(int=1): "label: unknown", UUID(int=50): "never seen"}) == 1
    assert numbers(box.pending_events(10)) == [2]
    assert box.refused() == [(UUID(int=1), "label: unknown")]
    box.close()


def test_over_the_cap_the_oldest_crops_go_first_control_crops_next_and_events_stay(tmp_path: Path) -> None:
    cost = 1000 + ROW_BYTES
    box = Outbox.open(tmp_path, cap_bytes=4 * cost)
    for number, protected in ((1, True), (2, False), (3, False)):
        assert box.put_crop(letter(number, 1000, protected=protected))
    assert box.put_events([letter(10, 1000), letter(11, 1000)]) == 0
    assert numbers(box.pending_crops(10)) == [1, 3]
    assert box.put_events([letter(12, 1000), letter(13, 1000)]) == 0
    assert (box.pending_crops(10), box.crops_lost) == ([], 3)
    assert box.put_events([letter(14, 1000)]) == 1
    assert numbers(box.pending_events(10)) == [10, 11, 12, 13]
    assert box.events_lost == 1
    assert not box.put_crop(letter(20, 1000))
    assert box.crops_lost == 4
    box.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["event", "crop", "control", "ack"]), st.integers(1, 3000)), max_size=60))
def test_nothing_vanishes_uncounted_and_the_cap_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    cap = 12_000
    box = Outbox.open(tmp_path_factory.mktemp("box"), cap_bytes=cap)
    put = acknowledged = 0
    for number, (what, size) in enumerate(steps, start=1):
        if what == "ack":
            acknowledged += box.forget(
                [one.id for one in box.pending_events(2)] + [one.id for one in box.pending_crops(1)], {}
            )
            continue
        put += 1
        if what == "event":
            box.put_events([letter(number, size)])
        else:
            box.put_crop(letter(number, size, protected=what == "control"))
        assert box.waiting_bytes <= cap
    left = box.pending_events(1000) + box.pending_crops(1000)
    assert box.waiting == len(left)
    assert box.waiting_bytes == sum(one.cost for one in left)
    assert put == acknowledged + len(left) + box.events_lost + box.crops_lost
    box.close()


def test_a_broken_file_is_set_aside_and_counted(tmp_path: Path) -> None:
    box = Outbox.open(tmp_path, cap_bytes=MANY)
    box.put_events([letter(1)])
    box.close()
    (tmp_path / "events.db").write_bytes(b"this is no database" * 400)
    again = Outbox.open(tmp_path, cap_bytes=MANY)
    assert again.pending_events(10) == []
    assert again.files_set_aside == 1
    assert (tmp_path / "events.db.broken-1").read_bytes().startswith(b"this is no")
    again.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ContractError, match=r"cannot write the outbox .*file/outbox: .*set outbox.folder"):
        Outbox.open(tmp_path / "file" / "outbox", cap_bytes=MANY)


WRITER = """
import sys
from pathlib import Path
from uuid import UUID
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
box = Outbox.open(Path(sys.argv[1]), cap_bytes=10**9)
for number in range(10**6):
    box.put_events([Letter(UUID(int=number * 10 + part), b"event") for part in range(10)])
    print(number, flush=True)
"""


def test_what_was_reported_as_stored_survives_a_kill_whole(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    reported = -1
    for line in writer.stdout:
        reported = int(line)
        if reported >= 40:
            os.kill(writer.pid, signal.SIGKILL)
            break
    rest = writer.stdout.read().split()
    writer.stdout.close()
    writer.wait()
    reported = max([reported, *map(int, rest)])
    box = Outbox.open(tmp_path, cap_bytes=MANY)
    stored = numbers(box.pending_events(10**6))
    assert stored[: (reported + 1) * 10] == list(range((reported + 1) * 10))
    assert len(stored) % 10 == 0  # a batch is stored whole or not at all
    box.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_on_a_full_disk_crops_go_first_and_the_event_is_kept(small_disk: Path) -> None:
    box = Outbox.open(small_disk / "outbox", cap_bytes=MANY)
    crops = 0
    for number in range(60):
        crops += box.put_crop(letter(number, 50_000, protected=number % 2 == 0))
    box.put_events([letter(1000)])
    hog = small_disk / "hog"
    with hog.open("wb", buffering=0) as file:  # somebody else takes the rest of the disk
        try:
            while True:
                file.write(b"z" * 4096)
        except OSError:
            pass
    for number in range(1001, 1200):
        assert box.put_events([letter(number, 3000)]) == 0
    assert len(box.pending_events(500)) == 200
    assert box.events_lost == 0
    assert box.disk_full
    assert box.crops_lost == crops
    hog.unlink()
    assert box.forget([UUID(int=1000)], {}) == 1
    assert not box.disk_full
    box.close()


def test_over_the_cap_on_a_full_disk_the_event_still_comes_before_the_crops(small_disk: Path) -> None:
    box = Outbox.open(small_disk / "outbox", cap_bytes=7 * (50_000 + ROW_BYTES))
    for number in range(7):
        assert box.put_crop(letter(number, 50_000))
    with (small_disk / "hog").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"z" * 4096)
        except OSError:
            pass
    lost = sum(box.put_events([letter(number, 3000)]) for number in range(1000, 1040))
    assert lost == box.events_lost == 0
    assert len(box.pending_events(100)) == 40
    assert box.disk_full
    assert len(box.pending_crops(10)) + box.crops_lost == 7
    box.close()


def test_a_disk_full_of_events_refuses_the_next_and_counts_it(small_disk: Path) -> None:
    box = Outbox.open(small_disk / "outbox", cap_bytes=MANY)
    refused = put = 0
    for number in range(600):
        put += 10
        refused += box.put_events([letter(number * 10 + part, 4000) for part in range(10)])
    assert refused > 0
    assert box.waiting == put - refused
    assert box.events_lost == refused
    assert box.disk_full
    box.close()
