"""A run folder: one training's settings, weights and results; it explains itself."""

import csv
import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from contract.errors import ContractError

CONFIG = "config.json"
SURVEY = "data.json"  # what the data-set stage counted and digested
LINEAGE = "lineage.json"  # beside weights that left their run folder: what they were trained on
RESULTS = Path("fit", "results.csv")  # the training library's, one row an epoch


@dataclass(frozen=True, slots=True)
class Source:
    """One data set of a training: its `data.yaml`, the split to fit, and the split to validate on ('' for none)."""

    data: Path
    train: str
    val: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`data.yaml:train_split[:val_split]`; the splits default to `train` and `val`."""
        path, _, splits = text.partition(":")
        if not splits:
            return cls(Path(path), "train", "val")
        train, _, val = splits.partition(":")
        return cls(Path(path), train, val)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a training gives, besides the pictures."""

    base: Path  # .npz weights to start from
    epochs: int
    image_size: int  # px, side of the square network input
    batch: int
    seed: int
    rate: float = 0.0015  # of learning, at its highest
    scale: float = 0.5  # pictures are shown 1 - scale to 1 + scale times their size
    repeat: dict[str, int] = field(default_factory=dict)  # pictures with this label are listed so many times
    mixup: float = 0.0  # share of pictures that are laid over another
    eyes: float = 0.0  # share of faces shown with their eyes filled, as in the crops that doors send
    tiny: float = 0.0  # px of the network's input; faces narrower than that are painted over, and nobody's to find
    keep: float = 0.0  # share of `kept` in the result: the weights are averaged, which generalises better than either
    kept: Path | None = None  # .npz weights to average with; None: the base


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder on disk."""

    folder: Path
    sources: tuple[Source, ...]
    recipe: Recipe

    @property
    def weights(self) -> Path:
        """Our float weights, once training is finished."""
        return self.folder / "weights.npz"

    @property
    def best(self) -> Path:
        """The library's own checkpoint of the epoch that validated best."""
        return self.folder / "fit" / "weights" / "best.pt"

    @property
    def last(self) -> Path:
        """The library's own checkpoint of the last finished epoch."""
        return self.folder / "fit" / "weights" / "last.pt"

    def save(self) -> None:
        """Write the settings first of all, so that a folder without results still says what it was to be."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {"sources": [asdict(source) for source in self.sources], "recipe": asdict(self.recipe)}
        (self.folder / CONFIG).write_text(json.dumps(settings, indent=2, default=str) + "\n")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The run in `folder`; raises ContractError where there is none."""
        try:
            settings = json.loads((folder / CONFIG).read_text())
            sources = tuple(Source(Path(one["data"]), one["train"], one["val"]) for one in settings["sources"])
            told = settings["recipe"]
            kept = told.get("kept")
            recipe = Recipe(**told | {"base": Path(told["base"]), "kept": Path(kept) if kept else None})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ContractError(f"{folder} is not a run folder: {CONFIG} cannot be read ({error})") from error
        return cls(folder, sources, recipe)

    def epochs(self) -> list[dict[str, float]]:
        """The epochs finished so far, by the training library's own column names; [] before the first one.

        One that was cut off before its checkpoint stands there twice: the second counts.
        Raises ContractError where the file is not of that library.
        """
        path = self.folder / RESULTS
        try:
            text = path.read_text()
        except OSError:
            return []
        whole = text[: text.rfind("\n") + 1]  # its last line may still be on the way
        try:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(whole.splitlines())]
            return list({row["epoch"]: row for row in rows}.values())
        except (ValueError, TypeError, KeyError) as error:
            raise ContractError(f"{path} is not a table of numbers, one row an epoch ({error})") from error

    def lineage(self) -> dict[str, Any]:
        """What a manifest says of the training: names and digests, no paths of this machine."""
        return {
            "data": [
                {
                    "set": source.data.resolve().parent.name,
                    "train": source.train,
                    "val": source.val or None,
                    "images": images,
                }
                for source, images in zip(self.sources, self._image_counts(), strict=True)
            ],
            **self._digests(),
            "base": self._base(),
            "weights_sha256": sha256(self.weights.read_bytes()).hexdigest(),
            "epochs": self.recipe.epochs,
            "image_size": self.recipe.image_size,
            "batch": self.recipe.batch,
            "seed": self.recipe.seed,
            "rate": self.recipe.rate,
            "scale": self.recipe.scale,
            "repeat": self.recipe.repeat,
            "mixup": self.recipe.mixup,
            "eyes": self.recipe.eyes,
            "tiny": self.recipe.tiny,
            "keep": self.recipe.keep,
            **({"kept_sha256": sha256(self.recipe.kept.read_bytes()).hexdigest()} if self.recipe.kept else {}),
        }

    def _digests(self) -> dict[str, Any]:
        """SHA-256 of every split, where they were looked over."""
        listing = self.folder / SURVEY
        if not listing.is_file():
            return {}
        return {"digests": {f"{one['set']}/{one['split']}": one["sha256"] for one in json.loads(listing.read_text())}}

    def _base(self) -> dict[str, Any]:
        """The base's name and digest, and its own lineage where it is another run's result."""
        base = self.recipe.base
        told: dict[str, Any] = {"file": base.name, "sha256": sha256(base.read_bytes()).hexdigest()}
        if (base.parent / CONFIG).is_file():
            told["trained_on"] = Run.open(base.parent).lineage()
        elif (base.parent / LINEAGE).is_file():
            told["trained_on"] = json.loads((base.parent / LINEAGE).read_text())
        return told

    def _image_counts(self) -> list[int]:
        from trainer.dataset import read_split

        return [len(read_split(source.data, source.train).images) for source in self.sources]
