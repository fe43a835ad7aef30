"""A split through the device's own eyes: each image's labelled faces beside what a model finds in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from agent.vision.detector import Detection
from agent.vision.geometry import Box
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.labels import Label
from trainer.dataset import Split, read_rows


@dataclass(frozen=True, slots=True)
class Face:
    """A face that somebody labelled."""

    label: Label
    box: Box  # in the unit square of its image
    share: float  # its width, of the image's longer side

    def corner(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, width, height in px of an image of this size."""
        return self.box.x0 * width, self.box.y0 * height, self.box.width * width, self.box.height * height


@dataclass(frozen=True, slots=True)
class Seen:
    """One image: who is in it, and what the model found."""

    image: int  # its place in the split
    width: int  # px
    height: int  # px
    truth: tuple[Face, ...]
    found: tuple[Detection, ...]  # best first

    def share(self, box: Box) -> float:
        """The width of `box`, of the image's longer side: what `--min-box` speaks of."""
        return box.width * self.width / max(self.width, self.height)


def look(
    detect: Callable[[Pixels], list[Detection]], split: Split, progress: Callable[[int, int], None] | None = None
) -> Iterator[Seen]:
    """What `detect` finds in every image of `split`, in order; raises ContractError for an unreadable image or label row."""
    for index, image in enumerate(split.images):
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        yield Seen(index, width, height, faces_in(image, width, height), tuple(detect(pixels)))
        if progress:
            progress(index + 1, len(split.images))


def read_image(image: Path) -> npt.NDArray[np.uint8]:
    """BGR pixels (height, width, 3); raises ContractError where `image` does not decode."""
    pixels: Any = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ContractError(f"cannot read the image {image}")
    return np.asarray(pixels, np.uint8)


def faces_in(image: Path, width: int, height: int) -> tuple[Face, ...]:
    """The labelled faces of an image of this size in px; raises ContractError for a row that is no label."""
    return tuple(
        Face(
            row.label,
            Box(row.x - row.width / 2, row.y - row.height / 2, row.x + row.width / 2, row.y + row.height / 2),
            row.width * width / max(width, height),
        )
        for row in read_rows(image)
    )
