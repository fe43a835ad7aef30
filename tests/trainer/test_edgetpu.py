"""A compile with a stand-in for the compiler, the look without it, and what the manifest and the card then say."""

import json
import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from agent.config import FACTORY_MODEL
from contract.errors import ContractError
from contract.release import COMPILED_NAME, EdgeTpu, EdgeTpuStatus, Manifest, read_manifest
from tests.trainer import compiler_logs
from tests.trainer.draft import Draft, small_network
from trainer.card import write_card
from trainer.edgetpu import MAPPED, Share, compile_for_edge_tpu, edge_tpu, static_report
from trainer.flatfile import read_graph

STANDIN = Path(__file__).with_name("standin_compiler.py")


def put_compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called edgetpu_compiler, first on PATH."""
    folder.mkdir()
    program = folder / "edgetpu_compiler"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_compiler(tmp_path / "bin", f'exec "{sys.executable}" "{STANDIN}" "$@"', monkeypatch)


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def put(folder: Path, draft: Draft) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(draft.content())
    return path


def with_foreign_end() -> Draft:
    """What the Edge TPU has, then a leaky ReLU, then something that it would have had."""
    draft = small_network()
    leaky, last = draft.tensor("leaky", [1, 8, 8, 4]), draft.tensor("last", [1, 8, 8, 4])
    draft.operator("LEAKY_RELU", [4], [leaky])
    draft.operator("LOGISTIC", [leaky], [last], version=2)
    return draft


@pytest.mark.usefixtures("compiler")
def test_a_whole_int8_file_is_compiled_and_described(tmp_path: Path) -> None:
    out = tmp_path / COMPILED_NAME
    done = compile_for_edge_tpu(FACTORY_MODEL, out)
    assert (done.log.version, done.log.on_edge_tpu, done.log.on_cpu) == ("16.0.384591198", 246, 0)
    assert Share("CONV_2D", 75, MAPPED) in done.log.shares
    assert (done.digest, done.size) == (sha256(out.read_bytes()).hexdigest(), out.stat().st_size)
    assert read_graph(out).compiled
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", COMPILED_NAME]


@pytest.mark.usefixtures("compiler")
def test_a_file_that_stays_partly_on_the_cpu_is_refused_by_name(tmp_path: Path) -> None:
    model, out = put(tmp_path, with_foreign_end()), tmp_path / COMPILED_NAME
    with pytest.raises(
        ContractError, match=r"2 of 4 operators .* LEAKY_RELU \(x1\): Operation not supported; LOGISTIC"
    ):
        compile_for_edge_tpu(model, out)
    assert not out.exists()
    done = compile_for_edge_tpu(model, out, allow_cpu_ops=True)
    assert (done.log.on_edge_tpu, done.log.on_cpu) == (2, 2)
    assert [one.name for one in read_graph(out).operators] == ["edgetpu-custom-op", "LEAKY_RELU", "LOGISTIC"]


def test_the_reasons_may_stand_in_the_compilers_log_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_table = f'shift; exec "{sys.executable}" "{STANDIN}" "$@"'
    put_compiler(tmp_path / "bin", without_table, monkeypatch)
    with pytest.raises(ContractError, match=r"LEAKY_RELU \(x1\): Operation not supported"):
        compile_for_edge_tpu(put(tmp_path, with_foreign_end()), tmp_path / COMPILED_NAME)


def test_a_compiler_that_hands_back_another_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Draft()
    other.operator("edgetpu-custom-op", [other.tensor("images", [1, 8, 8, 3])], [other.tensor("scores", [1, 4, 4, 4])])
    (tmp_path / "other").write_bytes(other.content())
    script = f"cp '{tmp_path}/other' \"$3/model_edgetpu.tflite\"; cat <<'END'\n{compiler_logs.VERSION_16_SHORT}END"
    put_compiler(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(ContractError, match="changed the inputs or outputs"):
        compile_for_edge_tpu(put(tmp_path, small_network()), tmp_path / COMPILED_NAME)


@pytest.mark.usefixtures("compiler")
def test_a_refused_compile_says_why_and_leaves_an_earlier_file_alone(tmp_path: Path) -> None:
    newer = small_network()
    newer.model.operatorCodes[0].version = 6
    out = tmp_path / COMPILED_NAME
    out.write_bytes(b"of last time")
    with pytest.raises(ContractError, match="'CONV_2D' version '6'"):
        compile_for_edge_tpu(put(tmp_path, newer), out)
    with pytest.raises(ContractError, match="Model not quantized"):
        compile_for_edge_tpu(put(tmp_path, small_network("FLOAT32")), out)
    assert out.read_bytes() == b"of last time"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'segmentation fault' >&2; exit 139", r"failed \(139\): segmentation fault"),
        ("echo hello", "no log of the Edge TPU's compiler"),
        ("echo 'Edge TPU Compiler version 16.0.384591198'", "made no file .* did not say why"),
        ("cat <<'END'\n" + compiler_logs.VERSION_16_SHORT + "END", "made no file"),
        ("cp \"$4\" \"$3/$(basename \"$4\" .tflite)_edgetpu.tflite\"; cat <<'END'\n" + compiler_logs.VERSION_16_SHORT + "END",
         "holds no edgetpu-custom-op"),
        ("head -c 900 \"$4\" >\"$3/$(basename \"$4\" .tflite)_edgetpu.tflite\"; cat <<'END'\n" + compiler_logs.VERSION_16_SHORT + "END",
         "spoiled"),
    ],
    ids=["crashes", "is another program", "says nothing", "makes nothing", "compiles nothing", "writes half a file"],
)  # fmt: skip
def test_a_compiler_that_misbehaves_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    put_compiler(tmp_path / "bin", script, monkeypatch)
    model, out = put(tmp_path, small_network()), tmp_path / COMPILED_NAME
    with pytest.raises(ContractError, match=reason):
        compile_for_edge_tpu(model, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "model.tflite"]


def test_a_compiler_that_does_not_end_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = tmp_path / "beats"
    put_compiler(tmp_path / "bin", f'(while :; do echo x >>"{beats}"; sleep 0.05; done) & wait', monkeypatch)
    with pytest.raises(ContractError, match=r"did not end within 0\.5 s"):
        compile_for_edge_tpu(put(tmp_path, small_network()), tmp_path / COMPILED_NAME, timeout_s=0.5)
    heard = beats.stat().st_size
    assert heard > 0
    time.sleep(0.3)
    assert beats.stat().st_size == heard


@pytest.mark.usefixtures("no_compiler")
def test_without_the_compiler_there_is_a_look_and_never_the_word_compiled(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no edgetpu_compiler on PATH"):
        compile_for_edge_tpu(FACTORY_MODEL, tmp_path / COMPILED_NAME)
    stale = tmp_path / COMPILED_NAME
    stale.write_bytes(b"of an earlier export")
    known = edge_tpu(FACTORY_MODEL, stale)
    assert not stale.exists()
    assert known.status is EdgeTpuStatus.LIKELY
    assert known.reasons[: len(static_report(FACTORY_MODEL).reasons)] == static_report(FACTORY_MODEL).reasons
    assert edge_tpu(put(tmp_path, with_foreign_end()), stale).status is EdgeTpuStatus.UNLIKELY


@pytest.mark.usefixtures("compiler")
def test_manifest_and_card_say_what_the_compiler_did(tmp_path: Path) -> None:
    known = edge_tpu(FACTORY_MODEL, tmp_path / COMPILED_NAME)
    manifest = read_manifest(FACTORY_MODEL).model_copy(update={"edge_tpu": known})
    again = Manifest.decode(manifest.encode(), limit=65536)
    assert again.edge_tpu == known
    assert not again.compiled_for_edge_tpu  # model.tflite itself runs on the CPU
    card = write_card(again, tmp_path).read_text()
    assert "edgetpu_compiler 16.0.384591198" in card
    assert "246 of 246 operators are on the Edge TPU, 0 on the CPU. 2.4" in card
    assert "A door with a Coral loads it in the place of the other" in card
    partly = edge_tpu(put(tmp_path, with_foreign_end()), tmp_path / COMPILED_NAME, allow_cpu_ops=True)
    card = write_card(again.model_copy(update={"edge_tpu": partly}), tmp_path).read_text()
    assert "- LEAKY_RELU (x1): Operation not supported" in card


@pytest.mark.usefixtures("no_compiler")
def test_the_card_of_a_guess_calls_it_a_guess(tmp_path: Path) -> None:
    manifest = read_manifest(FACTORY_MODEL)
    known = edge_tpu(FACTORY_MODEL, tmp_path / COMPILED_NAME)
    card = write_card(manifest.model_copy(update={"edge_tpu": known}), tmp_path).read_text()
    assert "Not compiled: the compiler was not at hand. By its published conditions it is likely" in card
    assert "nobody looked" in write_card(manifest.model_copy(update={"edge_tpu": None}), tmp_path).read_text()


def test_only_a_compiled_model_may_carry_a_compilers_facts() -> None:
    with pytest.raises(ContractError, match="compiled needs"):
        EdgeTpu.from_parsed({"status": "compiled"})
    with pytest.raises(ContractError, match="only a compiled model"):
        EdgeTpu.from_parsed({"status": "likely", "compiler": "16.0"})
    with pytest.raises(ContractError, match="status"):
        EdgeTpu.from_parsed({"status": "surely"})


def test_a_manifest_of_before_still_reads_as_one_that_nobody_looked_at() -> None:
    told = json.loads(FACTORY_MODEL.with_name("manifest.json").read_text())
    told.pop("edge_tpu", None)
    assert Manifest.from_parsed(told).edge_tpu is None


def inspect(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", "inspect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_inspect_says_it_in_words_and_in_json(tmp_path: Path) -> None:
    done = inspect(FACTORY_MODEL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "not compiled; the Edge TPU's compiler is likely to map all of it\n  + int8 in and out"
    )
    told = json.loads(inspect("--json", put(tmp_path, with_foreign_end())).stdout)
    assert (told["status"], told["reasons"]) == ("unlikely", ["LEAKY_RELU: not on the list of supported operators"])
    spoiled = tmp_path / "spoiled.tflite"
    spoiled.write_bytes(b"no model at all")
    done = inspect(spoiled)
    assert (done.returncode, done.stderr) == (2, f"trainer: {spoiled}: not a TFLite file\n")


@pytest.mark.usefixtures("compiler")
def test_inspect_knows_a_file_that_is_compiled_already(tmp_path: Path) -> None:
    out = tmp_path / COMPILED_NAME
    compile_for_edge_tpu(put(tmp_path, with_foreign_end()), out, allow_cpu_ops=True)
    told = json.loads(inspect("--json", out).stdout)
    assert told["status"] == "compiled"
    assert told["reasons"][1] == "left on the CPU: LEAKY_RELU (x1), LOGISTIC (x1)"
    with pytest.raises(ContractError, match="already compiled"):
        static_report(out)


def test_a_file_of_the_real_compiler_is_known_as_compiled(photographs: Path) -> None:
    model = photographs / "models" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    if not model.is_file():
        pytest.skip(f"no compiled model at {model}")
    assert inspect(model).stdout.startswith("compiled for the Edge TPU\n")
    with pytest.raises(ContractError, match="already compiled"):
        static_report(model)


def test_a_uint8_network_that_the_real_compiler_mapped_whole_is_likely(photographs: Path) -> None:
    model = photographs / "models" / "mobilenet_v1_0.25_128_quant.tflite"
    twin = model.with_stem(model.stem + "_edgetpu")
    if not (model.is_file() and twin.is_file()):
        pytest.skip(f"no model and its compiled twin at {model}")
    assert [one.name for one in read_graph(twin).operators] == ["edgetpu-custom-op"]
    report = static_report(model)
    assert report.verdict == "likely"
    assert report.operators["DEPTHWISE_CONV_2D"] == 13
    assert report.reasons[0].startswith("uint8 in and out")
