"""Everything that cannot be had again into one file, and out of it; what was erased meanwhile does not come back."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from sqlalchemy import Engine, func, select

from cloud.store import erasures, pictures
from cloud.store.blobs import Blobs
from cloud.store.database import knows, migrate
from cloud.store.erasures import Erasure
from cloud.store.schema import consumers, crops, metadata, snapshots
from cloud.store.schema_duties import duties
from cloud.upkeep import archive, dumps
from cloud.upkeep.archive import DATABASE, LISTINGS, PICTURES, REPOSITORY, Archive, Manifest
from cloud.upkeep.dumps import Content
from cloud.upkeep.erasing import go_on, read_journal, write_journal
from contract.errors import ContractError, TryAgainError

ALIVE = timedelta(seconds=30)  # since a consumer's or a server's last sign of life: it is at work
DRAFT, SCRATCH = ".repository.part", ".backup-"
# Rows of these alone make no database worth protecting.
PASSING = frozenset({
    "changes", "consumers", "duties", "endings", "upkeep", "erasures", "tombstones", "doomed", "audit_head", "invitations", "attempts", "sessions",
    dumps.VERSION_TABLE,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a service lie."""

    blobs: Blobs
    listings: Blobs
    releases: Path
    journal: Path
    scratch: Path  # a folder with room for a database


def back_up(
    engine: Engine, places: Places, file: Path, now: datetime, *, with_pictures: bool, say: Callable[[str], None]
) -> Manifest:
    """Write `file`; the service may be at work meanwhile. No key is in it.

    Raises ContractError, TryAgainError, OSError, SQLAlchemyError; then there is no `file`, or the one of before.
    """
    if not file.parent.is_dir():
        raise ContractError(f"there is no folder {file.parent}")
    with (
        _scratch(places) as scratch,
        archive.new_archive(file, now) as made,
    ):
        kind: archive.Kind = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        copy = scratch / DATABASE[kind]
        content = dumps.dump(engine, copy)
        made.add_file(copy.name, copy)
        say(f"database: {sum(content.tables.values())} rows, {copy.stat().st_size / 1e6:.1f} MB")
        missing = 0
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            named = select(snapshots.c.digest) if "snapshots" in content.tables else None
            listed = [] if named is None else list(connection.execute(named).scalars())
            missing += _add_blobs(made, LISTINGS, listed, places.listings, say)
            if with_pictures:
                every = select(crops.c.jpeg_digest).distinct()  # before there were terms
                terms = "doomed" in content.tables
                wanted = pictures.digests_kept(connection) if terms else connection.execute(every).scalars().all()
                missing += _add_blobs(made, PICTURES, wanted, places.blobs, say)
        _add_repository(made, places.releases, say)
        return made.finish(
            database=kind, revision=content.revision, tables=content.tables, pictures=with_pictures, missing=missing
        )


def restore(
    engine: Engine, places: Places, file: Path, now: datetime, *, replace: bool, say: Callable[[str], None]
) -> Manifest:
    """Check the whole of `file` first, then put it in the place of what is here.

    Raises ContractError for a file that is no whole backup, or a database that holds something where `replace` is not
    set; TryAgainError, OSError, SQLAlchemyError. The database is then as it was, unless the message says that it is restored.
    """
    with file.open("rb") as source:
        manifest = archive.verify(source, say)
        say(f"the backup of {manifest.made_at:%Y-%m-%d %H:%M} UTC is whole: {len(manifest.files)} files")
        _require_room(engine, manifest, now, replace=replace)
        known = _known_erasures(engine, places)
        write_journal(places.journal, known)  # before anything: whatever becomes of us, the next start does them again
        with _scratch(places) as scratch:
            copy = _unpack(source, manifest, places, scratch, say)
            dumps.load(engine, copy, Content(manifest.revision, manifest.tables))
    draft = places.releases / DRAFT
    if draft.is_dir():
        draft.rename(places.releases / REPOSITORY)
    migrate(engine)
    say(f"database: {sum(manifest.tables.values())} rows")
    try:
        _settle(engine, places, known, now, say)
    except OSError as error:
        raise TryAgainError(
            f"the database is restored, but its pictures cannot be compared now ({error}): once more, with --replace"
        ) from error
    return manifest


def _settle(
    engine: Engine, places: Places, known: Iterable[Erasure], now: datetime, say: Callable[[str], None]
) -> None:
    with engine.begin() as connection:
        again = erasures.adopt(connection, known)
    go_on(engine, now)
    if again:
        say(f"erased again, since the backup is older: {again} erasures")
    present = {one.digest for one in places.blobs.entries()}
    with engine.begin() as connection:
        missing = pictures.mark_missing(connection, present, now)
    if missing:
        say(f"{missing} crops have no picture any more")
    while pictures.sweep(engine, places.blobs, now).more:
        pass


@contextmanager
def _scratch(places: Places) -> Iterator[Path]:
    """A folder of this process's own; what processes that are no more left behind goes first."""
    for left in places.scratch.glob(f"{SCRATCH}*"):
        owner = left.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdecimal() and not _runs(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=places.scratch, prefix=f"{SCRATCH}{os.getpid()}-") as folder:
        yield Path(folder)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _require_room(engine: Engine, manifest: Manifest, now: datetime, *, replace: bool) -> None:
    kind = engine.dialect.name
    if kind != manifest.database:
        raise ContractError(f"the backup is of a {manifest.database} database, and this one is {kind}: set `database`")
    if not knows(manifest.revision):
        raise ContractError(f"the backup is of another version of this program (tables of {manifest.revision!r})")
    there = dumps.our_tables(engine)
    with engine.connect() as connection:
        signs = {"consumers": ("a consumer", select(func.max(consumers.c.alive_at)))}
        signs["duties"] = ("a server", select(func.max(duties.c.beat_at)).where(duties.c.holder != ""))
        for who, last in (told for name, told in signs.items() if name in there):
            alive = connection.execute(last).scalar()
            if alive is not None and abs(now - alive) < ALIVE:
                raise ContractError(
                    f"{who} was at work {max((now - alive).total_seconds(), 0):.0f} s ago: stop the service, "
                    f"wait {ALIVE.total_seconds():.0f} s, and try again"
                )
        counted = {name: select(func.count()).select_from(metadata.tables[name]) for name in set(there) - PASSING}
        rows = {name: int(connection.execute(query).scalar_one()) for name, query in counted.items()}
    if any(rows.values()) and not replace:
        full = ", ".join(f"{number} {name}" for name, number in sorted(rows.items()) if number)
        raise ContractError(f"this database holds {full}: --replace gives it up for the backup")


def _known_erasures(engine: Engine, places: Places) -> tuple[Erasure, ...]:
    """Those that this database and the journal beside it know."""
    found = {one.id: one for one in read_journal(places.journal)}
    if "erasures" in dumps.our_tables(engine):
        with engine.connect() as connection:
            found |= {one.id: one for one in erasures.read(connection)}
    return tuple(found.values())


def _unpack(source: IO[bytes], manifest: Manifest, places: Places, scratch: Path, say: Callable[[str], None]) -> Path:
    """Pictures, listings and releases to their places, where they do no harm by themselves; the database to `scratch`."""
    copy = scratch / DATABASE[manifest.database]
    has_releases = (places.releases / REPOSITORY).exists()
    if has_releases and any(name.startswith(REPOSITORY) for name in manifest.files):
        say("releases: left as they are here; doors never go back to an older list")
    draft = places.releases / DRAFT
    shutil.rmtree(draft, ignore_errors=True)  # of a restore that was cut off
    put = 0
    for name, _, content in archive.members(source):
        folder, _, rest = name.partition("/")
        if name == copy.name:
            archive.copy(content, copy)
        elif f"{folder}/" in (PICTURES, LISTINGS):
            (places.blobs if f"{folder}/" == PICTURES else places.listings).put(content.read())
            put += 1
            if put % 1_000 == 0:
                say(f"pictures: {put}")
        elif f"{folder}/" == REPOSITORY and not has_releases:
            path = draft / rest
            path.parent.mkdir(parents=True, exist_ok=True)
            archive.copy(content, path)
    return copy


def _add_blobs(made: Archive, folder: str, digests: Iterable[str], blobs: Blobs, say: Callable[[str], None]) -> int:
    """How many of them were not there."""
    added = missing = 0
    for digest in digests:
        try:
            made.add_bytes(folder + digest, blobs.get(digest))
        except KeyError:  # its time came between the database and us
            missing += 1
            continue
        added += 1
        if added % 1_000 == 0:
            say(f"{folder[:-1]}: {added}")
    say(f"{folder[:-1]}: {added}" + (f", {missing} no longer there" if missing else ""))
    return missing


def _add_repository(made: Archive, releases: Path, say: Callable[[str], None]) -> None:
    folder = releases / REPOSITORY
    newest = folder / "metadata" / "timestamp.json"  # read first: it names nothing that is not there yet
    timestamp = newest.read_bytes() if newest.is_file() else None
    files = sorted(one for one in folder.rglob("*") if one.is_file() and one.name[0] != ".") if folder.is_dir() else []
    for path in files:
        name = f"{REPOSITORY}{path.relative_to(folder).as_posix()}"
        if path == newest and timestamp is not None:
            made.add_bytes(name, timestamp)
        else:
            made.add_file(name, path)
    say(f"releases: {len(files)} files, and no key" if files else "releases: none")
