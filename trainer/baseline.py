"""`trainer baseline`: train the two-stage way on the same photographs and measure it beside the one model, step by step."""

import json
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from agent.vision.detector import Detector
from contract.errors import ContractError
from contract.labels import LABELS
from contract.release import read_manifest
from trainer import environment
from trainer.crops import FILES, STORED, write_crops, write_json
from trainer.dataset import Split, read_split
from trainer.evaluate import show_progress
from trainer.run import Source
from trainer.side_by_side import ONE, TWO, measure_accuracy
from trainer.stopwatch import COUNTS, gather, measure_memory, measure_time
from trainer.two_stage import CLASSIFIER, DESCRIPTION, MARGIN, Cascade, Classifier, Fit, Pair, read_description

RECIPE, MEASURED = "recipe.json", "measured.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what the classifier becomes, besides the photographs."""

    size: int = 96  # px, side of its input
    alpha: float = 0.5  # MobileNetV2's width
    epochs: int = 60
    batch: int = 64
    rate: float = 0.003  # of learning, at its highest
    seed: int = 0


def prepare(source: Source, recipe: Recipe, out: Path) -> Path:
    """The folder of the finished classifier in `out`: crops, training and conversion, each only where it is not there yet.

    Raises ContractError where `out` was begun with other photographs or another recipe, the split teaches too little, or
    the export environment is missing.
    """
    split = read_split(source.data, source.train)
    crops, folder = out / "crops", out / "classifier"
    _begin(split, recipe, out)
    if not (crops / FILES[-1]).is_file():
        print(f"cutting faces from {len(split.images)} photographs", flush=True)
        write_crops(split, Cascade().find, crops, size=recipe.size, seed=recipe.seed, progress=show_progress)
    told = json.loads((crops / FILES[-1]).read_text())
    if not (folder / DESCRIPTION).is_file():
        _train(crops, told, recipe, folder)
    read_description(folder)
    return folder


def compare(
    source: Source, model: Path, folder: Path, out: Path, *, min_box: float, frames: int, seed: int = 0
) -> dict[str, Any]:
    """Measure both ways on the validation split of `source` and write `measured.json` into `out`; always anew.

    Raises ContractError where a model does not load or the split has no face to judge by or to time with.
    """
    split = read_split(source.data, source.val)
    told, manifest = read_description(folder), read_manifest(model)
    cascade, classifier = Cascade(), Classifier.load(folder)
    print(f"looking at {len(split.images)} photographs in both ways", flush=True)
    accuracy = measure_accuracy(model, cascade, classifier, split, min_box=min_box, progress=show_progress)
    print(f"timing {frames} frames each of {', '.join(map(str, COUNTS))} faces", flush=True)
    random = np.random.default_rng(seed)
    thresholds = {label: accuracy[TWO]["thresholds"][str(label)] for label in LABELS}
    detector, pair = Detector.load(model), Pair(cascade, classifier, thresholds=thresholds)
    material = gather(split, detector, cascade, random)
    times = measure_time(material, detector, cascade, pair, frames=frames, random=random)
    memory = measure_memory(model, folder, material.frame(4, random))
    settings = told["settings"]
    measured = {
        "one_model": {"release": manifest.release, "input_px": manifest.input_size, "sha256": manifest.digest},
        "two_models": {
            "cascade": cascade.path.name, "alpha": settings["alpha"], "input_px": settings["size"], "sha256": told["sha256"],
            "epochs": settings["epochs"], "training_s": told["training_s"], "crops": told["crops"],
        },
        "judged_on": {"split": split.name, "images": len(split.images)}, "min_box": min_box, "processor": _processor(),
        "accuracy": accuracy, "time": times, "memory_mib": memory,
        "disk_bytes": {ONE: model.stat().st_size, TWO: told["bytes"] + cascade.path.stat().st_size},
        "timed_with": {
            "faces": len(material.faces), "blanks": len(material.blanks), "backgrounds": len(material.backgrounds), "frames": frames,
        },
    }  # fmt: skip
    write_json(out / MEASURED, measured)
    return measured


def _begin(split: Split, recipe: Recipe, out: Path) -> None:
    """Remember what `out` is being made of, or make sure that it is the same again."""
    names = sha256("\n".join(image.name for image in split.images).encode()).hexdigest()[:16]
    wanted = {"split": split.name, "images": len(split.images), "names_sha256": names, "recipe": asdict(recipe)}
    path = out / RECIPE
    if path.is_file():
        if json.loads(path.read_text()) != wanted:
            raise ContractError(
                f"{out} was begun with other photographs or another recipe ({RECIPE}): take a new folder"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)


def _train(crops: Path, told: dict[str, Any], recipe: Recipe, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fit = Fit(**told["fit"])
    square = MARGIN * STORED * max(fit.width, fit.height)  # side of a stored crop, in sides of the detector's square
    settings = asdict(recipe) | {"window": 1 / STORED, "shift": fit.shift / square, "stretch": fit.stretch}
    write_json(folder / "settings.json", settings)
    begun = time.monotonic()
    environment.run(
        "export", "trainer.classifier",
        [crops.resolve(), (folder / CLASSIFIER).resolve(), (folder / "settings.json").resolve()], quiet=True,
    )  # fmt: skip
    content = (folder / CLASSIFIER).read_bytes()
    write_json(
        folder / DESCRIPTION,
        {
            "classes": [*(str(label) for label in LABELS), "no_face"], "start": "random: no ImageNet weights",
            "sha256": sha256(content).hexdigest(), "bytes": len(content), "fit": told["fit"], "crops": told["crops"],
            "settings": settings, "training_s": round(time.monotonic() - begun),
        },
    )  # fmt: skip
    shutil.rmtree(folder / "backup", ignore_errors=True)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
