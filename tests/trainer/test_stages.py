"""The stages with the real libraries, on a tiny set of drawn doors: what `make test-trainer` runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from agent.vision.detector import Detector
from cloud.fleet.keys import make_keys
from contract.errors import ContractError
from contract.labels import LABELS
from contract.release import COMPILED_NAME, EdgeTpuStatus, read_manifest
from rehearsal.hard import write_pack
from rehearsal.scene import write_dataset
from tests.trainer.test_edgetpu import STANDIN, put_compiler
from trainer import environment
from trainer.__main__ import BASE
from trainer.complete import publish
from trainer.dataset import read_split
from trainer.evaluate import evaluate
from trainer.export import calibration_images
from trainer.flatfile import read_graph
from trainer.hard import Case
from trainer.link import Link
from trainer.ranges import NO
from trainer.release import Signer
from trainer.run import Run

pytestmark = [pytest.mark.trainer, pytest.mark.timeout(900)]
SIZE = 96

MAKE_BASE = """
import sys
from pathlib import Path
from trainer import backend
backend.prepare()
from trainer import network
network.save(network.build(3), Path(sys.argv[1]))
"""


def trainer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stages")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    write_dataset(folder / "scenes", images=24, seed=91_000)
    return folder / "scenes" / "data.yaml"


def make_random_base(folder: Path) -> Path:
    """Random weights: what is learned from them is nothing; that they go through is the point."""
    path = folder / "base.npz"
    python = environment.folder("train") / "bin" / "python"
    code = folder / "make_base.py"
    code.write_text(MAKE_BASE)
    root = Path(environment.__file__).resolve().parents[1]
    done = subprocess.run(
        [python, code, path], env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    assert path.is_file(), done.stderr
    return path


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    return make_random_base(folder)


@pytest.fixture(scope="module")
def run(folder: Path, data: Path, base: Path) -> Path:
    out = folder / "run"
    done = trainer(
        "train", "--data", f"{data}:train:val", "--base", base, "--epochs", "2", "--image-size", str(SIZE), "--batch", "8", "--out", out
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "tensors fit" in done.stdout
    return out


@pytest.fixture(scope="module")
def exported(folder: Path, run: Path) -> Path:
    out = folder / "model"
    done = trainer("export", run, "--release", "7", "--out", out)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out / "model.tflite"


def test_a_run_folder_says_what_it_is(run: Path, base: Path) -> None:
    opened = Run.open(run)
    assert opened.recipe.epochs == 2
    assert opened.recipe.base == base.resolve()
    assert opened.weights.stat().st_size > 1_000_000
    rows = (run / "fit" / "results.csv").read_text().splitlines()
    assert len(rows) == 3
    with np.load(opened.weights, allow_pickle=False) as weights:
        assert all(weights[name].dtype in (np.float16, np.int64) for name in weights.files)


def test_the_exported_file_is_whole_int8_and_says_what_it_is(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert (manifest.release, manifest.input_size, manifest.compiled_for_edge_tpu) == (7, SIZE, False)
    assert manifest.trained_on["data"][0]["images"] == 24
    assert 2_000_000 < manifest.size < 3_000_000
    assert "release 7" in exported.with_name("README.md").read_text()
    assert manifest.edge_tpu is not None
    assert manifest.edge_tpu.status is EdgeTpuStatus.LIKELY, manifest.edge_tpu.reasons
    assert "it is likely to map the whole file" in exported.with_name("README.md").read_text()
    assert not exported.with_name(COMPILED_NAME).exists()
    for runtime in ("ai_edge_litert", "tflite_runtime"):
        found = Detector.load(exported, runtime=runtime).detect(np.full((120, 160, 3), 90, np.uint8))
        assert isinstance(found, list)


def test_an_export_beside_the_compiler_also_holds_the_compiled_file(
    folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_compiler(tmp_path / "bin", f'exec "{sys.executable}" "{STANDIN}" "$@"', monkeypatch)
    out = folder / "compiled"
    done = trainer("export", run, "--release", "8", "--out", out)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    manifest = read_manifest(out / "model.tflite")
    assert manifest.edge_tpu is not None
    assert (manifest.edge_tpu.status, manifest.edge_tpu.operators_on_cpu) == (EdgeTpuStatus.COMPILED, 0)
    assert sha256((out / COMPILED_NAME).read_bytes()).hexdigest() == manifest.edge_tpu.digest
    assert not manifest.compiled_for_edge_tpu
    assert not read_graph(out / "model.tflite").compiled


def test_the_int8_file_computes_what_the_float_graph_does(exported: Path, run: Path, data: Path, folder: Path) -> None:
    image = read_split(data, "val").images[3]
    onnx_scores = folder / "scores.json"
    code = folder / "float_scores.py"
    code.write_text(FLOAT_SCORES)
    python = environment.folder("train") / "bin" / "python"
    root = Path(environment.__file__).resolve().parents[1]
    done = subprocess.run(
        [python, code, run / "weights.npz", image, str(SIZE), onnx_scores],
        env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert onnx_scores.is_file(), done.stderr
    wanted = json.loads(onnx_scores.read_text())
    from agent.vision.runtime import open_model
    from agent.vision.yolo import letterbox

    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    assert pixels is not None
    interpreter = open_model(exported)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], letterbox(pixels.astype(np.uint8), SIZE)[0])
    interpreter.invoke()
    for details in interpreter.get_output_details():
        step, zero = details["quantization"]
        values = (interpreter.get_tensor(details["index"]).astype(float) - zero) * step
        floats = np.array(wanted[str([int(side) for side in details["shape"]])])
        if floats.shape[-1] == len(LABELS):
            floats = floats.clip(NO)  # below it all is a no
        spread = max(0.5, float(floats.std()))
        assert float(np.abs(values - floats).mean()) < 0.15 * spread, details["shape"]


FLOAT_SCORES = """
import json, sys
from pathlib import Path
from trainer import backend
backend.prepare()
import cv2, torch
from trainer import network
from trainer.cut import CutGraph
from agent.vision.yolo import letterbox
weights, image, size, out = sys.argv[1:5]
full = network.build(3)
network.load_all(full, Path(weights))
full.eval()
full.fuse(verbose=False)
pixels = (letterbox(cv2.imread(image), int(size))[0].astype(int) + 128) / 255
with torch.no_grad():
    maps = CutGraph(full).eval()(torch.tensor(pixels, dtype=torch.float32).permute(0, 3, 1, 2))
turned = [one.permute(0, 2, 3, 1).numpy() for one in maps]
Path(out).write_text(json.dumps({str(list(one.shape)): one.tolist() for one in turned}))
"""


def test_evaluating_the_fresh_file_works_even_if_it_has_learned_nothing(exported: Path, data: Path) -> None:
    report = evaluate(exported, read_split(data, "val"))
    assert report.images == 24
    assert 0 <= report.map50 <= 1


@pytest.mark.parametrize(("factory", "release", "min_box"), [(True, 1, "0.05"), (False, 7, "0")])
def test_a_run_explains_itself_in_pictures(
    exported: Path, run: Path, factory: bool, release: int, min_box: str
) -> None:  # the fresh file has learned nothing and says nothing, the factory's finds faces
    done = trainer("pictures", run, "--model", FACTORY_MODEL if factory else exported, "--min-box", min_box)
    assert done.returncode == 0, done.stderr[-3000:]
    names = {"curves.png", "confusion.png", "thresholds.png", "precision-recall.png", "mistakes.jpg"}
    folder = run / "pictures"
    assert done.stdout.splitlines() == [
        f"wrote {folder / name}"
        for name in ("curves.png", "confusion.png", "thresholds.png", "precision-recall.png", "mistakes.jpg")
    ]
    assert {path.name for path in folder.iterdir()} == names | {".gitignore", "curves.json", "scores.json"}
    for name in names:
        pixels = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        assert pixels is not None, name
        height, width = pixels.shape[:2]
        assert 1000 <= width <= 2200, name
        assert 500 <= height <= 3000, name
        assert 0.1 < (pixels > 250).all(axis=2).mean() < 0.99, name  # a white ground, and something on it
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50, name
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["release"], scores["images"]) == (release, 24)
    assert (int(np.trace(scores["confusion"]["counts"])) > 10) is factory
    faces = [sum(row) for row in scores["confusion"]["counts"]][: len(LABELS)]
    assert faces == [scores["classes"].get(label, {"faces": 0})["faces"] for label in LABELS]


def test_the_curves_are_drawn_before_there_is_a_file_to_judge(run: Path, tmp_path: Path) -> None:
    (tmp_path / "fit").mkdir()
    for name in ("config.json", "fit/results.csv"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    done = trainer("pictures", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "no model.tflite" in done.stdout
    assert cv2.imread(str(tmp_path / "pictures" / "curves.png")) is not None


def test_a_cut_off_run_goes_on_from_its_last_epoch(folder: Path, data: Path, base: Path) -> None:
    out = folder / "cut-off"
    command = [sys.executable, "-m", "trainer", "train", "--data", f"{data}:train:val", "--base", base, "--epochs", "3",
               "--image-size", str(SIZE), "--batch", "8", "--out", out]  # fmt: skip
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if (out / "fit" / "weights" / "last.pt").is_file() and "2/3" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert not (out / "weights.npz").exists()
    assert trainer("export", out, "--release", "1", "--out", folder / "none").returncode == 2
    done = trainer("train", "--out", out, "--resume")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (out / "weights.npz").is_file()


def test_a_run_cut_off_while_its_checkpoint_was_written_begins_anew(folder: Path, run: Path) -> None:
    torn = folder / "torn"
    shutil.copytree(run, torn)
    half = Run.open(torn)
    half.weights.unlink()
    for checkpoint in (half.last, half.best):
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    done = trainer("train", "--out", torn, "--resume")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "cut off: training anew" in done.stdout
    assert [row["epoch"] for row in half.epochs()] == [row["epoch"] for row in Run.open(run).epochs()]
    with np.load(half.weights) as found, np.load(run / "weights.npz") as before:
        assert set(found) == set(before)


def test_what_is_kept_of_the_base_is_averaged_in_weight_by_weight(folder: Path, run: Path) -> None:
    kept = folder / "kept"
    shutil.copytree(run, kept)
    whole = Run.open(kept)
    Run(kept, whole.sources, replace(whole.recipe, base=BASE, keep=0.25)).save()
    whole.weights.unlink()
    environment.run("train", "trainer.train", [kept.resolve()])  # its epochs are done: only what follows is made up for
    with np.load(run / "weights.npz") as fitted, np.load(BASE) as before, np.load(kept / "weights.npz") as mixed:
        name = "model.2.cv1.conv.weight"
        wanted = 0.75 * fitted[name].astype(float) + 0.25 * before[name].astype(float)
        assert np.abs(wanted - fitted[name]).max() > 0.01
        assert mixed[name].astype(float) == pytest.approx(wanted, abs=0.001)


def test_all_stages_in_one_go_make_a_folder_that_explains_itself(folder: Path, data: Path) -> None:
    out = folder / "whole"
    write_pack(folder / "hard", images=2 * len(Case), seed=5)
    options = ("--data", f"{data}:train:val", "--epochs", "1", "--rate", "0.0000001", "--keep", "0.5", "--image-size", "160", "--batch", "8",
               "--hard", f"{folder / 'hard' / 'data.yaml'}:test", "--release", "9", "--out", out)  # fmt: skip
    done = trainer("run", *options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    manifest = read_manifest(out / "model.tflite")
    assert (manifest.release, manifest.input_size) == (9, 160)
    assert set(manifest.trained_on["digests"]) == {"scenes/train", "scenes/val"}
    scores = manifest.metrics["val, --min-box 0.05"]
    assert scores["map50"] > 0.5
    assert abs(scores["map50"] - scores["float"]["map50"]) < 0.1
    runtimes = json.loads((out / "runtimes.json").read_text())
    assert runtimes["found"] > 20
    assert runtimes["share"] > 0.8
    word = json.loads((out / "gate.json").read_text())
    assert word["comparisons"][0]["candidate"]["images"] == 24
    assert ("the gate: it may ship" in done.stdout) is word["may_ship"]
    assert set(word["hard"]["champion"]["cases"]) == set(Case)
    assert "## Hard cases" in (out / "README.md").read_text()
    assert {path.name for path in (out / "pictures").glob("*.[pj][np]g")} == {
        "curves.png", "confusion.png", "thresholds.png", "precision-recall.png", "mistakes.jpg",
    }  # fmt: skip
    again = trainer("run", *options)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stdout.count("done before") == 2


def test_the_gate_by_hand_lets_a_file_follow_itself(data: Path) -> None:
    done = trainer("gate", FACTORY_MODEL, "--data", f"{data}:val")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the gate: it may ship" in done.stdout


def test_what_the_gate_objects_to_is_not_published(folder: Path, exported: Path, data: Path) -> None:
    done = trainer("gate", exported, "--data", f"{data}:val")
    assert done.returncode == 1
    assert "it is worse by" in done.stdout
    run = folder / "refused"
    shutil.copytree(exported.parent, run)
    (run / "golden.zip").write_bytes(b"")
    (run / "gate.json").write_text(json.dumps({"may_ship": False, "objections": ["it is worse"]}))
    make_keys(folder / "keys", datetime.now(UTC))
    link, signer = Link(httpx.Client()), Signer(folder / "keys" / "trainer", folder)
    with pytest.raises(ContractError, match="it is worse"):
        publish(run, signer, link, datetime.now(UTC))
    (run / "gate.json").unlink()
    with pytest.raises(ContractError, match="is not a whole run"):
        publish(run, signer, link, datetime.now(UTC))
    link.close()


def test_a_base_of_another_kind_is_refused(folder: Path, data: Path) -> None:
    other = folder / "other.npz"
    np.savez(other, something=np.zeros(3, np.float16))
    done = trainer(
        "train",
        "--data",
        f"{data}:train:val",
        "--base",
        other,
        "--epochs",
        "1",
        "--image-size",
        str(SIZE),
        "--out",
        folder / "bad",
    )
    assert done.returncode == 2
    assert "holds no array that fits" in done.stderr + done.stdout


def test_calibration_takes_every_class_in_turn(data: Path) -> None:
    images = calibration_images(read_split(data, "train"), SIZE, 12)
    assert images.shape[1:] == (SIZE, SIZE, 3)
    assert 6 <= len(images) <= 12
    assert images.std() > 10


def test_a_missing_environment_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MASKFLEET_CACHE", str(tmp_path))
    with pytest.raises(ContractError, match="trainer environments"):
        environment.run("train", "trainer.train", [])


def test_the_classes_of_the_drawn_data_are_ours(data: Path) -> None:
    assert [str(label) for label in LABELS] == ["with_mask", "without_mask", "mask_worn_incorrectly"]
    assert len(read_split(data, "train").images) == 24
