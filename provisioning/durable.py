"""Files that are there whole or not at all: write, fsync, rename, fsync the folder."""

import os
import tempfile
from pathlib import Path

from contract.errors import ContractError


def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put `content` at `path`, in place of what was there; a crash leaves the old file or the new one.

    Raises ContractError where the folder cannot be written.
    """
    _put(path, content, mode, replace=True)


def write_once(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put `content` at `path` where nothing is yet; raises ContractError, and changes nothing, where something is."""
    _put(path, content, mode, replace=False)


def read(path: Path, *, limit: int = 65536) -> bytes:
    """The file's bytes; raises ContractError where it cannot be read or has over `limit` bytes."""
    try:
        with path.open("rb") as source:
            content = source.read(limit + 1)
    except OSError as error:
        raise ContractError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > limit:
        raise ContractError(f"{path} has over {limit} bytes: that is not the file that belongs here")
    return content


def make_folder(folder: Path) -> None:
    """Make `folder`, for its owner alone; raises ContractError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ContractError(f"cannot make the folder {folder}: {error.strerror}; name another") from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(path: Path, content: bytes, mode: int, *, replace: bool) -> None:
    draft: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600 from its first moment
        draft = Path(name)
        with os.fdopen(handle, "wb") as sink:
            sink.write(content)
            sink.flush()
            os.fchmod(sink.fileno(), mode)
            os.fsync(sink.fileno())
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)  # unlike a rename, this never replaces
        sync_folder(path.parent)
    except FileExistsError as error:
        raise ContractError(f"{path} is already there and is never overwritten; name another folder") from error
    except OSError as error:
        raise ContractError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
