"""The signing keys of a fleet and the first signed metadata: made once, offline; renewed once in a while."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from cloud.fleet.files import newest, write_durably
from cloud.fleet.releases import RELEASES_LIFE, SNAPSHOT_LIFE, TIMESTAMP_LIFE, Repository
from contract.errors import ContractError

ROOT_LIFE, TARGETS_LIFE = timedelta(days=365), timedelta(days=90)
ROOT_KEYS, ROOT_THRESHOLD = ("root-1", "root-2", "root-3"), 2
PATHS = "releases/*/*"


def make_keys(folder: Path, now: datetime) -> None:
    """Write every key (mode 0600) and version 1 of all metadata under `folder`, which must not exist or be empty.

    `offline/` is for a safe, `trainer/` for the trainer, `online/` and `repository/` for the cloud.
    Raises ContractError where something lies there already; OSError where it cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ContractError(f"{folder} is not empty, and keys are never overwritten: choose another folder")
    roots = [_new_key(folder / "offline" / f"{name}.pem") for name in ROOT_KEYS]
    targets = _new_key(folder / "offline" / "targets.pem")
    releases = _new_key(folder / "trainer" / "releases.pem")
    snapshot, timestamp = (_new_key(folder / "online" / f"{name}.pem") for name in ("snapshot", "timestamp"))
    root = Root(expires=_until(now, ROOT_LIFE), consistent_snapshot=True)
    for role, signers in (
        ("root", roots),
        ("targets", [targets]),
        ("snapshot", [snapshot]),
        ("timestamp", [timestamp]),
    ):
        for signer in signers:
            root.add_key(signer.public_key, role)
    root.roles["root"].threshold = ROOT_THRESHOLD
    key = releases.public_key
    delegated = DelegatedRole("releases", [key.keyid], 1, terminating=True, paths=[PATHS])
    top = Targets(
        expires=_until(now, TARGETS_LIFE), delegations=Delegations(keys={key.keyid: key}, roles={"releases": delegated})
    )
    mentions = {"targets.json": MetaFile(1), "releases.json": MetaFile(1)}
    metadata = folder / "repository" / "metadata"
    (folder / "repository" / "targets").mkdir(parents=True)
    _sign(metadata, "root", root, roots)
    _sign(metadata, "targets", top, [targets])
    _sign(metadata, "releases", Targets(expires=_until(now, RELEASES_LIFE)), [releases])
    _sign(metadata, "snapshot", Snapshot(expires=_until(now, SNAPSHOT_LIFE), meta=mentions), [snapshot])
    _sign(metadata, "timestamp", Timestamp(expires=_until(now, TIMESTAMP_LIFE)), [timestamp])


def renew(folder: Path, now: datetime) -> None:
    """Sign root and targets again with the offline keys, one version up.

    Where the online keys lie there too, snapshot and timestamp follow at once; otherwise the cloud's next refresh does
    it, once the new files are in its metadata folder. Raises ContractError where keys or metadata are missing.
    """
    metadata = folder / "repository" / "metadata"
    roots = [load_signer(path) for name in ROOT_KEYS if (path := folder / "offline" / f"{name}.pem").exists()]
    if len(roots) < ROOT_THRESHOLD:
        raise ContractError(f"{folder / 'offline'} holds {len(roots)} of at least {ROOT_THRESHOLD} root keys")
    targets = load_signer(folder / "offline" / "targets.pem")
    root, top = newest(metadata, "root", Root).signed, newest(metadata, "targets", Targets).signed
    for signed, life in ((root, ROOT_LIFE), (top, TARGETS_LIFE)):
        signed.version += 1
        signed.expires = _until(now, life)
    _sign(metadata, "root", root, roots)
    _sign(metadata, "targets", top, [targets])
    if (folder / "online").is_dir():
        Repository(folder).refresh(now)


def load_signer(path: Path) -> CryptoSigner:
    """The key in a PEM file; raises ContractError where there is none."""
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except (OSError, ValueError) as error:
        raise ContractError(f"no private key in {path} ({error})") from error


def _new_key(path: Path) -> CryptoSigner:
    signer = CryptoSigner.generate_ed25519()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(signer.private_bytes)
        file.flush()
        os.fsync(file.fileno())
    return signer


def _sign(folder: Path, role: str, signed: Root | Targets | Snapshot | Timestamp, signers: list[CryptoSigner]) -> None:
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    content = metadata.to_bytes()
    if role != "timestamp":
        write_durably(folder / f"{signed.version}.{role}.json", content)
    if role in ("root", "timestamp"):  # root.json goes onto the cards
        write_durably(folder / f"{role}.json", content)


def _until(now: datetime, life: timedelta) -> datetime:
    return now.replace(microsecond=0) + life
