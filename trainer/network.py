"""The yolov5n graph, its base weights, and our weights as plain float16 arrays (no pickle)."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG

from contract.errors import ContractError
from trainer.backend import has_fast_bf16
from trainer.whole import write_whole

ARCHITECTURE = "yolov5n.yaml"


class Network(DetectionModel):
    """ultralytics' anchor-free yolov5n; on a CPU with bfloat16 units the training pass uses them, the loss stays in float32."""

    def predict(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not (self.training and x.device.type == "cpu" and x.shape[0] > 1 and has_fast_bf16()):
            return super().predict(x, *args, **kwargs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return _float32(super().predict(x.contiguous(memory_format=torch.channels_last), *args, **kwargs))


def build(classes: int) -> Network:
    """A fresh yolov5n for `classes` classes."""
    network = Network(ARCHITECTURE, nc=classes, verbose=False)
    network.args = DEFAULT_CFG
    return network


def load(network: Network, path: Path) -> int:
    """Fill `network` with the arrays of `path` that fit by name and shape; returns how many did.

    Raises ContractError where the file is no archive of arrays or nothing in it fits.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise ContractError(f"{path} is not an .npz file of weights: {error}") from error
    own = network.state_dict()
    fitting = {
        name: torch.from_numpy(array).to(own[name].dtype)
        for name, array in arrays.items()
        if name in own and own[name].shape == array.shape
    }
    if not fitting:
        raise ContractError(f"{path} holds no array that fits {ARCHITECTURE}: is it another architecture's checkpoint?")
    network.load_state_dict(fitting, strict=False)
    return len(fitting)


def load_all(network: Network, path: Path) -> None:
    """As `load`, but every tensor must be there; raises ContractError otherwise."""
    fitting, needed = load(network, path), len(network.state_dict())
    if fitting != needed:
        raise ContractError(
            f"{path} fills {fitting} of {needed} tensors: it is a base to train from, not trained weights"
        )


def save(network: torch.nn.Module, path: Path) -> None:
    """Write every tensor of `network` as float16 (counters as they are) into a compressed .npz, which is there whole or not at all."""
    arrays = {
        name: tensor.detach().cpu().numpy().astype(np.float16 if tensor.is_floating_point() else np.int64)
        for name, tensor in network.float().state_dict().items()
    }
    content = BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())


def _float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _float32(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_float32(item) for item in value)
    return value
