"""A finished run to what ships: cut graph, int8 file, manifest with thresholds, and a model card."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.vision.yolo import letterbox
from contract.errors import ContractError
from contract.labels import LABELS
from contract.release import COMPILED_NAME, MODEL_NAME, Head, Manifest
from trainer import environment
from trainer.card import write_card
from trainer.dataset import DOOR_FACE, Split, labels_in
from trainer.edgetpu import edge_tpu
from trainer.evaluate import evaluate, show_progress
from trainer.gap import evaluate_float
from trainer.golden import save_manifest
from trainer.run import Run

CALIBRATION_IMAGES = 120  # 300 gave no more: docs/experiments.md


def export(
    run: Run, *, calibration: Split, validation: Split, size: int, release: int, out: Path,
    wanted: Callable[[], bool] = lambda: True, allow_cpu_ops: bool = False,
) -> Manifest:  # fmt: skip
    """Convert the run's weights to an input of `size` px, choose thresholds on `validation`, and write model, card and, last, manifest into `out`.

    Where the Edge TPU's compiler is on PATH, the compiled file lies beside. Raises ContractError where the run is not finished, an
    environment is missing, or that compiler fails or leaves operators on the CPU that `allow_cpu_ops` does not allow; nothing is
    in `out` then.
    """
    if not run.weights.is_file():
        raise ContractError(
            f"{run.folder} has no {run.weights.name}: its training is not finished; `trainer train --resume`"
        )
    converted = convert(run, calibration=calibration, size=size, wanted=wanted)
    content = converted.read_bytes()
    used = min(CALIBRATION_IMAGES, len(calibration.images))
    compiled = converted.with_name(COMPILED_NAME)
    on_edge_tpu = edge_tpu(converted, compiled, allow_cpu_ops=allow_cpu_ops)  # a refusal comes before the long part
    manifest = Manifest(
        release=release, digest=sha256(content).hexdigest(), size=len(content), head=Head.YOLOV5U_CUT, input_size=size,
        labels=LABELS, thresholds=dict.fromkeys(LABELS, 0.35), compiled_for_edge_tpu=False, edge_tpu=on_edge_tpu,
        trained_on=run.lineage() | {"calibration": {"split": calibration.name, "images": used}},
    )  # fmt: skip
    save_manifest(manifest, converted.parent)
    chosen = evaluate(converted, validation, min_box=DOOR_FACE, progress=show_progress).best_thresholds
    thresholds = {label: round(chosen.get(label, 0.35), 2) for label in LABELS}
    manifest = manifest.model_copy(update={"thresholds": thresholds})
    save_manifest(manifest, converted.parent)
    manifest = manifest.model_copy(update={"metrics": _metrics(run, converted, validation, manifest)})
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(converted, out / MODEL_NAME)
    if compiled.is_file():
        shutil.copyfile(compiled, out / COMPILED_NAME)
    else:
        (out / COMPILED_NAME).unlink(missing_ok=True)
    write_card(manifest, out)
    save_manifest(manifest, out)
    return manifest


def convert(run: Run, *, calibration: Split, size: int, wanted: Callable[[], bool] = lambda: True) -> Path:
    """The run's weights as an int8 file of `size` px, in a folder of its own inside the run's; returns its path."""
    work = run.folder.resolve() / "export"
    work.mkdir(exist_ok=True)
    graph, samples, converted = work / "cut.onnx", work / "calibration.npy", work / MODEL_NAME
    environment.run("train", "trainer.cut", [run.weights.resolve(), str(size), graph], wanted=wanted)
    np.save(samples, calibration_images(calibration, size, CALIBRATION_IMAGES))
    environment.run("export", "trainer.convert", [graph, samples, converted], quiet=True, wanted=wanted)
    return converted


def _metrics(run: Run, converted: Path, validation: Split, manifest: Manifest) -> dict[str, Any]:
    """Scores of the int8 file by split and least box, and the float network's beside each, at the same thresholds."""
    told = {}
    for suffix, box in (("", 0.0), (f", --min-box {DOOR_FACE}", DOOR_FACE)):
        whole = evaluate(converted, validation, min_box=box, progress=show_progress)
        before = evaluate_float(
            run.weights, validation, size=manifest.input_size, thresholds=dict(manifest.thresholds), min_box=box
        )
        told[f"{validation.name}{suffix}"] = whole.as_json() | {
            "recall": round(whole.recall, 4),
            "float": {
                "map50": round(before.map50, 4), "map50_95": round(before.map50_95, 4), "recall": round(before.recall, 4),
                "ap50": {str(label): round(one.ap50, 4) for label, one in before.per_class.items()},
            },
        }  # fmt: skip
    return told


def calibration_images(
    split: Split, size: int, wanted: int
) -> np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]:
    """Letterboxed RGB (n, size, size, 3), taken in turn from the images of each class so that the rare one is there too."""
    by_class: dict[int, list[Path]] = {}
    for image in split.images:
        by_class.setdefault(max(map(LABELS.index, labels_in(image)), default=-1), []).append(image)
    picked = [
        group[index]
        for group in by_class.values()
        for index in np.linspace(0, len(group) - 1, min(len(group), -(-wanted // len(by_class)))).astype(int)
    ]
    tensors = []
    for image in picked[:wanted]:
        pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ContractError(f"cannot read the calibration image {image}")
        tensors.append(letterbox(pixels.astype(np.uint8), size)[0].view(np.uint8)[0] ^ 0x80)
    # The input's int8 scale follows the range seen: make sure that it is the whole range of a byte.
    tensors[0][0, 0], tensors[0][0, 1] = 0, 255
    return np.stack(tensors)
