"""Average trained weights with their base's: on little data the mean of two good networks generalises better than either.

The mean is less sure than its parents, though in the same order; one number added to every class logit makes it as sure again.
Used by `trainer.train`, in the training environment.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import torch

from agent.vision.yolo import letterbox
from contract.errors import ContractError
from trainer import network
from trainer.cut import CutGraph

PICTURES = 96
SURE = 0.3  # mean confidence of the parents from which a cell counts as a face


def blend(fitted: network.Network, base: Path, share: float, images: Sequence[Path], size: int) -> float:
    """Move every weight of `fitted` towards `base` by `share` (0..1); returns what was added to its class logits.

    `images` are typical ones, of which some are shown to parents and mean at `size` px.
    Raises ContractError where `base` lacks a tensor or an image does not decode.
    """
    other = network.build(fitted.model[-1].nc)
    network.load_all(other, base)
    mean = deepcopy(fitted)
    mean.load_state_dict(
        {
            name: torch.lerp(value, there, share) if value.is_floating_point() else value
            for (name, value), there in zip(fitted.state_dict().items(), other.state_dict().values(), strict=True)
        }
    )
    shown = _pictures(images, size)
    ours, theirs, mixed = (_class_logits(one, shown) for one in (fitted, other, mean))
    sure = (1 - share) * ours.sigmoid() + share * theirs.sigmoid() >= SURE
    shift = float(torch.lerp(ours, theirs, share)[sure].mean() - mixed[sure].mean()) if sure.any() else 0.0
    fitted.load_state_dict(mean.state_dict())
    with torch.no_grad():
        for head in fitted.model[-1].cv3:
            head[-1].bias += shift
    return shift


def _pictures(images: Sequence[Path], size: int) -> torch.Tensor:
    """(n, 3, size, size) in 0..1, spread over the list."""
    spots = np.linspace(0, len(images) - 1, min(PICTURES, len(images))).astype(int)
    shown = []
    for spot in spots:
        pixels = cv2.imread(str(images[spot]), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ContractError(f"cannot read the image {images[spot]}")
        shown.append(letterbox(pixels.astype(np.uint8), size)[0].view(np.uint8)[0] ^ 0x80)
    return torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255


def _class_logits(net: network.Network, shown: torch.Tensor) -> torch.Tensor:
    """(images, cells, classes)."""
    cut = CutGraph(deepcopy(net).eval())
    with torch.no_grad():
        return torch.cat(
            [
                torch.cat([one.flatten(2) for one in cut(shown[start : start + 8])[3:]], dim=2).transpose(1, 2)
                for start in range(0, len(shown), 8)
            ]
        )
