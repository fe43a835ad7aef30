"""The TFLite interpreter: Google's LiteRT where it is installed, tflite-runtime otherwise; both behave alike."""

import importlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from contract.errors import ContractError

RUNTIMES = ("ai_edge_litert", "tflite_runtime")


class Interpreter(Protocol):
    """The part of `tf.lite.Interpreter`'s interface that we use."""

    def allocate_tensors(self) -> None: ...
    def get_input_details(self) -> list[dict[str, Any]]: ...
    def get_output_details(self) -> list[dict[str, Any]]: ...
    def set_tensor(self, tensor_index: int, value: npt.NDArray[Any]) -> None: ...
    def invoke(self) -> None: ...
    def get_tensor(self, tensor_id: int) -> npt.NDArray[Any]: ...


def open_model(model: Path, *, threads: int = 1, runtime: str | None = None) -> Interpreter:
    """An interpreter with `model` loaded and its tensors allocated.

    `runtime` picks one of RUNTIMES; by default the first that is installed. Raises ContractError where the file is no
    TFLite model or no runtime is installed.
    """
    module = _import(runtime)
    try:
        interpreter: Interpreter = module.Interpreter(model_path=str(model), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ContractError(f"{model} does not load as a TFLite model: {error}") from error
    return interpreter


def _import(runtime: str | None) -> Any:
    for name in (runtime,) if runtime else RUNTIMES:
        try:
            module = importlib.import_module(f"{name}.interpreter")
        except ImportError:
            continue
        if name == "tflite_runtime" and np.lib.NumpyVersion(np.__version__) >= "2.0.0":
            raise ContractError(
                "tflite-runtime returns garbage with numpy 2: pip install 'numpy<2', or use ai-edge-litert"
            )
        return module
    raise ContractError(f"no TFLite runtime ({runtime or ' or '.join(RUNTIMES)}): pip install 'maskfleet[agent]'")
