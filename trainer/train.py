"""Train yolov5n on labelled photographs: the ultralytics call, and nothing else.

Runs in the training environment on a folder that `trainer train` has prepared: `python -m trainer.train RUN [--resume]`.
"""

import sys
from copy import copy, deepcopy
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from trainer import backend

backend.prepare()

import torch  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402
from ultralytics.utils.torch_utils import unwrap_model  # noqa: E402

from contract.labels import LABELS  # noqa: E402
from trainer import network  # noqa: E402
from trainer.augment import fill_eyes, paint_tiny  # noqa: E402
from trainer.blend import blend  # noqa: E402
from trainer.dataset import join  # noqa: E402
from trainer.run import Recipe, Run  # noqa: E402


def train(run: Run, *, resume: bool = False) -> None:
    """Fit and write `run.weights`; progress to stdout, one row an epoch to `fit/results.csv`.

    With `resume`, a run that was cut off goes on from its last finished epoch; from the beginning where it was cut off while
    the library wrote its checkpoint.
    """
    folder, recipe = run.folder.resolve(), run.recipe
    over = len(run.epochs()) >= recipe.epochs and _is_whole(run.best)  # only what follows was cut off
    if resume and not over and not _is_whole(run.last):
        print("the checkpoint was cut off: training anew", flush=True)
        resume = False
    data = join(folder, [(source.data, source.train, source.val) for source in run.sources], recipe.repeat)
    cuda = torch.cuda.is_available()
    overrides: dict[str, Any] = {
        "task": "detect", "mode": "train", "data": str(data), "project": str(folder), "name": "fit", "exist_ok": True,
        "model": str(run.last) if resume else network.ARCHITECTURE, "resume": str(run.last) if resume else False,
        "epochs": recipe.epochs, "imgsz": recipe.image_size, "batch": recipe.batch, "nbs": recipe.batch,
        "seed": recipe.seed, "deterministic": True, "device": "0" if cuda else "cpu", "amp": cuda,
        "workers": 2, "plots": False, "val": True, "save": True, "cache": "ram",
        "optimizer": "AdamW", "lr0": recipe.rate, "lrf": 0.02, "cos_lr": True, "warmup_epochs": min(2.0, recipe.epochs / 5), "weight_decay": 0.0005,
        "degrees": 4.0, "scale": recipe.scale, "mosaic": 1.0, "close_mosaic": max(1, recipe.epochs // 6), "hsv_h": 0.02, "mixup": recipe.mixup,
    }  # fmt: skip
    if recipe.keep:
        network.load_all(network.build(len(LABELS)), recipe.kept or recipe.base)  # better found now than after hours
    if not over:
        _Trainer(recipe, overrides).train()
    best = torch.load(run.best, map_location="cpu", weights_only=False)  # written by ourselves
    fitted = network.build(len(LABELS))
    fitted.load_state_dict((best.get("ema") or best["model"]).float().state_dict())
    if recipe.keep:
        images = [Path(line) for line in (folder / "train.txt").read_text().splitlines()]
        shift = blend(fitted, recipe.kept or recipe.base, recipe.keep, images, recipe.image_size)
        print(f"{recipe.keep:g} of the older weights kept; class logits raised by {shift:.2f}", flush=True)
    network.save(fitted, run.weights)


def _is_whole(checkpoint: Path) -> bool:
    """Whether all of it was written; the library writes in place."""
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=False)  # written by ourselves
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError):
        return False
    return True


class _Trainer(DetectionTrainer):
    """ultralytics' trainer, starting from plain arrays."""

    def __init__(self, recipe: Recipe, overrides: dict[str, Any]) -> None:
        self._base, self._eyes, self._tiny = recipe.base, recipe.eyes, recipe.tiny
        super().__init__(overrides=overrides)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> network.Network:
        model = network.build(len(LABELS))
        if weights is not None:
            model.load_state_dict(deepcopy(unwrap_model(weights)).float().state_dict())
        else:
            fitting = network.load(model, self._base)
            print(f"base {self._base.name}: {fitting} of {len(model.state_dict())} tensors fit", flush=True)
        return model

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train" and self._eyes:
            read = dataset.get_image_and_label  # what mosaic and mixup take their pictures from, too
            dataset.get_image_and_label = lambda index: fill_eyes(read(index), self._eyes)
        if mode == "train" and self._tiny:
            self._paint_tiny_faces(dataset)
        return dataset

    def _paint_tiny_faces(self, dataset: Any) -> None:
        """In pictures of their final size, before the last transform makes tensors of them.

        The library builds the transforms anew when it ends mosaics.
        """
        build = dataset.build_transforms

        def painting(hyp: Any) -> Any:
            steps = build(hyp)
            steps.insert(len(steps.transforms) - 1, lambda label: paint_tiny(label, self._tiny))
            return steps

        dataset.build_transforms = painting
        dataset.transforms = painting(copy(self.args))


if __name__ == "__main__":
    train(Run.open(Path(sys.argv[1])), resume="--resume" in sys.argv[2:])
