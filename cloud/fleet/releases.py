"""The repository of signed releases on disk: what the trainer signed is checked, moved in, and named by the timestamp last."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from cloud.fleet.files import load, newest, parse, write_durably
from contract.errors import ContractError
from contract.release import (
    COMPILED_NAME,
    GOLDEN_NAME,
    LIMITS,
    MANIFEST_LIMIT,
    MANIFEST_NAME,
    MODEL_NAME,
    RELEASE_FILES,
    Manifest,
    require_compiled,
    target_path,
)

TIMESTAMP_LIFE, TIMESTAMP_AGE = timedelta(days=3), timedelta(hours=6)
SNAPSHOT_LIFE, SNAPSHOT_AGE = timedelta(days=14), timedelta(days=7)
RELEASES_LIFE = timedelta(days=30)
SLACK = timedelta(days=1)  # between the trainer's clock and ours
ONLINE = ("snapshot", "timestamp")  # roles whose keys lie beside the repository
METADATA_LIMIT = 4 * 1024 * 1024  # bytes of the `releases` role


class Repository:
    """The folder with `repository/` (served), `online/` (two keys) and `staging/`.

    Anything that dies between two steps leaves the earlier repository valid: only the timestamp, written last, names
    what came before it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.metadata, self.targets = folder / "repository" / "metadata", folder / "repository" / "targets"

    def is_there(self) -> bool:
        """Whether this machine has the releases."""
        return (self.metadata / "timestamp.json").is_file()

    def signs(self) -> bool:
        """Whether it can also keep their signatures fresh."""
        return self.is_there() and all((self._folder / "online" / f"{name}.pem").is_file() for name in ONLINE)

    def stage(self, release: int, name: str, content: bytes) -> None:
        """Keep one file of a release that is to come. Raises ContractError for another name or too many bytes."""
        if name not in LIMITS:
            raise ContractError(f"a release has no file {name[:60]!r}, only {', '.join(LIMITS)}")
        if not 0 < len(content) <= LIMITS[name]:
            raise ContractError(f"{name} has {len(content)} bytes; 1 to {LIMITS[name]} are allowed")
        if release <= max(self.numbers(), default=0):
            raise ContractError(f"release {release} is not above {max(self.numbers(), default=0)}")
        write_durably(self._staged(release, name), content)

    def publish(self, release: int, signed: bytes, now: datetime) -> Manifest:
        """Make the staged files public under the trainer's new `releases` metadata.

        Raises ContractError for anything unsigned, old, mixed or unfit; OSError where it cannot be written. Either way
        the repository is as it was.
        """
        with self._alone():
            new = self._checked(signed, now)
            old = self._releases().signed.targets
            signed_names = {name for name in LIMITS if target_path(release, name) in new.signed.targets}
            wanted = {target_path(release, name): name for name in signed_names.union(RELEASE_FILES)}
            _require_only(old, new.signed.targets, set(wanted))
            if release <= max(_numbers(old), default=0):
                raise ContractError(f"release {release} is not above {max(_numbers(old), default=0)}")
            contents = {name: self._read_staged(release, name) for name in wanted.values()}
            for path, name in wanted.items():
                _require_same(new.signed.targets[path], contents[name], release)
            manifest = _checked_manifest(release, contents)
            for path, name in wanted.items():
                place = self.targets / path
                write_durably(place.with_name(f"{sha256(contents[name]).hexdigest()}.{name}"), contents[name])
            self._announce(new, signed, now)
            shutil.rmtree(self._folder / "staging" / str(release), ignore_errors=True)
            return manifest

    def prolong(self, signed: bytes, now: datetime) -> None:
        """Take `releases` metadata that only lives longer: the same targets. Raises ContractError as `publish`."""
        with self._alone():
            new = self._checked(signed, now)
            _require_only(self._releases().signed.targets, new.signed.targets, set())
            self._announce(new, signed, now)

    def refresh(self, now: datetime) -> bool:
        """Sign snapshot and timestamp again where they are old or a newer `targets` lies there; tells whether it did.

        Raises ContractError where keys or metadata are missing, OSError where nothing can be written.
        """
        with self._alone():
            timestamp, snapshot = self._timestamp().signed, self._snapshot().signed
            top = newest(self.metadata, "targets", Targets)
            newer = top.signed.version > snapshot.meta["targets.json"].version
            if newer:
                _verify(newest(self.metadata, "root", Root).signed, "targets", top)
                snapshot.meta["targets.json"] = MetaFile(top.signed.version)
            old = snapshot.expires - now < SNAPSHOT_LIFE - SNAPSHOT_AGE
            if not newer and not old and timestamp.expires - now >= TIMESTAMP_LIFE - TIMESTAMP_AGE:
                return False
            if newer or old:
                self._sign_snapshot(snapshot, now)
                timestamp.snapshot_meta = MetaFile(snapshot.version)
            self._sign_timestamp(timestamp, now)
            return True

    def endings(self) -> dict[str, datetime]:
        """When each role's signatures end. Raises ContractError where there is no repository."""
        roles: dict[str, Root | Targets | Snapshot | Timestamp] = {
            "root": newest(self.metadata, "root", Root).signed, "targets": newest(self.metadata, "targets", Targets).signed,
            "releases": self._releases().signed, "snapshot": self._snapshot().signed, "timestamp": self._timestamp().signed,
        }  # fmt: skip
        return {role: signed.expires for role, signed in roles.items()}

    def numbers(self) -> list[int]:
        """The published releases, ascending."""
        return _numbers(self._releases().signed.targets)

    def manifest(self, release: int) -> Manifest:
        """A published release's manifest. Raises ContractError where there is none."""
        file = self._releases().signed.targets.get(target_path(release, MANIFEST_NAME))
        if file is None:
            raise ContractError(f"release {release} is not in the repository")
        place = self.targets / "releases" / str(release) / f"{file.hashes['sha256']}.{MANIFEST_NAME}"
        try:
            return Manifest.decode(place.read_bytes(), limit=MANIFEST_LIMIT)
        except OSError as error:
            raise ContractError(f"cannot read {place}: {error.strerror}") from error

    def _checked(self, content: bytes, now: datetime) -> Metadata[Targets]:
        if len(content) > METADATA_LIMIT:
            raise ContractError(f"releases.json has {len(content)} bytes; at most {METADATA_LIMIT} are allowed")
        new = parse(content, Targets, "releases.json")
        top = load(self.metadata / f"{self._snapshot().signed.meta['targets.json'].version}.targets.json", Targets)
        _verify(newest(self.metadata, "root", Root).signed, "targets", top)
        _verify(top.signed, "releases", new)
        version = self._releases().signed.version
        if new.signed.version != version + 1:
            raise ContractError(f"releases.json has version {new.signed.version}, but {version + 1} is next")
        if new.signed.is_expired(now):
            raise ContractError(f"releases.json expired on {new.signed.expires:%Y-%m-%d}")
        if new.signed.expires > now + RELEASES_LIFE + SLACK:
            raise ContractError(
                f"releases.json may live {RELEASES_LIFE.days} days, not until {new.signed.expires:%Y-%m-%d}"
            )
        if new.signed.delegations is not None:
            raise ContractError("releases.json may not delegate any further")
        return new

    def _announce(self, new: Metadata[Targets], content: bytes, now: datetime) -> None:
        timestamp, snapshot = self._timestamp().signed, self._snapshot().signed
        write_durably(self.metadata / f"{new.signed.version}.releases.json", content)
        snapshot.meta["releases.json"] = MetaFile(new.signed.version)
        self._sign_snapshot(snapshot, now)
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        self._sign_timestamp(timestamp, now)

    def _sign_snapshot(self, snapshot: Snapshot, now: datetime) -> None:
        snapshot.version += 1
        snapshot.expires = now.replace(microsecond=0) + SNAPSHOT_LIFE
        metadata = Metadata(snapshot)
        metadata.sign(self._online("snapshot"))
        write_durably(self.metadata / f"{snapshot.version}.snapshot.json", metadata.to_bytes())

    def _sign_timestamp(self, timestamp: Timestamp, now: datetime) -> None:
        timestamp.version += 1
        timestamp.expires = now.replace(microsecond=0) + TIMESTAMP_LIFE
        metadata = Metadata(timestamp)
        metadata.sign(self._online("timestamp"))
        write_durably(self.metadata / "timestamp.json", metadata.to_bytes())

    def _online(self, name: str) -> CryptoSigner:
        path = self._folder / "online" / f"{name}.pem"
        try:
            return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
        except (OSError, ValueError) as error:
            raise ContractError(f"no private key in {path} ({error})") from error

    def _timestamp(self) -> Metadata[Timestamp]:
        return load(self.metadata / "timestamp.json", Timestamp)

    def _snapshot(self) -> Metadata[Snapshot]:
        return load(self.metadata / f"{self._timestamp().signed.snapshot_meta.version}.snapshot.json", Snapshot)

    def _releases(self) -> Metadata[Targets]:
        return load(self.metadata / f"{self._snapshot().signed.meta['releases.json'].version}.releases.json", Targets)

    def _staged(self, release: int, name: str) -> Path:
        return self._folder / "staging" / str(release) / name

    def _read_staged(self, release: int, name: str) -> bytes:
        try:
            return self._staged(release, name).read_bytes()
        except FileNotFoundError as error:
            raise ContractError(f"{name} of release {release} was not uploaded") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and processes out."""
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _verify(delegator: Root | Targets, role: str, metadata: Metadata[Targets]) -> None:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise ContractError(f"{role}.json: {error}") from error


def _numbers(targets: dict[str, TargetFile]) -> list[int]:
    return sorted({int(path.split("/")[1]) for path in targets})


def _require_only(old: dict[str, TargetFile], new: dict[str, TargetFile], added: set[str]) -> None:
    if set(new) - set(old) != added or any(new.get(path) != file for path, file in old.items()):
        raise ContractError(f"releases.json must keep what it had and add exactly {sorted(added) or 'nothing'}")


def _require_same(file: TargetFile, content: bytes, release: int) -> None:
    try:
        file.verify_length_and_hashes(content)
    except RepositoryError as error:
        raise ContractError(f"{file.path} is not the file that was uploaded: {error}") from error
    if file.hashes.get("sha256") != sha256(content).hexdigest():
        raise ContractError(f"{file.path} must be named by its SHA-256")
    if not isinstance(file.custom, dict) or file.custom.get("release") != release:
        raise ContractError(f"{file.path} does not say that it belongs to release {release}")


def _checked_manifest(release: int, contents: dict[str, bytes]) -> Manifest:
    manifest = Manifest.decode(contents[MANIFEST_NAME], limit=MANIFEST_LIMIT)
    digests = {name: sha256(content).hexdigest() for name, content in contents.items()}
    if manifest.release != release:
        raise ContractError(f"the manifest is of release {manifest.release}, not {release}")
    if (manifest.digest, manifest.size) != (digests[MODEL_NAME], len(contents[MODEL_NAME])):
        raise ContractError("the manifest describes another model file")
    if manifest.golden_digest != digests[GOLDEN_NAME]:
        raise ContractError("the manifest describes other golden frames")
    if COMPILED_NAME in contents:
        require_compiled(contents[COMPILED_NAME], manifest)
    return manifest
