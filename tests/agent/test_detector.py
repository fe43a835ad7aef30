import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.config import FACTORY_MODEL
from agent.vision.detector import Detection, Detector
from agent.vision.runtime import RUNTIMES, open_model
from contract.errors import ContractError
from contract.release import MANIFEST_NAME, MODEL_NAME, read_manifest
from rehearsal.scene import Scene

Change = Callable[[dict[str, Any]], None]


def model_folder(folder: Path, *, content: bytes | None = None, change: Change | None = None) -> Path:
    """The factory model in a folder of its own, with other bytes or another manifest."""
    folder.mkdir(exist_ok=True)
    model = folder / MODEL_NAME
    manifest = json.loads(FACTORY_MODEL.with_name(MANIFEST_NAME).read_text())
    if content is None:
        shutil.copyfile(FACTORY_MODEL, model)
    else:
        model.write_bytes(content)
        manifest |= {"digest": sha256(content).hexdigest(), "size": len(content)}
    if change:
        change(manifest)
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return model


def pairs(found: list[Detection], others: list[Detection]) -> int:
    return sum(any(one.label == other.label and one.box.iou(other.box) > 0.9 for other in others) for one in found)


def test_faces_of_a_drawn_frame_are_found_where_they_were_drawn() -> None:
    scene = Scene("passage", seed=31, people=6, gap_s=0.5)
    detector = Detector.load(FACTORY_MODEL)
    drawn = hit = 0
    for index in range(30, scene.frames, 15):
        pixels, faces = scene.render(index)
        found = detector.detect(pixels)
        for face in faces:
            if face.visible < 0.95:
                continue
            drawn += 1
            x0, y0, x1, y1 = face.box
            hit += any(
                x0 < one.box.centre.x * 640 < x1 and y0 < one.box.centre.y * 480 < y1 and one.label == face.label
                for one in found
            )
    assert drawn > 20
    assert hit / drawn > 0.9


def test_an_empty_corridor_has_no_faces() -> None:
    scene = Scene("passage", seed=32, people=1)
    assert Detector.load(FACTORY_MODEL).detect(scene.render(0)[0]) == []


def test_both_runtimes_see_the_same() -> None:
    scene = Scene("passage", seed=33, people=6, gap_s=0.5)
    litert, older = (Detector.load(FACTORY_MODEL, runtime=runtime) for runtime in RUNTIMES)
    total = agreed = 0
    for index in range(30, scene.frames, 6):
        pixels = scene.render(index)[0]
        first, second = litert.detect(pixels), older.detect(pixels)
        total += len(first) + len(second)
        agreed += pairs(first, second) + pairs(second, first)
    assert total > 20
    assert agreed / total > 0.95


def test_the_factory_model_is_the_file_its_manifest_describes() -> None:
    manifest = read_manifest(FACTORY_MODEL)
    assert manifest.size == FACTORY_MODEL.stat().st_size < 3_000_000
    assert "train_val" in " ".join(manifest.metrics)
    card = FACTORY_MODEL.with_name("README.md").read_text()
    for name, scores in manifest.metrics.items():
        told = "## Hard cases" if name.startswith("hard: ") else f"mAP50 {scores['map50']:.3f}"
        assert told in card


def raise_thresholds(manifest: dict[str, Any]) -> None:
    manifest["thresholds"] = dict.fromkeys(manifest["thresholds"], 1.0)


def test_the_manifests_thresholds_are_obeyed(tmp_path: Path) -> None:
    pixels, faces = Scene("passage", seed=31, people=6, gap_s=0.5).render(60)
    assert faces
    assert Detector.load(model_folder(tmp_path, change=raise_thresholds)).detect(pixels) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda manifest: manifest.update(head="yolov9-magic"), "head: Input should be 'yolov5u-cut'"),
        (lambda manifest: manifest.update(digest="0" * 64), "is not the file that .* describes"),
        (lambda manifest: manifest.update(input_size=192), "but its manifest says"),
        (lambda manifest: manifest.update(input_size=100), "input_size"),
        (lambda manifest: manifest.update(labels=["with_mask"]), "labels must be"),
        (lambda manifest: manifest["thresholds"].pop("with_mask"), "thresholds must name every label"),
        (lambda manifest: manifest.pop("head"), "head: Field required"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path, change: Change, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        Detector.load(model_folder(tmp_path, change=change))


def test_a_model_without_a_manifest_is_refused(tmp_path: Path) -> None:
    shutil.copyfile(FACTORY_MODEL, tmp_path / MODEL_NAME)
    with pytest.raises(ContractError, match=r"has no manifest\.json beside it"):
        Detector.load(tmp_path / MODEL_NAME)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 100, FACTORY_MODEL.read_bytes()[:10_000]])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ContractError, match="does not load as a TFLite model"):
        Detector.load(model_folder(tmp_path, content=content))


@pytest.mark.photographs
def test_a_model_that_does_not_take_int8_is_refused(tmp_path: Path, photographs: Path) -> None:
    content = (photographs / "models" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    with pytest.raises(ContractError, match="takes uint8, not int8"):
        Detector.load(model_folder(tmp_path, content=content))


def test_without_a_runtime_the_error_says_what_to_install() -> None:
    with pytest.raises(ContractError, match="pip install"):
        open_model(FACTORY_MODEL, runtime="no_such_runtime")
