"""The float weights that every training starts from, won back from an int8 file that ships: its own twin in float."""

from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import ContractError
from trainer import environment
from trainer.dataset import Split
from trainer.export import calibration_images

PICTURES = 240  # whose statistics the batch normalisations get


def recover(model: Path, split: Split, size: int, work: Path, out: Path) -> None:
    """Write the weights of `model`, an int8 file of ours, as float16 arrays to `out`; `split` gives typical pictures.

    Raises ContractError where the file is of another graph.
    """
    work.mkdir(parents=True, exist_ok=True)
    arrays, pictures = work / "convolutions.npz", work / "pictures.npy"
    np.savez(arrays, **convolutions(model))
    np.save(pictures, calibration_images(split, size, PICTURES))
    environment.run("train", "trainer.fill", [arrays.resolve(), pictures.resolve(), out.resolve()])


def convolutions(model: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Weights (out, in, height, width) and biases of every convolution as `weight000`, `bias000`, in the file's order."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(model), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ContractError(f"{model} cannot be read as a TFLite file: {error}") from error
    details = {one["index"]: one for one in interpreter.get_tensor_details()}

    def floats(index: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        told = details[index]["quantization_parameters"]
        values = interpreter.get_tensor(index).astype(np.float32)
        if np.any(told["zero_points"]):
            raise ContractError(f"{model}: a weight is not quantised around zero; it is not of our conversion")
        return np.asarray(values * told["scales"].reshape([-1] + [1] * (values.ndim - 1)), np.float32)

    found: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    for operation in interpreter._get_ops_details():
        if operation["op_name"] == "CONV_2D":
            _, weight, bias = operation["inputs"]
            number = len(found) // 2
            found[f"weight{number:03}"] = floats(weight).transpose(0, 3, 1, 2)
            found[f"bias{number:03}"] = floats(bias)
    return found
