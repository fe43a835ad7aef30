"""The model card: what a file was made of, what it scored, and what it cannot do, in plain words beside the model."""

from pathlib import Path
from typing import Any

from contract.release import COMPILED_NAME, MODEL_NAME, EdgeTpu, EdgeTpuStatus, Manifest
from trainer.hard import table

CARD_NAME = "README.md"
HARD = "hard: "  # what a manifest's metrics call a pack of hard cases, before its name
_LIMITS = """\
## Limits

- Faces only. Somebody seen from behind, or a face narrower than about a twentieth of the frame, is not judged.
- `mask_worn_incorrectly` is the weak class: annotators of the photographs agree on it in 17 of 27 cases, and it is rare.
- The photographs are mostly of adults, in daylight, facing the camera. How the error differs between skin tones, ages and
  kinds of mask was not measured.
- The thresholds were chosen on the same split that the table scores: recall and precision are a little flattering, the
  average precisions are not touched by it.
- Never run on a Coral: nothing is claimed about it. `make bench` measures a CPU.
"""


def write_card(manifest: Manifest, folder: Path) -> Path:
    """Write `README.md` beside the model from its manifest; returns its path."""
    trained = manifest.trained_on
    parts = [
        f"# Model card: release {manifest.release}\n",
        f"YOLOv5n (ultralytics' anchor-free variant), {manifest.input_size} px, cut before decoding, full-integer int8, "
        f"{manifest.size / 1e6:.2f} MB; SHA-256 `{manifest.digest[:16]}...`. The weights start from the COCO checkpoint of "
        "YOLOv5n, so this file is AGPL-3.0 like the project.\n",
        "## Trained on\n",
        "| step | starts from | data set (split, images) | epochs | px | batch | seed | scale | repeated | mixup | eyes filled | painted over below | older weights kept |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(_steps(trained)) + "\n",
        "`masks`: real photographs with three classes, internal test material, not part of this repository. `scenes`: frames of "
        "generated door scenes (`python -m rehearsal dataset`), drawn by us.\n",
        f"The int8 ranges come from {trained['calibration']['images']} images of `{trained['calibration']['split']}`.\n",
        "## Scores of this very file\n",
        "COCO arithmetic, through the device's own decoder; every class score of a face is ranked, recall and precision "
        "count one label a face, at the thresholds of the manifest "
        f"({', '.join(f'{label} {value}' for label, value in manifest.thresholds.items())}).\n",
    ]
    for name, scores in manifest.metrics.items():
        if name.startswith(HARD):
            continue
        split, _, option = name.partition(", ")
        command = f"trainer evaluate {MODEL_NAME} --data masks/data.yaml --split {split} {option}".strip()
        parts.append(
            f"`{command} --json`, {scores['images']} images: mAP50 {scores['map50']:.3f}, mAP50-95 {scores['map50_95']:.3f}\n"
        )
        before = scores.get("float")
        parts.append("| class | AP50 | AP50 in float | AP50-95 | recall | precision |\n|---|---|---|---|---|---|")
        parts += [
            f"| {label} | {one['ap50']:.3f} | {_number(before and before['ap50'].get(label))} | {one['ap50_95']:.3f} "
            f"| {one['recall']:.3f} | {one['precision']:.3f} |"
            for label, one in scores["per_class"].items()
        ]
        if before:
            parts.append(f"\nBefore quantisation: mAP50 {before['map50']:.3f}, mAP50-95 {before['map50_95']:.3f}.")
        if before and "recall" in scores:
            parts.append(
                f"Found and told right at the thresholds: {100 * scores['recall']:.1f} % of all labelled faces, "
                f"{100 * before['recall']:.1f} % before quantisation."
            )
        parts.append("")
    parts += _hard(manifest.metrics)
    parts += ["## On the Edge TPU\n", *_on_edge_tpu(manifest.edge_tpu)]
    card = folder / CARD_NAME
    card.write_text("\n".join([*parts, _LIMITS]))
    return card


def _hard(metrics: dict[str, Any]) -> list[str]:
    """A table for each pack of hard cases; nothing where none was shown."""
    told = {name.removeprefix(HARD): scores for name, scores in metrics.items() if name.startswith(HARD)}
    if not told:
        return []
    parts = [
        "## Hard cases\n",
        "Not part of the scores above. Drawn cases (`python -m rehearsal hard`) say little about real ones: they show what a "
        "file confuses, not how often a door will see it.\n",
    ]
    for name, scores in told.items():
        command = f"trainer hard {MODEL_NAME} --data {name}/data.yaml --split {scores['split']}"
        parts += [f"`{command}`, {scores['images']} images:\n", table(scores), ""]
    return parts


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _on_edge_tpu(known: EdgeTpu | None) -> list[str]:
    """What is known about the file there, in plain words."""
    if known is None:
        return ["Not compiled, and nobody looked whether it could be.\n"]
    reasons = [f"- {reason}" for reason in known.reasons]
    if known.status is not EdgeTpuStatus.COMPILED:
        guess = f"Not compiled: the compiler was not at hand. By its published conditions it is {known.status} to map the whole file:\n"
        return [guess, *reasons, ""]
    mapped, left = known.operators_on_edge_tpu or 0, known.operators_on_cpu or 0
    words = [
        f"`{MODEL_NAME}` runs on the CPU. `{COMPILED_NAME}` beside it is what edgetpu_compiler {known.compiler} made of it "
        f"({(known.size or 0) / 1e6:.2f} MB; SHA-256 `{(known.digest or '')[:16]}...`): {mapped} of {mapped + left} operators are on the "
        f"Edge TPU, {left} on the CPU. {_memory(known)}A door with a Coral loads it in the place of the other.\n"
    ]
    return [*words, *reasons, ""] if reasons else words


def _memory(known: EdgeTpu) -> str:
    if known.on_chip_bytes is None or known.off_chip_bytes is None:
        return ""
    kept, streamed = known.on_chip_bytes / 1024**2, known.off_chip_bytes / 1024**2
    return f"{kept:.2f} MiB of parameters stay on the chip, {streamed:.2f} MiB are streamed to it for every frame. "


def _kept(trained: dict[str, Any]) -> str:
    """The share, and of which weights where they are not those that the step starts from."""
    other = trained.get("kept_sha256")
    return f"{trained.get('keep', 0.0):g}" + (f" of `{other[:8]}...`" if other else "")


def _steps(trained: dict[str, Any]) -> list[str]:
    """One row per training, the first one first: a base that was itself trained here tells its own."""
    base = trained["base"]
    before = _steps(base["trained_on"]) if "trained_on" in base else []
    sets = ", ".join(f"{one['set']} ({one['train']}, {one['images']})" for one in trained["data"])
    start = f"step {len(before)}" if before else f"`{base['file']}`"
    repeated = ", ".join(f"{label} x{times}" for label, times in trained.get("repeat", {}).items()) or "-"
    numbers = [trained[name] for name in ("epochs", "image_size", "batch", "seed")] + [
        trained.get("scale", 0.5),
        repeated,
        *(trained.get(name, 0.0) for name in ("mixup", "eyes")),
        f"{trained.get('tiny', 0):g} px",
        _kept(trained),
    ]
    return [*before, f"| {len(before) + 1} | {start} | {sets} | " + " | ".join(map(str, numbers)) + " |"]
