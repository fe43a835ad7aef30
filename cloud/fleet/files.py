"""Signed metadata on disk: durable writes, and the newest version of a role."""

import os
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from contract.errors import ContractError

Role = TypeVar("Role", Root, Targets, Snapshot, Timestamp)


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` whole or not at all, and be sure that it stays after a power cut. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    with half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parse(content: bytes, kind: type[Role], what: str) -> Metadata[Role]:
    """Metadata of that kind; raises ContractError."""
    try:
        metadata = Metadata[Role].from_bytes(content)
    except (RepositoryError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ContractError(f"{what} is no TUF metadata: {str(error)[:200]}") from error
    if not isinstance(metadata.signed, kind):
        raise ContractError(f"{what} has the type {metadata.signed.type!r}, not {kind.type!r}")
    return metadata


def load(path: Path, kind: type[Role]) -> Metadata[Role]:
    """The metadata in a file; raises ContractError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read {path}: {error.strerror}") from error
    return parse(content, kind, str(path))


def newest(folder: Path, role: str, kind: type[Role]) -> Metadata[Role]:
    """The highest version of `role` in `folder`; raises ContractError where there is none."""
    versions = [int(path.name.split(".")[0]) for path in folder.glob(f"*.{role}.json") if path.name[0].isdigit()]
    if not versions:
        raise ContractError(f"{folder} holds no {role} metadata: `cloud keys FOLDER` makes a repository")
    return load(folder / f"{max(versions)}.{role}.json", kind)
