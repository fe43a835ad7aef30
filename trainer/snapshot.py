"""A snapshot and its crops to a YOLO data set: every crop back at its place and scale in an otherwise grey frame."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from contract.dataset import Answer, Example, Snapshot, Use
from contract.errors import ContractError
from contract.labels import LABELS
from trainer.dataset import Split, labels_in

GREY = 114
LARGEST = 4096  # px, side of a frame
MOST_REPEATS = 5
SHARES = (0.5, 0.4, 0.1)  # of an epoch: base pictures, composites, pictures without a face (tune)
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Composites:
    """What was built from one snapshot."""

    data: Path  # the data.yaml, with lists `train` and `judge`
    train: tuple[Path, ...]
    judge: tuple[Path, ...]
    judge_groups: tuple[int, ...]  # pictures of one door on one day share a number
    gone: int = 0  # examples whose picture is no longer kept
    unreadable: int = 0  # examples whose picture no decoder reads

    @property
    def judge_split(self) -> Split:
        """The control crops that never teach."""
        return Split("control crops", self.judge)


class UnreadableError(ContractError):
    """Bytes that are no picture to a decoder, though they have a picture's headers."""


def build(
    snapshot: Snapshot, crop: Callable[[str], bytes | None], out: Path, plates: Mapping[str, Picture] | None = None
) -> Composites:
    """Write `out` as a YOLO data set; `crop` gives a picture's bytes by digest, `plates` an empty frame (BGR) by door.

    Where `crop` gives None the picture is no longer kept, and the example is left out; so is one that cannot be decoded.
    Raises ContractError for a geometry that cannot be.
    """
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True, exist_ok=True)
    listed: dict[Use, list[Path]] = {Use.TRAIN: [], Use.JUDGE: []}
    judged: list[Example] = []
    gone = unreadable = 0
    for example in snapshot.examples:
        jpeg = crop(example.jpeg_digest)
        if jpeg is None:
            gone += 1
            continue
        try:
            frame, row = compose(example, jpeg, (plates or {}).get(example.device))
        except UnreadableError:
            unreadable += 1
            continue
        image = out.resolve() / "images" / f"{example.crop}.jpg"
        cv2.imwrite(str(image), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
        (out / "labels" / f"{example.crop}.txt").write_text(row)
        listed[example.use].append(image)
        judged += [example] if example.use is Use.JUDGE else []
    days = [(one.device, one.at.date()) for one in judged]
    numbers = {day: index for index, day in enumerate(sorted(set(days)))}
    write_list(out / "train.txt", listed[Use.TRAIN])
    write_list(out / "judge.txt", listed[Use.JUDGE])
    return Composites(
        write_data(out), tuple(listed[Use.TRAIN]), tuple(listed[Use.JUDGE]), tuple(numbers[day] for day in days), gone,
        unreadable,
    )  # fmt: skip


def compose(example: Example, jpeg: bytes, plate: Picture | None = None) -> tuple[Picture, str]:
    """The frame with the crop in it, and its YOLO row ('' where there is no face)."""
    width, height = example.frame_size
    pixels: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if pixels is None:
        raise UnreadableError(f"crop {example.crop} is no picture")
    if not (0 < width <= LARGEST and 0 < height <= LARGEST):
        raise ContractError(f"crop {example.crop} is of a frame of {width} x {height} px")
    size = [max(1, round(side / example.scale)) for side in (pixels.shape[1], pixels.shape[0])]
    left, top = example.origin
    if max(size) > LARGEST or left >= width or top >= height:
        raise ContractError(f"crop {example.crop} does not lie in its frame of {width} x {height} px")
    canvas = np.full((height, width, 3), GREY, np.uint8) if plate is None else plate.copy()
    if canvas.shape != (height, width, 3):
        raise ContractError(f"the plate of {example.device} is not {width} x {height} px")
    pasted = cv2.resize(pixels, (size[0], size[1]), interpolation=cv2.INTER_LINEAR)
    shown = pasted[: height - top, : width - left]
    canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    if example.answer is Answer.NOT_A_FACE or example.answer.label is None:
        return canvas, ""
    corners = [
        min(max((start + share * side) / whole, 0.0), 1.0)
        for share, start, side, whole in zip(
            example.box, (left, top) * 2, (size[0], size[1]) * 2, (width, height) * 2, strict=True
        )
    ]
    x0, y0, x1, y1 = corners
    if not (x0 < x1 and y0 < y1):
        raise ContractError(f"crop {example.crop} has an empty box")
    kind = LABELS.index(example.answer.label)
    return canvas, f"{kind} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}\n"


def mix(base: Sequence[Path], composites: Sequence[Path], background: Sequence[Path]) -> list[Path]:
    """One epoch: each picture at least once, lists repeated towards SHARES, none more than MOST_REPEATS times."""
    parts = [(list(part), share) for part, share in zip((base, composites, background), SHARES, strict=True) if part]
    total = max((len(part) / share for part, share in parts), default=0)
    total *= sum(share for _, share in parts)
    whole = sum(share for _, share in parts)
    return [path for part, share in parts for path in _stretch(part, math.ceil(total * share / whole))]


def write_mix(
    out: Path, base: Sequence[Split], composites: Sequence[Path], validation: Sequence[Split]
) -> tuple[Path, dict[str, int]]:
    """Write the lists `mix` and `val` beside a data.yaml in `out`; returns it, and how many pictures are of which kind."""
    out.mkdir(parents=True, exist_ok=True)
    full = [image for split in base for image in split.images]
    background = [image for image in (*full, *composites) if not labels_in(image)]
    empty = set(background)
    faces = [image for image in full if image not in empty]
    pasted = [image for image in composites if image not in empty]
    listed = mix(faces, pasted, background)
    write_list(out / "mix.txt", listed)
    write_list(out / "val.txt", [image for split in validation for image in split.images])
    kinds = {"base": len(faces), "composites": len(pasted), "background": len(background), "epoch": len(listed)}
    return write_data(out, train="mix.txt", val="val.txt"), kinds


def write_list(path: Path, images: Sequence[Path]) -> None:
    """A list file of absolute paths."""
    path.write_text("".join(f"{image}\n" for image in images))


def write_data(out: Path, train: str = "train.txt", val: str = "judge.txt") -> Path:
    """A data.yaml in `out` over two of its lists."""
    names = {index: label.value for index, label in enumerate(LABELS)}
    data = out / "data.yaml"
    data.write_text(yaml.safe_dump({"path": ".", "train": train, "val": val, "names": names}))
    return data


def _stretch(part: list[Path], wanted: int) -> list[Path]:
    wanted = min(max(wanted, len(part)), MOST_REPEATS * len(part))
    return [part[index % len(part)] for index in range(wanted)]
