"""YOLO data sets on disk: what a `data.yaml` lists, resolved to files, and several of them joined for one training."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from contract.errors import ContractError
from contract.labels import LABELS, Label

DOOR_FACE = 0.05  # of the image's longer side: narrower faces are not judged, since a door's are larger


@dataclass(frozen=True, slots=True)
class Split:
    """The images of one split, as absolute paths; each has its labels at `labels/` beside `images/`."""

    name: str
    images: tuple[Path, ...]


def read_split(data: Path, name: str) -> Split:
    """The split `name` of a YOLO `data.yaml`: a key of it (`train`, `val`), or a list file's stem (`train_val`).

    Raises ContractError where the file, the split or its images are missing or the classes are not ours.
    """
    try:
        listing = yaml.safe_load(data.read_text())
    except OSError as error:
        raise ContractError(f"cannot read the data set {data}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ContractError(f"{data} is not YAML: {error}") from error
    if not isinstance(listing, dict):
        raise ContractError(f"{data} is no data set description: expected keys path, train, val, names")
    _require_our_classes(data, listing.get("names"))
    root = data.parent / str(listing.get("path", "."))
    target = root / str(listing[name]) if isinstance(listing.get(name), str) else root / f"{name}.txt"
    images = _images(target)
    if not images:
        known = ", ".join(sorted(key for key in ("train", "val", "test") if listing.get(key)))
        raise ContractError(f"{data} has no images for split '{name}' (looked at {target}); it names: {known}")
    return Split(name, images)


def label_path(image: Path) -> Path:
    """Where the YOLO labels of `image` lie."""
    return image.parent.parent / "labels" / f"{image.stem}.txt"


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled face: centre and size in the unit square of its image."""

    label: Label
    x: float
    y: float
    width: float
    height: float


def read_rows(image: Path) -> tuple[Row, ...]:
    """The labelled faces of `image`; none where it has no file of labels.

    Raises ContractError that names file and line where a row is not `class x y w h` with one of our classes and a centre
    and size in the unit square.
    """
    rows = label_path(image)
    listed = rows.read_text().splitlines() if rows.exists() else []
    return tuple(_row(rows, number, row) for number, row in enumerate(listed, start=1) if row.strip())


def labels_in(image: Path) -> set[Label]:
    """The labels that occur in `image`. Raises ContractError for a row that is none."""
    return {face.label for face in read_rows(image)}


def survey(split: Split, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """What a split holds: numbers of images and faces, and a digest of all their bytes in listing order.

    Reads every image and every label, so that what is wrong is found before hours of training.
    Raises ContractError for an image that does not decode, a row of labels that is none, or a split without a face.
    """
    import cv2  # not needed to list files

    digest, counts, empty = sha256(), dict.fromkeys(LABELS, 0), 0
    for number, image in enumerate(split.images, start=1):
        if cv2.imread(str(image), cv2.IMREAD_COLOR) is None:
            raise ContractError(f"cannot read the image {image}: take it off the list, or bring it back whole")
        faces = read_rows(image)
        for face in faces:
            counts[face.label] += 1
        empty += not faces
        labels = label_path(image)
        digest.update(image.read_bytes() + (labels.read_bytes() if labels.exists() else b""))
        if progress:
            progress(number, len(split.images))
    if not any(counts.values()):
        raise ContractError(f"split '{split.name}' has {len(split.images)} images and no labelled face")
    faces_by_label = {label.value: count for label, count in counts.items()}
    return {
        "split": split.name, "images": len(split.images), "without_a_face": empty, "faces": faces_by_label,
        "sha256": digest.hexdigest(),
    }  # fmt: skip


def join(folder: Path, sets: list[tuple[Path, str, str]], repeat: dict[str, int]) -> Path:
    """Write one `data.yaml` in `folder` over several (data.yaml, training split, validation split or '').

    A training picture is listed as often as `repeat` says for the label in it that says most.
    """
    train = [
        image
        for data, split, _ in sets
        for image in read_split(data, split).images
        for _ in range(max([repeat.get(label, 1) for label in labels_in(image)], default=1) if repeat else 1)
    ]
    val = [image for data, _, split in sets if split for image in read_split(data, split).images]
    (folder / "train.txt").write_text("".join(f"{image}\n" for image in train))
    (folder / "val.txt").write_text("".join(f"{image}\n" for image in val))
    joined = folder / "data.yaml"
    names = {index: label.value for index, label in enumerate(LABELS)}
    joined.write_text(yaml.safe_dump({"path": str(folder), "train": "train.txt", "val": "val.txt", "names": names}))
    return joined


def _row(rows: Path, number: int, row: str) -> Row:
    try:
        kind, x, y, width, height = (float(part) for part in row.split())
        if kind not in range(len(LABELS)):
            raise ValueError(f"class {kind:g}")  # noqa: TRY301 - one message for every fault of a row
        if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
            raise ValueError("a centre or a size outside the unit square")  # noqa: TRY301
    except ValueError as error:
        raise ContractError(f"{rows}, line {number}: expected `class x y w h` ({error})") from error
    return Row(LABELS[int(kind)], x, y, width, height)


def _images(target: Path) -> tuple[Path, ...]:
    if target.is_dir():
        return tuple(
            sorted(path.resolve() for path in target.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        )
    if not target.is_file():
        return ()
    lines = [line.strip() for line in target.read_text().splitlines() if line.strip()]
    images = tuple((target.parent / line).resolve() for line in lines)
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise ContractError(f"{target} lists {len(missing)} images that are not there, the first is {missing[0]}")
    return images


def _require_our_classes(data: Path, names: object) -> None:
    listed = list(names.values()) if isinstance(names, dict) else names
    if listed != list(LABELS):
        raise ContractError(f"{data} names the classes {listed}; this project needs {list(LABELS)} in this order")
