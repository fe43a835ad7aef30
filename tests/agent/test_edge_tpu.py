"""The Coral, by a library that behaves like the Edge TPU's: no Coral was here."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from agent.health.probe import Probe, Verdict
from agent.vision.detector import Detector
from agent.vision.runtime import RUNTIMES, open_model, open_on_edge_tpu
from contract.errors import ContractError
from contract.events import Accelerator
from contract.release import COMPILED_NAME, compiled_file, read_manifest
from tests.agent.edgetpu_kit import build_library, coral_model

EMPTY = np.zeros((480, 640, 3), np.uint8)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_library(tmp_path_factory.mktemp("library")))


@pytest.fixture
def compiled(photographs: Path) -> Path:
    """A file that Google's compiler made."""
    return photographs / "models" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"


def ask(compiled: Path, library: str, **options: Any) -> Verdict:
    return Probe(compiled, library=library, **{"deadline_s": 60.0} | options).wait()


@pytest.mark.photographs
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_really_compiled_file_is_loaded_allocated_and_invoked_by_the_library(
    library: str, compiled: Path, runtime: str
) -> None:
    verdict = ask(compiled, library, runtime=runtime)
    assert (verdict.reason, verdict.delegate) == ("", library)
    interpreter = open_on_edge_tpu(compiled, library=library, runtime=runtime)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert found.reshape(-1)[:4].tolist() == [0, 7, 14, 21]  # the stand-in's pattern: no CPU computed this


@pytest.mark.photographs
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_compiled_file_does_not_run_without_the_library(compiled: Path, runtime: str) -> None:
    with pytest.raises(ContractError, match="edgetpu-custom-op"):
        open_model(compiled, runtime=runtime)


def test_the_probe_says_how_long_the_coral_took(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_EDGETPU_MS", "40")
    verdict = ask(coral_model(tmp_path).with_name(COMPILED_NAME), library)
    assert verdict.reason == ""
    assert 40 <= verdict.ms < 400


@pytest.mark.parametrize(
    ("environment", "chosen", "reason"),
    [
        ({"FAKE_EDGETPU_ABSENT": "1"}, "", "no Coral answers (no device)"),
        ({}, "libnothere.so.1", "libnothere.so.1: cannot open shared object"),
        ({}, "libc.so.6", "is no Edge TPU library"),
        ({"FAKE_EDGETPU_MS": "60000"}, "", "did not answer within 8 s: it hangs"),
    ],
    ids=["absent stick", "missing library", "another library", "hang"],
)
def test_why_the_coral_cannot_be_used_is_said_in_plain_words(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], chosen: str, reason: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    verdict = ask(
        coral_model(tmp_path).with_name(COMPILED_NAME), chosen or library, deadline_s=8.0 if "hangs" in reason else 60.0
    )
    assert reason in verdict.reason


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_library_of_the_old_layout_takes_down_the_probe_and_nothing_else(tmp_path: Path, runtime: str) -> None:
    verdict = ask(
        coral_model(tmp_path).with_name(COMPILED_NAME), str(build_library(tmp_path, old=True)), runtime=runtime
    )
    assert "fit this" in verdict.reason.replace("TFLite ", "")


def test_a_library_that_ends_the_process_by_a_signal_is_a_reason(tmp_path: Path) -> None:
    source = tmp_path / "crash.c"
    build_library(tmp_path)  # skips where there is no gcc
    source.write_text("int *tflite_plugin_create_delegate(void) { return *(int **)8; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O0", "-w", "-o", tmp_path / "crash.so", source], check=True)
    verdict = ask(coral_model(tmp_path / "model").with_name(COMPILED_NAME), str(tmp_path / "crash.so"))
    assert "crashes (SIGSEGV)" in verdict.reason
    assert "TF 2.17" in verdict.reason


def test_a_file_that_no_compiler_made_is_refused_since_it_would_run_on_the_cpu(library: str, tmp_path: Path) -> None:
    model = coral_model(tmp_path)
    assert "was not compiled for the Edge TPU" in ask(model, library).reason


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_detector_runs_on_the_delegate_with_its_six_maps(library: str, tmp_path: Path, runtime: str) -> None:
    detector = Detector.load_on_edge_tpu(coral_model(tmp_path), library=library, runtime=runtime)
    assert detector.accelerator is Accelerator.EDGE_TPU
    found = detector.detect(EMPTY)
    assert found  # the pattern, as faces
    assert Detector.load(coral_model(tmp_path)).detect(EMPTY) == []


def test_a_compiled_file_is_used_only_if_the_manifest_names_these_bytes(tmp_path: Path) -> None:
    model = coral_model(tmp_path)
    assert compiled_file(model, read_manifest(model)) == model.with_name(COMPILED_NAME)
    content = model.with_name(COMPILED_NAME).read_bytes()
    model.with_name(COMPILED_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(ContractError, match="not the compiled file that the manifest names"):
        compiled_file(model, read_manifest(model))
    model.with_name(COMPILED_NAME).unlink()
    with pytest.raises(ContractError, match="came without model_edgetpu"):
        compiled_file(model, read_manifest(model))
    plain = coral_model(tmp_path / "plain", edge_tpu=None)
    assert compiled_file(plain, read_manifest(plain)) is None


@pytest.fixture
def googles(library: str) -> Iterator[list[str]]:
    """A module that behaves like Google's pycoral, where one can be imported; the models that it was asked for."""
    from tflite_runtime.interpreter import Interpreter, load_delegate

    asked: list[str] = []

    def make_interpreter(model_path_or_content: Any, device: str | None = None, delegate: Any = None) -> Any:
        asked.append(str(model_path_or_content))
        delegates = [delegate or load_delegate(library, {"device": device} if device else {})]
        return Interpreter(model_path=model_path_or_content, experimental_delegates=delegates)

    names = ("pycoral", "pycoral.utils", "pycoral.utils.edgetpu")
    modules: dict[str, Any] = {name: ModuleType(name) for name in names}
    modules["pycoral"].utils, modules["pycoral.utils"].edgetpu = modules[names[1]], modules[names[2]]
    modules["pycoral.utils.edgetpu"].make_interpreter = make_interpreter
    sys.modules.update(modules)
    yield asked
    for name in names:
        del sys.modules[name]


def test_googles_pycoral_is_used_where_it_is_installed(googles: list[str], library: str, tmp_path: Path) -> None:
    model = coral_model(tmp_path)
    assert Detector.load_on_edge_tpu(model).detect(EMPTY)
    assert googles == [str(model.with_name(COMPILED_NAME))]
    Detector.load_on_edge_tpu(model, library=library)  # another library than the usual one: not by pycoral
    assert len(googles) == 1


def test_the_coral_reef_atlas_is_not_mistaken_for_googles_pycoral(tmp_path: Path) -> None:
    sys.modules["pycoral"] = ModuleType("pycoral")
    try:
        with pytest.raises(ContractError, match="library does not load"):
            Detector.load_on_edge_tpu(coral_model(tmp_path))
    finally:
        del sys.modules["pycoral"]
