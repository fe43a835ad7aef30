"""Fill the network with an int8 file's convolutions: the same function in float, ready to be trained.

Runs in the training environment: `python -m trainer.fill CONVOLUTIONS.npz PICTURES.npy OUT.npz`, as `trainer.base` prepares them.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from trainer import backend

backend.prepare()

import torch  # noqa: E402

from contract.errors import ContractError  # noqa: E402
from contract.labels import LABELS  # noqa: E402
from trainer import network  # noqa: E402
from trainer.cut import CutGraph  # noqa: E402


def fill(arrays: Path, pictures: Path, out: Path) -> None:
    """Write the weights as float16 arrays. Raises ContractError where a convolution has no place in the network."""
    full = network.build(len(LABELS)).eval()
    names = _order(full)
    modules = dict(full.named_modules())
    with np.load(arrays) as archive, torch.no_grad():
        if len(archive.files) != 2 * len(names):
            raise ContractError(f"the file has {len(archive.files) // 2} convolutions, the network {len(names)}")
        for number, name in enumerate(names):
            weight, bias = (torch.from_numpy(archive[f"{kind}{number:03}"]) for kind in ("weight", "bias"))
            convolution: Any = modules[name]
            if convolution.weight.shape != weight.shape:
                raise ContractError(
                    f"convolution {number} is {tuple(weight.shape)}, but {name} takes {tuple(convolution.weight.shape)}"
                )
            convolution.weight.copy_(weight)
            norm: Any = modules.get(name.removesuffix(".conv") + ".bn") if name.endswith(".conv") else None
            if norm is None:
                convolution.bias.copy_(bias)
            else:  # an identity that adds the bias
                norm.weight.fill_(1.0)
                norm.bias.copy_(bias)
                norm.running_mean.zero_()
                norm.running_var.fill_(1.0 - norm.eps)
        _measure(full, torch.from_numpy(np.load(pictures)))
    network.save(full, out)


def _order(full: Any) -> list[str]:
    """The names of the convolutions in the order of the converted file: the body as it runs, then the heads, coarse first."""
    ran: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in full.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad():
        CutGraph(full)(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    head = f"model.{len(full.model) - 1}."
    heads = [
        name
        for stride in (2, 1, 0)
        for kind in ("cv2", "cv3")
        for name in ran
        if name.startswith(f"{head}{kind}.{stride}.")
    ]
    return [name for name in ran if not name.startswith(head)] + heads


def _measure(full: Any, pictures: Any) -> None:
    """Give each normalisation the mean and spread of what it sees, and undo both in its scale and shift.

    The network computes what it did before; but in training, where a batch's own statistics take their place, it now
    still does, nearly.
    """
    sums: dict[Any, list[Any]] = {}

    def look(module: Any, inputs: Any, _output: Any) -> None:
        seen = inputs[0].double()
        known = sums.setdefault(module, [0.0, 0.0, 0])
        known[0] += seen.sum((0, 2, 3))
        known[1] += (seen**2).sum((0, 2, 3))
        known[2] += seen.numel() // seen.shape[1]

    norms = [one for one in full.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    hooks = [one.register_forward_hook(look) for one in norms]
    for start in range(0, len(pictures), 8):
        full(pictures[start : start + 8].permute(0, 3, 1, 2).float() / 255)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        total, squares, number = sums[norm]
        mean = total / number
        spread = (squares / number - mean**2).clamp(min=1e-6)
        norm.bias.add_(mean.float())
        norm.weight.copy_((spread + norm.eps).sqrt().float())
        norm.running_mean.copy_(mean.float())
        norm.running_var.copy_(spread.float())


if __name__ == "__main__":
    fill(*(Path(one) for one in sys.argv[1:4]))
