"""Pictures by the digest of their bytes: a folder today, an object store by the same two verbs."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from contract.errors import ContractError


class Blobs(Protocol):
    """Content-addressed bytes; `put` returns only when they would survive a power cut."""

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its SHA-256 in hex. The same bytes twice are kept once. Raises OSError."""

    def get(self, digest: str) -> bytes:
        """The bytes of `digest`. Raises KeyError where there are none."""


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
            _sync_folder(folder)
        return digest

    def get(self, digest: str) -> bytes:
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(digest) from error

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ContractError("a blob's name is a SHA-256 in hex")
        return self._folder / digest[:2] / digest


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
