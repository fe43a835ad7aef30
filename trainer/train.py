"""Train yolov5n on labelled photographs: the ultralytics call, and nothing else."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import backend

backend.prepare()

import torch  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402
from ultralytics.utils.torch_utils import unwrap_model  # noqa: E402

from contract.errors import ContractError  # noqa: E402
from contract.labels import LABELS  # noqa: E402
from trainer import network  # noqa: E402
from trainer.dataset import join  # noqa: E402


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a training gives, besides the pictures."""

    base: Path  # .npz weights to start from
    epochs: int
    image_size: int  # px, side of the square network input
    batch: int = 16
    seed: int = 0


def train(sets: Sequence[tuple[Path, str, str]], recipe: Recipe, out: Path, *, resume: bool = False) -> Path:
    """Train and return the path of our weights, `out/weights.npz`.

    `sets` are (data.yaml, training split, validation split or ''). Progress goes to stdout, one row an epoch to
    `out/fit/results.csv`. With `resume`, a run that was cut off goes on from its last epoch.
    """
    out = out.resolve()
    last = out / "fit" / "weights" / "last.pt"
    if resume and not last.is_file():
        raise ContractError(f"nothing to resume in {out}: no finished epoch there; start without --resume")
    out.mkdir(parents=True, exist_ok=True)
    data = join(out, list(sets))
    overrides: dict[str, Any] = {
        "task": "detect", "mode": "train", "data": str(data), "project": str(out), "name": "fit", "exist_ok": True,
        "model": str(last) if resume else network.ARCHITECTURE, "resume": str(last) if resume else False,
        "epochs": recipe.epochs, "imgsz": recipe.image_size, "batch": recipe.batch, "nbs": recipe.batch,
        "seed": recipe.seed, "deterministic": True, "device": "0" if torch.cuda.is_available() else "cpu",
        "amp": torch.cuda.is_available(), "workers": 2, "plots": False, "val": True, "save": True, "cache": "ram",
        "optimizer": "AdamW", "lr0": 0.0015, "lrf": 0.02, "cos_lr": True, "warmup_epochs": 2.0, "weight_decay": 0.0005,
        "degrees": 4.0, "scale": 0.5, "mosaic": 1.0, "close_mosaic": max(1, recipe.epochs // 6), "hsv_h": 0.02,
    }  # fmt: skip
    trainer = _Trainer(base=recipe.base, overrides=overrides)
    trainer.train()
    weights = out / "weights.npz"
    best = torch.load(trainer.best, map_location="cpu", weights_only=False)  # our own file, written a moment ago
    network.save(best.get("ema") or best["model"], weights)
    return weights


class _Trainer(DetectionTrainer):
    """ultralytics' trainer, starting from plain arrays."""

    def __init__(self, *, base: Path, overrides: dict[str, Any]) -> None:
        self._base = base
        super().__init__(overrides=overrides)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> network.Network:
        model = network.build(len(LABELS))
        if weights is not None:
            model.load_state_dict(deepcopy(unwrap_model(weights)).float().state_dict())
        else:
            fitting = network.load(model, self._base)
            print(f"base {self._base.name}: {fitting} of {len(model.state_dict())} tensors fit", flush=True)
        return model
