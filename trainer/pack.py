"""A pack of hard cases on disk: the pictures of a split that a `cases.csv` names, shown to a model file."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.vision.detector import Detector
from contract.errors import ContractError
from trainer.dataset import Split, read_split
from trainer.hard import Case, Seen, Tally, tally
from trainer.look import look

CASES_NAME = "cases.csv"


@dataclass(frozen=True, slots=True)
class Pack:
    """Pictures, each with its case."""

    name: str  # of the folder of its data set
    split: str
    pictures: tuple[tuple[Path, Case], ...]

    @classmethod
    def read(cls, data: Path, split: str, cases: Path | None = None) -> "Pack":
        """The pictures of `split` that `cases` names in its columns file (a name without folders) and case.

        Without `cases` it is the `cases.csv` beside `data`. Pictures that it does not name are left out.
        Raises ContractError for a file that cannot be read or names nothing, an unknown picture or case, or a second case.
        """
        listing = cases or data.parent / CASES_NAME
        return cls(data.resolve().parent.name, split, _pictures(read_split(data, split), listing))

    def show(self, model: Path, progress: Callable[[int, int], None] | None = None) -> tuple[Tally, ...]:
        """What `model` says of the pictures at its own thresholds, counted by case.

        Raises ContractError for a model, an image or labels that cannot be read.
        """
        images = Split(self.split, tuple(image for image, _ in self.pictures))
        looks = look(Detector.load(model).detect, images, progress)
        return tally(
            Seen(
                case,
                [(face.box, face.label) for face in one.truth],
                [(detection.box, detection.label) for detection in one.found],
            )
            for (_, case), one in zip(self.pictures, looks, strict=True)
        )


def _pictures(split: Split, listing: Path) -> tuple[tuple[Path, Case], ...]:
    try:
        with listing.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, ValueError) as error:
        raise ContractError(f"cannot read the cases {listing}: {error}") from error
    if not rows:
        raise ContractError(f"{listing} names no case: expected rows `file,case` under a line that says so")
    images, found = {image.name: image for image in split.images}, {}
    for number, row in enumerate(rows, start=2):
        name, case = row.get("file"), row.get("case")
        if name not in images:
            raise ContractError(f"{listing}, line {number}: {name!r} is not in split '{split.name}'")
        if case not in list(Case):
            raise ContractError(f"{listing}, line {number}: {case!r} is no case; known: {', '.join(Case)}")
        if name in found:
            raise ContractError(f"{listing}, line {number}: {name!r} was named before")
        found[name] = Case(case)
    return tuple((images[name], case) for name, case in found.items())
