"""Sign a release and hand it to the cloud: the list of releases is ours alone, the cloud can only serve it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp

from contract.errors import ContractError
from contract.release import (
    COMPILED_NAME,
    LIMITS,
    MANIFEST_LIMIT,
    MANIFEST_NAME,
    MODEL_NAME,
    RELEASE_FILES,
    Manifest,
    compiled_file,
    read_manifest,
    target_path,
)  # fmt: skip
from trainer.link import Link

LIFE = timedelta(days=30)  # of a signed list
RENEW = timedelta(days=20)  # left to live, from which it is signed again
LEAST_AGENT = "0.1.0"
KEY_NAME = "releases.pem"
SEEN_NAME = "signed-version"  # the newest list that we signed, so that no older one is ever continued


class Signer:
    """The holder of the role `releases`."""

    def __init__(self, keys: Path, folder: Path) -> None:
        """`keys` holds releases.pem; `folder` is ours to remember in. Raises ContractError where there is no key."""
        path = keys / KEY_NAME
        try:
            self._key = CryptoSigner(load_pem_private_key(path.read_bytes(), None))
        except (OSError, ValueError) as error:
            raise ContractError(
                f"no private key in {path}: copy the folder `trainer` that `cloud keys` made"
            ) from error
        self._seen = folder / SEEN_NAME

    def served(self, link: Link) -> Metadata[Targets]:
        """The list that the cloud serves now.

        Raises ContractError where we did not sign it, or where it is older than the last one that we signed.
        """
        try:
            timestamp = Metadata[Timestamp].from_bytes(link.metadata("timestamp.json")).signed
            name = f"{timestamp.snapshot_meta.version}.snapshot.json"
            snapshot = Metadata[Snapshot].from_bytes(link.metadata(name)).signed
            listed = link.metadata(f"{snapshot.meta['releases.json'].version}.releases.json")
            found = Metadata[Targets].from_bytes(listed)
            signature = found.signatures[self._key.public_key.keyid]
            self._key.public_key.verify_signature(signature, found.signed_bytes)
        except (RepositoryError, KeyError, UnverifiedSignatureError) as error:
            raise ContractError(f"the served list of releases is not of our signing: {error}") from error
        if found.signed.version < self._last():
            raise ContractError(
                f"the cloud serves list {found.signed.version} of releases, but we signed {self._last()} already: "
                "it was set back, perhaps restored from a backup; nothing is signed on top of it"
            )
        return found

    def publish(self, link: Link, release: int, files: Mapping[str, bytes], now: datetime) -> None:
        """Upload and publish `files`, as `release_files` gives them, as `release`; nothing to do where exactly these are out already.

        Raises ContractError where other files bear the number, or a higher one is out.
        """
        listed = self.served(link)
        wanted = {
            target_path(release, name): TargetFile.from_data(target_path(release, name), files[name], ["sha256"])
            for name in files
        }
        paths = [target_path(release, name) for name in LIMITS]
        known = {path: listed.signed.targets[path].hashes for path in paths if path in listed.signed.targets}
        if known:
            if known != {path: one.hashes for path, one in wanted.items()}:
                raise ContractError(f"release {release} is published with other files")
            return
        for path, target in wanted.items():
            target.unrecognized_fields["custom"] = {"release": release, "least_agent": LEAST_AGENT}
            listed.signed.targets[path] = target
        for name in files:
            link.upload(release, name, files[name])
        link.publish(release, self._sign(listed, now))

    def prolong(self, link: Link, now: datetime) -> bool:
        """Sign the served list again where it has less than 20 days to live; tells whether it did."""
        listed = self.served(link)
        if listed.signed.expires - now > RENEW:
            return False
        link.prolong(self._sign(listed, now))
        return True

    def files(self, link: Link, release: int) -> dict[str, bytes]:
        """The files of a published release. Raises ContractError where there is none of this number."""
        targets = self.served(link).signed.targets
        found = {}
        for name in RELEASE_FILES:
            target = targets.get(target_path(release, name))
            if target is None:
                raise ContractError(f"release {release} is not in the repository")
            found[name] = link.target(release, target.hashes["sha256"], name)
        compiled = targets.get(target_path(release, COMPILED_NAME))
        if compiled is not None:
            found[COMPILED_NAME] = link.target(release, compiled.hashes["sha256"], COMPILED_NAME)
        return found

    def _sign(self, listed: Metadata[Targets], now: datetime) -> bytes:
        listed.signed.version += 1
        listed.signed.expires = now.replace(microsecond=0) + LIFE
        listed.sign(self._key)
        self._seen.parent.mkdir(parents=True, exist_ok=True)
        self._seen.write_text(f"{listed.signed.version - 1}\n")  # that one is out; this one may never arrive
        return listed.to_bytes()

    def _last(self) -> int:
        return int(self._seen.read_text()) if self._seen.exists() else 0


def release_files(folder: Path) -> dict[str, bytes]:
    """What is signed of a candidate: model, manifest, golden frames and, where the manifest names one, the file for the Edge TPU.

    Raises ContractError where a file is missing or not the one that the manifest names.
    """
    manifest = read_manifest(folder / MODEL_NAME)
    names = [*RELEASE_FILES, *([COMPILED_NAME] if compiled_file(folder / MODEL_NAME, manifest) else [])]
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise ContractError(f"{error.filename} cannot be read: {error.strerror}") from error


def renumbered(files: Mapping[str, bytes], release: int) -> dict[str, bytes]:
    """The same files under another number."""
    manifest = Manifest.decode(files[MANIFEST_NAME], limit=MANIFEST_LIMIT)
    told = manifest.trained_on | {"again": manifest.release}
    return {**files, MANIFEST_NAME: manifest.model_copy(update={"release": release, "trained_on": told}).encode()}
