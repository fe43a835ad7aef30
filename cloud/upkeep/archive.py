"""A backup as a file: a tar whose last member, the manifest, says what every other one must be."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.store.blobs import is_digest, sync_folder
from contract.errors import ContractError
from contract.wire import Count, Instant, first_fault

MANIFEST = "manifest.json"
MANIFEST_LIMIT = 1024 * 1024 * 1024
PIECE = 1024 * 1024
Kind = Literal["sqlite", "postgresql"]
DATABASE: dict[str, str] = {"sqlite": "database.sqlite", "postgresql": "database.dump"}
PICTURES, LISTINGS, REPOSITORY = "pictures/", "listings/", "repository/"


class Fact(BaseModel):
    """What one member must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What the whole must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    made_at: Instant
    database: Kind
    revision: Annotated[str, Field(max_length=60)]
    tables: dict[str, Count]
    pictures: bool
    missing: Count = 0  # pictures that a row names and that were gone when it came to them
    files: dict[str, Fact]


class Archive:
    """A backup being written; nothing bears its name until `finish`."""

    def __init__(self, tar: tarfile.TarFile, at: datetime) -> None:
        self._tar, self._at = tar, at
        self._facts: dict[str, Fact] = {}

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        """The next `size` bytes of `source` as a member."""
        member = self._member(name, size)
        watched = _Watched(source)
        self._tar.addfile(member, watched)
        self._facts[name] = Fact(size=size, sha256=watched.digest)

    def add_bytes(self, name: str, data: bytes) -> None:
        """`data` as a member."""
        self.add(name, io.BytesIO(data), len(data))

    def add_file(self, name: str, path: Path) -> None:
        """A file as a member."""
        with path.open("rb") as source:
            self.add(name, source, os.fstat(source.fileno()).st_size)

    def finish(
        self, *, database: Kind, revision: str, tables: dict[str, int], pictures: bool, missing: int
    ) -> Manifest:
        """Write the manifest: without it the file is no backup."""
        manifest = Manifest(
            made_at=self._at, database=database, revision=revision, tables=tables, pictures=pictures, missing=missing,
            files=self._facts,
        )  # fmt: skip
        text = manifest.model_dump_json(indent=1).encode()
        self._tar.addfile(self._member(MANIFEST, len(text)), io.BytesIO(text))
        return manifest

    def _member(self, name: str, size: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o600, int(self._at.timestamp())
        return member


@contextmanager
def new_archive(path: Path, at: datetime) -> Iterator[Archive]:
    """An archive that becomes `path` when the block ends well, and leaves nothing where it does not. Raises OSError."""
    draft = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield Archive(tar, at)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def verify(file: IO[bytes], say: Callable[[str], None]) -> Manifest:
    """Read the whole of a backup and compare it with its manifest; writes nothing.

    Raises ContractError that says what is wrong. It finds damage; whoever can write the file can also write a manifest
    that fits.
    """
    facts: dict[str, Fact] = {}
    manifest: Manifest | None = None
    for name, size, source in members(file):
        if manifest is not None:
            raise ContractError("the backup goes on after its manifest")
        if name == MANIFEST:
            manifest = _manifest(source, size)
            continue
        if name in facts or not _is_ours(name):
            raise ContractError(f"the backup holds something strange: {name[:80]!r}")
        facts[name] = Fact(size=size, sha256=_digest(source))
        if len(facts) % 1_000 == 0:
            say(f"checked {len(facts)} files")
    if manifest is None:
        raise ContractError("the backup is cut off: its manifest, the last thing in it, is missing")
    for name in sorted(set(facts) | set(manifest.files)):
        if facts.get(name) != manifest.files.get(name):
            raise ContractError(f"the backup is damaged: {name} is not what the manifest says")
        kind, _, digest = name.partition("/")
        if f"{kind}/" in (PICTURES, LISTINGS) and facts[name].sha256 != digest:
            raise ContractError(f"the backup is damaged: {name} is not what its name says")
    if DATABASE[manifest.database] not in facts:
        raise ContractError("the backup holds no database")
    return manifest


def members(file: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of each member, in order. Raises ContractError where it is no tar, or a cut-off one."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isreg() else None
                if source is None:
                    raise ContractError(f"the backup holds something strange: {member.name[:80]!r}")
                yield member.name, member.size, source
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ContractError(f"this is no backup, or it is cut off ({error})") from error


def copy(source: IO[bytes], path: Path) -> None:
    """A member to a file, durably. Raises OSError."""
    with path.open("wb") as file:
        while piece := source.read(PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


class _Watched:
    """A source that sums up what was read of it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._sum = source, sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self._sum.update(piece)
        return piece

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()


def _digest(source: IO[bytes]) -> str:
    total = sha256()
    while piece := _read(source):
        total.update(piece)
    return total.hexdigest()


def _read(source: IO[bytes], size: int = PIECE) -> bytes:
    try:
        return source.read(size)
    except tarfile.TarError as error:
        raise ContractError(f"the backup is cut off ({error})") from error


def _manifest(source: IO[bytes], size: int) -> Manifest:
    if size > MANIFEST_LIMIT:
        raise ContractError(f"a manifest of {size} bytes; at most {MANIFEST_LIMIT} are allowed")
    try:
        return Manifest.model_validate_json(_read(source, size))
    except ValidationError as error:
        raise ContractError(f"the manifest is none that this program can read: {first_fault(error)}") from error


def _is_ours(name: str) -> bool:
    """Names become paths only where they cannot lead anywhere else."""
    if name in DATABASE.values():
        return True
    for folder in (PICTURES, LISTINGS):
        if name.startswith(folder):
            return is_digest(name.removeprefix(folder))
    parts = name.split("/")
    return (
        name.startswith(REPOSITORY)
        and all(part and part not in (".", "..") and part.isprintable() and "\\" not in part for part in parts)
        and len(name) <= 300
    )
