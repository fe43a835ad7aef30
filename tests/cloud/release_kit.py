"""What a trainer does to release a model: three files, and the `releases` role signed with its own key."""

from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from tuf.api.metadata import Metadata, TargetFile, Targets

from cloud.fleet.files import newest
from cloud.fleet.keys import load_signer
from cloud.fleet.releases import Repository
from contract.labels import LABELS
from contract.release import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME, Head, Manifest, target_path


def release_files(number: int, **changes: object) -> dict[str, bytes]:
    model, golden = b"model" + bytes([number]) * 100, b"golden" + bytes([number])
    values: dict[str, object] = {
        "release": number, "digest": sha256(model).hexdigest(), "size": len(model), "head": Head.YOLOV5U_CUT,
        "input_size": 320, "labels": LABELS, "thresholds": dict.fromkeys(LABELS, 0.5), "compiled_for_edge_tpu": False,
        "golden_digest": sha256(golden).hexdigest(), "metrics": {"own crops": {"map50": 0.713, "images": 40}, "public": {"map50": 0.64}},
    }  # fmt: skip
    manifest = Manifest.model_validate({**values, **changes})
    return {MODEL_NAME: model, MANIFEST_NAME: manifest.encode(), GOLDEN_NAME: golden}


def signed(
    folder: Path, release: int, files: dict[str, bytes], now: datetime, *, key: str = "trainer/releases", step: int = 1,
    days: float = 30,
) -> bytes:  # fmt: skip
    """The next `releases.json`, as `trainer release` makes it."""
    metadata: Metadata[Targets] = newest(folder / "repository" / "metadata", "releases", Targets)
    metadata.signed.version += step
    metadata.signed.expires = now.replace(microsecond=0) + timedelta(days=days)
    for name, content in files.items():
        target = TargetFile.from_data(target_path(release, name), content, ["sha256"])
        target.unrecognized_fields["custom"] = {"release": release, "least_agent": "0.1.0"}
        metadata.signed.targets[target.path] = target
    metadata.sign(load_signer(folder / f"{key}.pem"))
    return metadata.to_bytes()


def release(folder: Path, number: int, now: datetime) -> Manifest:
    """Stage and publish one."""
    repository, files = Repository(folder), release_files(number)
    for name, content in files.items():
        repository.stage(number, name, content)
    return repository.publish(number, signed(folder, number, files, now), now)
