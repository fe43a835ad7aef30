"""The TFLite interpreter: Google's LiteRT where it is installed, tflite-runtime otherwise; both behave alike."""

import ctypes
import importlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from contract.errors import ContractError

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
PYCORAL = (
    "pycoral.utils.edgetpu"  # Google's; the package called pycoral on PyPI is something else and has no such module
)
EDGE_TPU_LIBRARY = "libedgetpu.so.1"
EDGE_TPU_OPERATOR = b"edgetpu-custom-op"  # no runtime has a kernel for it: what runs it is the Edge TPU's library


class Interpreter(Protocol):
    """The part of `tf.lite.Interpreter`'s interface that we use."""

    def allocate_tensors(self) -> None: ...
    def get_input_details(self) -> list[dict[str, Any]]: ...
    def get_output_details(self) -> list[dict[str, Any]]: ...
    def set_tensor(self, tensor_index: int, value: npt.NDArray[Any]) -> None: ...
    def invoke(self) -> None: ...
    def get_tensor(self, tensor_id: int) -> npt.NDArray[Any]: ...


def open_model(model: Path, *, threads: int = 1, runtime: str | None = None) -> Interpreter:
    """An interpreter with `model` loaded and its tensors allocated, on the CPU.

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


def open_on_edge_tpu(model: Path, *, library: str = EDGE_TPU_LIBRARY, runtime: str | None = None) -> Interpreter:
    """An interpreter with the compiled `model` allocated on the Coral, by Google's pycoral where it is installed.

    pycoral knows only the usual library. Only for a process that may crash, or after `agent.health.probe` came back: an
    Edge TPU library that does not fit the runtime ends the process. Raises ContractError with the reason in plain words.
    """
    try:
        content = model.read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read the compiled model {model}: {error.strerror}") from error
    if EDGE_TPU_OPERATOR not in content:
        raise ContractError(f"{model} was not compiled for the Edge TPU: it would run on the CPU without a word")
    pycoral = _pycoral() if library == EDGE_TPU_LIBRARY and runtime is None else None
    try:
        interpreter: Interpreter
        if pycoral:
            interpreter = pycoral.make_interpreter(str(model))
        else:
            module = _import(runtime)
            delegates = [_delegate(module, library)]
            interpreter = module.Interpreter(model_path=str(model), experimental_delegates=delegates)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, OSError) as error:
        told = " ".join(str(error).split())
        raise ContractError(
            f"the Coral does not take the model ({told}): is it this stick's, and does {library} fit this runtime?"
        ) from error
    return interpreter


def _delegate(module: Any, library: str) -> Any:
    try:
        ctypes.CDLL(library).tflite_plugin_create_delegate  # noqa: B018 - the runtimes' own loader fails less plainly
        return module.load_delegate(library)
    except OSError as error:
        raise ContractError(
            f"the Edge TPU's library does not load: {error}; install it, or set model.edgetpu_library"
        ) from error
    except ValueError as error:
        told = " ".join(str(error).split()).removeprefix(f"Failed to load delegate from {library}").strip()
        raise ContractError(
            f"no Coral answers ({told or 'the library gives no reason'}): is the stick plugged in?"
        ) from error
    except AttributeError as error:
        raise ContractError(f"{library} is no Edge TPU library: {error}") from error


def _pycoral() -> Any:
    try:
        return importlib.import_module(PYCORAL)
    except ImportError:
        return None


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
