"""YOLO data sets on disk: what a `data.yaml` lists, resolved to files, and several of them joined for one training."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from contract.errors import ContractError
from contract.labels import LABELS, Label


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


def labels_in(image: Path) -> set[Label]:
    """The labels that occur in `image`."""
    rows = label_path(image)
    listed = rows.read_text().splitlines() if rows.exists() else []
    return {LABELS[int(row.split()[0])] for row in listed if row.strip()}


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
