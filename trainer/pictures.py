"""A run in pictures: its curves, its confusions, its thresholds and its worst mistakes, all within the run folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.vision.detector import Detector
from contract.errors import ContractError
from contract.labels import LABELS
from trainer import environment
from trainer.dataset import DOOR_FACE, Split
from trainer.evaluate import LOWEST, Report, score
from trainer.look import Seen, look, read_image
from trainer.mistakes import Kind, Mistake, confusion, mistakes, pairs, row_shares
from trainer.run import RESULTS, Run
from trainer.scores import at_thresholds, precision_recall
from trainer.sheet import draw_sheet

FOLDER = "pictures"
_MANY = {
    Kind.MISSED: "missed", Kind.FALSE_ALARM: "false alarms", Kind.WRONG_LABEL: "wrong labels", Kind.LOOSE_BOX: "loose boxes",
}  # fmt: skip
_STEPS = np.linspace(0, 1, 201)  # thresholds of the chart


def draw_curves(run: Run) -> Path:
    """`curves.png` of the epochs finished so far, also while a training goes on; returns its path.

    Raises ContractError before the first epoch is finished, or where the training environment is missing.
    """
    numbers = _curves(run)
    folder = _folder(run)
    _plot(_keep(folder / "curves.json", numbers))
    return folder / "curves.png"


def draw_pictures(
    run: Run,
    model: Path,
    split: Split,
    *,
    min_box: float = DOOR_FACE,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, ...]:
    """All pictures of `run`, its int8 file `model` judged on `split` at the thresholds of its manifest; returns their paths.

    `min_box` leaves out faces and detections narrower than that share of the image's longer side. The pictures, one of
    which shows photographs, lie in the run folder, and git is told to pass them by. Raises ContractError, with nothing
    drawn, where the run has no epoch, the model no manifest, the split no labelled face, or an image does not decode.
    """
    epochs = _curves(run)
    detector = Detector.load(model, thresholds=dict.fromkeys(LABELS, LOWEST))
    judged = _Judged(split, tuple(look(detector.detect, split, progress)), detector.manifest.release, min_box)
    if not any(face.share >= min_box for seen in judged.looks for face in seen.truth):
        raise ContractError(f"no image of split '{split.name}' has a labelled face that is wide enough to judge")
    thresholds = detector.manifest.thresholds
    found = mistakes(judged.looks, thresholds, min_box=min_box)
    scores = judged.told() | {
        "confusion": _confusion(judged, thresholds),
        "classes": _classes(score(judged.looks, thresholds, min_box=min_box), thresholds),
        "mistakes": [_told(one, split) for one in found],
    }
    sheet = draw_sheet(found, lambda image: read_image(split.images[image]), *_titles(judged, found))
    folder = _folder(run)
    numbers = [_keep(folder / "curves.json", epochs), _keep(folder / "scores.json", scores)]
    _put(folder / "mistakes.jpg", cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    _plot(*numbers)
    names = ("curves.png", "confusion.png", "thresholds.png", "precision-recall.png", "mistakes.jpg")
    return tuple(folder / name for name in names)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was looked at, and with which file."""

    split: Split
    looks: tuple[Seen, ...]
    release: int
    min_box: float

    def told(self) -> dict[str, Any]:
        return {
            "split": self.split.name, "images": len(self.looks), "release": self.release, "min_box": self.min_box,
        }  # fmt: skip


def _curves(run: Run) -> dict[str, Any]:
    epochs = run.epochs()
    if not epochs:
        raise ContractError(f"{run.folder} has no finished epoch in {RESULTS}: there is nothing to draw yet")
    columns = {"epoch", "metrics/mAP50(B)", "metrics/mAP50-95(B)"} | {
        f"{split}/{part}_loss" for split in ("train", "val") for part in ("box", "cls", "dfl")
    }
    if missing := columns - set(epochs[0]):
        raise ContractError(f"{run.folder / RESULTS} lacks the columns {', '.join(sorted(missing))}")
    judged = [f"{one.data.parent.name} {one.val}" for one in run.sources if one.val]
    listed = run.folder / "val.txt"
    count = f", {len(listed.read_text().split())} images" if listed.is_file() else ""
    return {
        "run": run.folder.resolve().name, "wanted": run.recipe.epochs, "judged": f"split {', '.join(judged)}{count}; float network",
        "epochs": [{name: row[name] for name in sorted(columns)} for row in epochs],
    }  # fmt: skip


def _confusion(judged: _Judged, thresholds: dict[Any, float]) -> dict[str, Any]:
    matched = [pair for seen in judged.looks for pair in pairs(seen, thresholds, min_box=judged.min_box)]
    counts = confusion(matched)
    return {
        "rows": [*LABELS, "no face"], "columns": [*LABELS, "nothing"],
        "counts": counts.tolist(), "shares": row_shares(counts).round(6).tolist(),
    }  # fmt: skip


def _classes(report: Report, thresholds: dict[Any, float]) -> dict[str, Any]:
    told = {}
    for label, one in report.per_class.items():
        ranking = report.said[label]
        curve, chosen = at_thresholds(ranking, _STEPS), at_thresholds(ranking, [thresholds[label]])
        recall, precision = precision_recall(report.matches[label])
        told[str(label)] = {
            "faces": ranking.positives, "threshold": thresholds[label], "ap50": round(one.ap50, 4),
            "precision": round(one.precision, 4), "recall": round(one.recall, 4), "f1": round(float(chosen.f1[0]), 4),
            "by_threshold": {
                "threshold": _STEPS.tolist(),
                "precision": [round(float(one), 4) if said else None for one, said in zip(curve.precision, curve.said, strict=True)],
                "recall": curve.recall.round(4).tolist(), "f1": curve.f1.round(4).tolist(),
            },
            "ranked": {"recall": recall.round(4).tolist(), "precision": precision.round(4).tolist()},
        }  # fmt: skip
    return told


def _told(mistake: Mistake, split: Split) -> dict[str, Any]:
    return {
        "image": split.images[mistake.image].name, "kind": mistake.kind, "gravity": round(mistake.gravity, 4),
        "truth": mistake.truth.label if mistake.truth else None,
        "said": mistake.said.label if mistake.said else None,
        "confidence": round(mistake.said.confidence, 4) if mistake.said else None,
    }  # fmt: skip


def _titles(judged: _Judged, found: list[Mistake]) -> tuple[str, str]:
    kinds = ", ".join(f"{sum(one.kind is kind for one in found)} {many}" for kind, many in _MANY.items())
    least = f", faces from {100 * judged.min_box:g} % of the longer side" if judged.min_box else ""
    return (
        f"The worst of {len(found)} mistakes: {kinds}" if found else "No mistakes",
        f"split {judged.split.name}, {len(judged.looks)} images; release {judged.release}, int8{least}",
    )


def _folder(run: Run) -> Path:
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")  # photographs of people never go into a repository by mistake
    return folder


def _keep(path: Path, numbers: dict[str, Any]) -> Path:
    _put(path, (json.dumps(numbers) + "\n").encode())
    return path


def _put(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)


def _plot(*numbers: Path) -> None:
    environment.run("train", "trainer.plot", [path.resolve() for path in numbers], quiet=True)
