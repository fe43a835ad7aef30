"""Weights to ONNX, cut before decoding: six maps, and only operations that the Edge TPU's compiler is known to map.

Runs in the training environment: `python -m trainer.cut WEIGHTS.npz INPUT_SIZE OUT.onnx`.
"""

import sys
from pathlib import Path

from trainer import backend

backend.prepare()

import torch  # noqa: E402

from contract.labels import LABELS  # noqa: E402
from trainer import network  # noqa: E402


class CutGraph(torch.nn.Module):
    """The network up to its heads' last convolutions: per stride 64 distance bins and the class logits."""

    def __init__(self, full: network.Network) -> None:
        super().__init__()
        self.full = full

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images (1, 3, size, size) in 0..1 to the box maps at strides 8, 16, 32, then the class maps."""
        kept: list[torch.Tensor | None] = []
        value: torch.Tensor | list[torch.Tensor | None] = images
        for layer in self.full.model[:-1]:
            if layer.f != -1:
                sources = [layer.f] if isinstance(layer.f, int) else layer.f
                inputs = [value if index == -1 else kept[index] for index in sources]
                value = inputs[0] if isinstance(layer.f, int) else inputs
            value = layer(value)
            kept.append(value if layer.i in self.full.save else None)
        head = self.full.model[-1]
        features = [kept[index] for index in head.f]
        boxes = [convolve(feature) for feature, convolve in zip(features, head.cv2, strict=True)]
        classes = [convolve(feature) for feature, convolve in zip(features, head.cv3, strict=True)]
        return (*boxes, *classes)


def write_onnx(weights: Path, size: int, out: Path) -> None:
    """Write the cut graph with fused batch normalisation; raises ContractError for weights that do not fill it."""
    full = network.build(len(LABELS))
    network.load_all(full, weights)
    full.eval()
    full.fuse(verbose=False)
    names = [f"{kind}_{stride}" for kind in ("boxes", "classes") for stride in (8, 16, 32)]
    torch.onnx.export(
        CutGraph(full).eval(), (torch.zeros(1, 3, size, size),), str(out), opset_version=17, dynamo=False,
        input_names=["images"], output_names=names,
    )  # fmt: skip


if __name__ == "__main__":
    write_onnx(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
