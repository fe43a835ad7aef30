"""Pictures by the digest of their bytes: in a folder here, in a bucket by the same verbs (`s3.py`)."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

from contract.errors import ContractError


class Entry(NamedTuple):
    """One blob, as a listing tells it."""

    digest: str
    kept_at: datetime


class Blobs(Protocol):
    """Content-addressed bytes; every verb raises OSError where the store does not answer now."""

    def put(self, data: bytes) -> str:
        """Keep `data` so that it would survive a power cut; returns its SHA-256 in hex. The same bytes twice are kept once."""

    def get(self, digest: str) -> bytes:
        """The bytes of `digest`. Raises KeyError where there are none."""

    def delete(self, digest: str) -> None:
        """Remove `digest`; nothing happens where there is none."""

    def entries(self) -> Iterator[Entry]:
        """Everything that is kept, in no order."""

    def address(self, digest: str) -> str | None:
        """Where a machine may fetch `digest` for a short while without us; None where it cannot."""


class BlobFolder:
    """Blobs as files `ab/abcdef...` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        for folder in (path.parent, self._folder):
            sync_folder(folder)
        return digest

    def get(self, digest: str) -> bytes:
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(digest) from error

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)

    def entries(self) -> Iterator[Entry]:
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            for path in folder.iterdir() if folder.is_dir() else ():
                if is_digest(path.name) and path.name.startswith(folder.name):
                    try:
                        yield Entry(path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC))
                    except FileNotFoundError:  # deleted while we looked
                        continue

    def address(self, digest: str) -> str | None:
        require_digest(digest)
        return None

    def _path(self, digest: str) -> Path:
        require_digest(digest)
        return self._folder / digest[:2] / digest


def is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 in lower-case hex."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def require_digest(text: str) -> None:
    """Raises ContractError for a name that is no digest: it never becomes a path or a key."""
    if not is_digest(text):
        raise ContractError("a blob's name is a SHA-256 in hex")


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
