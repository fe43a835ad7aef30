"""Make ultralytics run here: a CPU torch beside the registry's torchvision, no network, fast arithmetic where the processor has it."""

import os
from pathlib import Path

import torch


def prepare() -> None:
    """Call before the first `import ultralytics`; safe to call again."""
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    _register_nms()


def has_fast_bf16() -> bool:
    """True where this CPU multiplies bfloat16 in hardware; training then runs about twice as fast."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


def _register_nms() -> None:
    """Declare `torchvision::nms` where torchvision's compiled half does not fit this torch.

    torchvision from the package registry is built against the CUDA torch; beside the CPU build its extension does not load
    and its import stops at the missing operator. Only NMS is needed, so NMS is what is given.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):  # torchvision's import describes both; only the first is ever called
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _KEPT.append(library)
    import torchvision.extension

    torchvision.extension._has_ops = lambda: (
        True
    )  # asked before every call of nms, and it looks only for the compiled file


_KEPT: list[torch.library.Library] = []


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression; boxes (n, 4) corners, scores (n,); returns kept indices, best first."""
    order = scores.argsort(descending=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[rest, :2])
        high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        order = rest[shared / (area[best] + area[rest] - shared) <= iou_threshold]
    return torch.stack(kept) if kept else order
