"""A real TUF repository for tests: ed25519 keys, root 2 of 3, `releases` delegated; signed anew at every change."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)  # fmt: skip

from contract.release import target_path


class Repository:
    """Files under `folder`/metadata and `folder`/targets; `root` is what a door is enrolled with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.version, self.releases = folder, 0, Targets()
        self.keys = {name: CryptoSigner.generate_ed25519() for name in ("targets", "releases", "snapshot", "timestamp")}
        self.roots = [CryptoSigner.generate_ed25519() for _ in range(3)]
        self.root = folder / "metadata" / "1.root.json"
        self.root.parent.mkdir(parents=True)
        root = Root(expires=later(365), consistent_snapshot=True)
        for signer in self.roots:
            root.add_key(signer.public_key, "root")
        root.roles["root"].threshold = 2
        for name in ("targets", "snapshot", "timestamp"):
            root.add_key(self.keys[name].public_key, name)
        self._write(root, self.roots[:2], "1.root.json")
        self.publish()

    def add(self, release: int, files: dict[str, bytes]) -> None:
        """Sign and publish the files of a release."""
        for name, content in files.items():
            path = target_path(release, name)
            target = TargetFile.from_data(path, content, ["sha256"])
            target.unrecognized_fields["custom"] = {"release": release}
            self.releases.targets[path] = target
            self.file(release, name).parent.mkdir(parents=True, exist_ok=True)
            self.file(release, name).write_bytes(content)
        self.publish()

    def file(self, release: int, name: str) -> Path:
        """Where a signed file lies, under its digest."""
        path = target_path(release, name)
        digest = self.releases.targets[path].hashes["sha256"]
        return self.folder / "targets" / "releases" / str(release) / f"{digest}.{name}"

    def publish(self, *, timestamp_days: float = 1, releases_key: CryptoSigner | None = None) -> None:
        """Sign everything but the root as its next version."""
        self.version += 1
        releases = self.keys["releases"]
        role = DelegatedRole("releases", [], 1, True, paths=["releases/*/*"])
        targets = Targets(version=self.version, expires=later(90), delegations=Delegations({}, {"releases": role}))
        targets.add_key(releases.public_key, "releases")
        self.releases.version, self.releases.expires = self.version, later(90)
        self._write(self.releases, [releases_key or releases], f"{self.version}.releases.json")
        self._write(targets, [self.keys["targets"]], f"{self.version}.targets.json")
        names = ("targets.json", "releases.json")
        meta = {name: MetaFile(self.version) for name in names}
        snapshot = Snapshot(version=self.version, expires=later(7), meta=meta)
        self._write(snapshot, [self.keys["snapshot"]], f"{self.version}.snapshot.json")
        stamp = Timestamp(version=self.version, expires=later(timestamp_days), snapshot_meta=MetaFile(self.version))
        self._write(stamp, [self.keys["timestamp"]], "timestamp.json")

    def _write(self, role: Any, signers: list[CryptoSigner], name: str) -> None:
        metadata: Metadata[Any] = Metadata(role)
        for signer in signers:
            metadata.sign(signer, append=True)
        metadata.to_file(str(self.root.parent / name))


def later(days: float) -> datetime:
    """UTC in `days` days, to the second."""
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
