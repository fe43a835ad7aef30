"""What stands in for a Coral in tests: a library that behaves like the Edge TPU's, and a model that only it can run."""

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from agent.config import FACTORY_MODEL
from agent.vision.runtime import open_model
from contract.release import COMPILED_NAME, MANIFEST_NAME, MODEL_NAME

ROOT = Path(__file__).resolve().parents[2]


def build_library(folder: Path, *, old: bool = False) -> Path:
    """The stand-in library; `old`: with the struct of Google's own build. Skips, saying so, where its source is absent."""
    source = Path(os.environ.get("MASKFLEET_TOOLS", ROOT.parent / "shared" / "tools")) / "fakeedgetpu.c"
    if not source.is_file():
        pytest.skip(f"no stand-in for the Edge TPU's library at {source} (set MASKFLEET_TOOLS)")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to build the stand-in for the Edge TPU's library: deploy/setup.sh test installs it")
    library = folder / ("old.so" if old else "libedgetpu.so.1")
    chosen = ["-DOLD"] if old else []
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", *chosen, "-o", library, source], check=True)
    return library


def compiled_model(like: Path = FACTORY_MODEL) -> bytes:
    """A TFLite file with the inputs and outputs of `like` and, between them, one operator: the Edge TPU's."""
    interpreter = open_model(like)
    entries, exits = interpreter.get_input_details(), interpreter.get_output_details()
    code: Any = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = "edgetpu-custom-op", 1
    operator: Any = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs = list(range(len(entries)))
    operator.outputs = list(range(len(entries), len(entries) + len(exits)))
    graph: Any = schema.SubGraphT()
    graph.tensors = [_tensor(one) for one in (*entries, *exits)]
    graph.inputs, graph.outputs, graph.operators = operator.inputs, operator.outputs, [operator]
    model: Any = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def coral_model(folder: Path, *, compiled: bytes | None = None, **changes: Any) -> Path:
    """The factory model, without golden frames, and a compiled file beside it; `changes` go into the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    content = compiled_model() if compiled is None else compiled
    shutil.copyfile(FACTORY_MODEL, folder / MODEL_NAME)
    (folder / COMPILED_NAME).write_bytes(content)
    manifest = json.loads(FACTORY_MODEL.with_name(MANIFEST_NAME).read_text())
    manifest["golden_digest"] = None
    manifest["edge_tpu"] = compiled_facts(content)
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest | changes))
    return folder / MODEL_NAME


def compiled_facts(content: bytes) -> dict[str, Any]:
    """What a manifest says of a compiled file."""
    return {
        "status": "compiled", "compiler": "16.0", "operators_on_edge_tpu": 246, "operators_on_cpu": 0,
        "digest": sha256(content).hexdigest(), "size": len(content),
    }  # fmt: skip


def _tensor(details: dict[str, Any]) -> Any:
    told: Any = schema.TensorT()
    told.name, told.shape, told.type, told.buffer = details["name"], list(details["shape"]), schema.TensorType.INT8, 0
    scale: Any = schema.QuantizationParametersT()
    step, zero = details["quantization"]
    scale.scale, scale.zeroPoint = [float(step)], [int(zero)]
    told.quantization = scale
    return told
