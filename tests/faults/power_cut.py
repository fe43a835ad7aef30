"""Power cuts replayed: `python -m tests.faults.power_cut --states 10000`.

A writer works with the real outbox while `record.c` notes each write, sync and rename, and says after each step what it was
promised. Then the disk is rebuilt as it may look after a cut at a random moment, with what was not yet synced dropped, kept,
kept in part, or torn at 512 bytes, and the outbox is opened on it.
"""

import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from agent.clock import Reading, Stamp
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from rehearsal.processes import RehearsalError
from tests.faults.promises import BOOT, CAP, NOON, Shelves, look

SECTOR = 512
MODES = ("dropped", "kept", "some kept", "torn")


@dataclass(frozen=True, slots=True)
class Operation:
    kind: str
    path: str
    offset: int
    data: bytes


@dataclass(slots=True)
class File:
    """What is on the platter for sure, and what was written since the last sync."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Promise:
    """After how many operations it was made, and what the outbox held then."""

    after: int
    shelves: Shelves


def record(folder: Path, *, rounds: int, seed: int, synchronous: str) -> tuple[list[Operation], list[Promise]]:
    """Let the writer work; returns what it did to the disk, and what it could rely on, when."""
    library, log = folder / "record.so", folder / "log"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RehearsalError("no C compiler: apt-get install gcc libc6-dev")
    source = Path(__file__).with_name("record.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    box = folder / "outbox"
    env = os.environ | {
        "LD_PRELOAD": str(library), "RECORD_TO": str(log), "RECORD_FOLDER": str(box) + "/",
        "RECORD_PROMISES": str(folder / "promises"),
    }  # fmt: skip
    writer = [sys.executable, "-m", "tests.faults.promises", box, folder / "promises", rounds, seed, synchronous]
    subprocess.run([str(part) for part in writer], env=env, check=True, cwd=Path(__file__).parents[2])
    operations: list[Operation] = []
    promises: list[Promise] = []
    for one in _parse(log.read_bytes()):
        if one.kind == "P":
            promises.append(Promise(len(operations), Shelves.decode(one.data)))
        elif not one.path.endswith(("-shm", "/ballast")):
            operations.append(Operation(one.kind, one.path.removeprefix(f"{box}/"), one.offset, one.data))
    return operations, promises


def disks(
    operations: Sequence[Operation], cuts: Sequence[int], rng: random.Random
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """For each cut (a number of operations, growing): how it was made, and the files' bytes after it."""
    files: dict[str, File] = {}
    done = 0
    for cut in cuts:
        for one in operations[done:cut]:
            _apply(files, one)
        done = cut
        mode = rng.choice(MODES)
        yield mode, {path: _after_the_cut(file, mode, rng) for path, file in files.items()}


def complaint(folder: Path, before: Shelves, after: Shelves) -> str | None:
    """What is wrong with the outbox in `folder`, which was cut off between two promises; None if nothing is."""
    box = Outbox.open(folder, cap_bytes=CAP)
    try:
        found = look(box)
        if box.files_set_aside:
            return "a file was broken"
        for letter in (*box.pending_events(10**6), *box.pending_crops(10**6)):
            if not letter.payload.startswith(letter.id.bytes):
                return "a payload is not the letter's"
        box.put_events([Letter(UUID(int=1), b"after the cut")])
        if not box.find_events([UUID(int=1)]):
            return "it takes no more"
        box.date_events(Reading(NOON, Stamp(BOOT, 10**6), trusted=True), lambda payload, _at, _sure: payload)
    finally:
        box.close()
    if (found.events, found.events_lost) not in ((one.events, one.events_lost) for one in (before, after)):
        return f"events: {_difference(before.events, found.events)}"
    if not before.crops & after.crops <= found.crops <= before.crops | after.crops:
        return f"crops: {_difference(before.crops, found.crops)}"
    if len(found.crops) + found.crops_lost not in (len(one.crops) + one.crops_lost for one in (before, after)):
        return f"{len(found.crops)} crops and {found.crops_lost} lost do not add up"
    return None


def replay(
    states: int, *, seed: int, rounds: int = 400, synchronous: str = "FULL"
) -> tuple[Counter[str], Counter[str], int]:
    """Returns the complaints, how often each kind of cut was made, and the number of operations recorded."""
    rng = random.Random(seed)
    bad: Counter[str] = Counter()
    made: Counter[str] = Counter()
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        root = Path(name)
        operations, promises = record(root, rounds=rounds, seed=seed, synchronous=synchronous)
        cuts = sorted(rng.randrange(promises[0].after, len(operations) + 1) for _ in range(states))
        current = 0
        for cut, (mode, files) in zip(cuts, disks(operations, cuts, rng), strict=True):
            while current + 1 < len(promises) and promises[current + 1].after <= cut:
                current += 1
            before, after = promises[current], promises[min(current + 1, len(promises) - 1)]
            folder = root / "disk"
            folder.mkdir()
            for path, data in files.items():
                (folder / path).write_bytes(data)
            try:
                wrong = complaint(folder, before.shelves, after.shelves)
            except Exception as error:  # noqa: BLE001 - whatever an opened outbox may throw is a finding
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                bad[f"{mode}: {wrong}"] += 1
            made[mode] += 1
            shutil.rmtree(folder)
    return bad, made, len(operations)


def _parse(log: bytes) -> Iterator[Operation]:
    at = 0
    while at < len(log):
        kind = chr(log[at])
        path_length, offset, length = struct.unpack_from("<HqI", log, at + 1)
        at += 15
        path = log[at : at + path_length].decode()
        at += path_length
        has_data = kind in "WMP"
        yield Operation(kind, path, offset, log[at : at + length] if has_data else b"")
        at += length if has_data else 0


def _apply(files: dict[str, File], one: Operation) -> None:
    """Names change at once and in order, as on a journalled file system; contents only with a sync."""
    if one.kind == "U":
        files.pop(one.path, None)
    elif one.kind == "M":
        files[Path(one.data.decode()).name] = files.pop(one.path, File())
    elif one.kind == "S":
        if one.path in files:
            file = files[one.path]
            for write in file.pending:
                _write(file.durable, write)
            file.pending.clear()
    else:
        file = files.setdefault(one.path, File())
        if one.kind in "WLT":
            file.pending.append(one)


def _after_the_cut(file: File, mode: str, rng: random.Random) -> bytes:
    content = bytearray(file.durable)
    for one in file.pending:
        if mode == "kept" or (mode == "some kept" and rng.random() < 0.5):
            _write(content, one)
        elif mode == "torn" and one.kind == "W":
            for start in range(0, len(one.data), SECTOR):
                if rng.random() < 0.5:
                    _write(content, Operation("W", "", one.offset + start, one.data[start : start + SECTOR]))
        elif mode == "torn" and rng.random() < 0.5:
            _write(content, one)
    return bytes(content)


def _write(content: bytearray, one: Operation) -> None:
    if one.kind == "T":
        content.clear()
        return
    if len(content) < one.offset:
        content.extend(bytes(one.offset - len(content)))
    if one.kind == "L":
        del content[one.offset :]
    else:
        content[one.offset : one.offset + len(one.data)] = one.data


def _difference(before: frozenset[str], found: frozenset[str]) -> str:
    return f"{len(before - found)} missing, {len(found - before)} too many"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.faults.power_cut")
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    bad, made, operations = replay(options.states, seed=options.seed)
    print(json.dumps({"operations": operations, "states": dict(made), "bad": sum(bad.values()), "which": dict(bad)}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
