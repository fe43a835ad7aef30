"""A damaged backup changes nothing, and neither does a restore that is killed: it is the old or the new."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text

from cloud.store import schema
from cloud.store.blobs import BlobFolder
from cloud.upkeep import archive
from contract.errors import ContractError, TryAgainError
from rehearsal.processes import wait_until
from tests.cloud.backup_kit import NOW, START, Service, counts


@pytest.fixture
def small(engine: Engine, tmp_path: Path) -> Service:
    made = Service(engine, BlobFolder(tmp_path / "blobs"), tmp_path)
    made.fill()
    return made


def damaged(good: bytes) -> Iterator[tuple[str, bytes]]:
    yield "cut in the middle", good[: len(good) // 2]
    yield "cut before the manifest", good[: good.rindex(b"manifest.json")]
    yield "empty", b""
    yield "no tar", b"nonsense" * 1000
    at = good.index(b"SQLite format 3" if b"SQLite format 3" in good else b"PGDMP") + 5000
    yield "one byte of the database", good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    jpeg = good.index(b"\xff\xd8\xff\xe0") + 300
    yield "one byte of a picture", good[:jpeg] + bytes([good[jpeg] ^ 1]) + good[jpeg + 1 :]
    yield "another member", with_member(good, "extra", b"x", last=False)
    yield "a way out", with_member(good, "repository/../../x", b"x", last=False)
    yield "more after the manifest", with_member(good, "pictures/" + "0" * 64, b"x", last=True)
    yield "a wrong count", good.replace(b'"events": 60', b'"events": 61')
    revision = good.rindex(b'"revision": "') + len(b'"revision": "')
    yield "a version to come", good[:revision] + b"z" + good[revision + 1 :]
    yield "another format", good.replace(b'"format": 1', b'"format": 2')


def with_member(good: bytes, name: str, data: bytes, *, last: bool) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(good)) as old, tarfile.open(fileobj=out, mode="w") as new:
        extra = tarfile.TarInfo(name)
        extra.size = len(data)
        for member in old:
            if member.name == archive.MANIFEST and not last:
                new.addfile(extra, io.BytesIO(data))
            new.addfile(member, old.extractfile(member))
        if last:
            new.addfile(extra, io.BytesIO(data))
    return out.getvalue()


def test_a_truncated_or_tampered_backup_is_refused_and_nothing_changes(small: Service) -> None:
    small.back_up()
    good = small.file.read_bytes()
    small.site.take_passes("new", [START] * 3, now=NOW)
    before, listed = counts(small.engine), sorted(small.places.blobs.entries())
    for name, bad in damaged(good):
        small.file.write_bytes(bad)
        with pytest.raises((ContractError, TryAgainError)):
            small.restore(replaced=True)
        assert counts(small.engine) == before, name
        assert sorted(small.places.blobs.entries()) == listed, name
        assert list(small.places.scratch.iterdir()) == [], name
    small.file.write_bytes(good)
    small.restore(replaced=True)


def test_a_restore_killed_at_any_moment_leaves_the_old_or_the_new_and_never_a_mixture(
    small: Service, database_url: str
) -> None:
    small.site.take_passes("front", [START] * 5_000, now=NOW)
    small.back_up()
    saved = counts(small.engine)["events"]
    small.site.take_passes("new", [START] * 3, now=NOW)
    small.engine.dispose()
    options = ["--set", f"data={small.places.scratch}", "--set", f"blobs={small.folder / 'blobs'}"]
    command = [
        sys.executable,
        "-u",
        "-m",
        "cloud",
        "restore",
        small.file,
        "--replace",
        "--set",
        f"database={database_url}",
    ]
    seen, delay_s = set(), 0.0
    while True:
        with subprocess.Popen([str(one) for one in (*command, *options)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert "is whole" in child.stdout.readline()
            try:
                child.wait(delay_s)
            except subprocess.TimeoutExpired:
                child.kill()
        found = settled(small.engine)
        assert found in (saved, saved + 3)
        seen.add(found)
        if child.returncode == 0:
            break
        if found == saved:  # killed after the change: once more from the new state
            small.site.take_passes("new", [START] * 3, now=NOW)
        delay_s = 1.25 * delay_s + 0.01
    assert saved + 3 in seen
    assert not list(small.places.scratch.glob(".backup-*"))  # what the killed ones left has gone too
    assert (small.site.passes(), counts(small.engine)["events"]) == (saved, saved)


def settled(engine: Engine) -> int:
    """Passes in the database once none of the killed ones' servers is at work any more, hour counts and rows agreeing."""
    if engine.dialect.name == "postgresql":
        wait_until(lambda: at_work(engine) == 0, within_s=30, what="the server noticing that its client was killed")
    with engine.connect() as connection:
        rows = int(connection.execute(select(func.count()).select_from(schema.events)).scalar_one())
        summed = int(connection.execute(select(func.sum(schema.hours.c.passes))).scalar_one())
    assert rows == summed
    return rows


def at_work(engine: Engine) -> int:
    """Connections to this database in which something is under way, but for the one that asks."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'
    """
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())
