"""Pixels to detections: letterbox, the interpreter, the decoder that the model's manifest names."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from agent.vision.geometry import Box
from agent.vision.runtime import EDGE_TPU_LIBRARY, Interpreter, open_model, open_on_edge_tpu
from agent.vision.yolo import BINS, Fitted, Floats, Maps, Pixels, Placement, Scale, decode, letterbox, suppress
from contract.errors import ContractError
from contract.events import Accelerator
from contract.labels import LABELS, Label
from contract.release import Head, Manifest, compiled_file, read_manifest

NMS_IOU = 0.6
FAINT = 0.05  # confidence below which nothing is even faint
FAINT_MOST = 20  # faint detections of one frame


@dataclass(frozen=True, slots=True)
class Detection:
    """One face in one frame."""

    box: Box
    label: Label
    confidence: float  # 0..1
    scores: tuple[float, ...]  # 0..1 per label, in label order


class Detector:
    """A model with its manifest, ready to look at frames."""

    accelerator = Accelerator.CPU

    def __init__(
        self, interpreter: Interpreter, manifest: Manifest, *, thresholds: dict[Label, float] | None = None,
        accelerator: Accelerator = Accelerator.CPU,
    ) -> None:  # fmt: skip
        self.accelerator = accelerator
        self.manifest = manifest
        self._interpreter = interpreter
        self._thresholds = [(thresholds or manifest.thresholds)[label] for label in LABELS]
        self._input = _require_input(interpreter, manifest)
        self._heads = _require_heads(interpreter, manifest)

    @classmethod
    def load(
        cls, model: Path, *, threads: int = 1, thresholds: dict[Label, float] | None = None, runtime: str | None = None
    ) -> "Detector":
        """Raises ContractError for a missing, foreign, non-int8 or unknown-head model."""
        manifest = read_manifest(model)
        return cls(open_model(model, threads=threads, runtime=runtime), manifest, thresholds=thresholds)

    @classmethod
    def load_on_edge_tpu(
        cls, model: Path, *, library: str = EDGE_TPU_LIBRARY, runtime: str | None = None
    ) -> "Detector":
        """The compiled file beside `model` on the Coral; only after a probe of it succeeded.

        Raises ContractError where the manifest names no such file, it is another one, or the Coral does not take it.
        """
        manifest = read_manifest(model)
        compiled = compiled_file(model, manifest)
        if compiled is None:
            raise ContractError(f"{model} has no file for the Edge TPU beside it")
        interpreter = open_on_edge_tpu(compiled, library=library, runtime=runtime)
        return cls(interpreter, manifest, accelerator=Accelerator.EDGE_TPU)

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> "Faces":
        """The network's answer to a BGR frame (height, width, 3).

        `fitted` is what `letterbox` made of the frame, where that was done before; one for another size is done again.
        """
        if fitted is None or fitted[0].shape[1] != self.manifest.input_size:
            fitted = letterbox(pixels, self.manifest.input_size)
        tensor, placement = fitted
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        maps = [head.read(self._interpreter) for head in self._heads]
        return Faces(maps, placement, (pixels.shape[1], pixels.shape[0]), self._thresholds, self.manifest)

    def detect(self, pixels: Pixels) -> list[Detection]:
        """Faces in a BGR frame (height, width, 3), best first, boxes in the unit square of the frame."""
        return self.look(pixels).found


class Faces:
    """What a network answered to one frame, read only when it is asked for, in any thread; no pixels."""

    def __init__(
        self, maps: list[Maps], placement: Placement, size: tuple[int, int], thresholds: list[float], manifest: Manifest
    ) -> None:
        """`size` is the frame's width and height in px, `manifest` the model's that looked."""
        self.manifest = manifest
        self._maps, self._placement, self._size, self._thresholds = maps, placement, size, thresholds

    @cached_property
    def found(self) -> list[Detection]:
        """Faces, best first, boxes in the unit square of the frame."""
        boxes, scores = decode(self._maps, self._thresholds)
        kept = suppress(boxes, scores, iou=NMS_IOU)
        return detections(boxes[kept], scores[kept], self._placement, self._size)

    def faint(self) -> list[Detection]:
        """What `found` leaves out: from .05 to the threshold, best first, 20 at most.

        Without those that are a detected face once more. Costs nothing unless asked.
        """
        boxes, scores = decode(self._maps, [FAINT] * len(LABELS), below=self._thresholds)
        kept = suppress(boxes, scores, iou=NMS_IOU, most=FAINT_MOST)
        unsure = detections(boxes[kept], scores[kept], self._placement, self._size)
        return [one for one in unsure if all(one.box.iou(other.box) <= NMS_IOU for other in self.found)]


def detections(boxes: Floats, scores: Floats, placement: Placement, size: tuple[int, int]) -> list[Detection]:
    """Boxes (n, 4) in input px and class scores (n, classes) of a frame of `size` (width, height) px, in its unit square."""
    spot = np.array([placement.left, placement.top] * 2, np.float32)
    corners = (boxes - spot) / placement.scale / np.array(size * 2, np.float32)
    inside = np.minimum(np.maximum(corners, 0), 1)
    return [_detection(corner, score) for corner, score in zip(inside.tolist(), scores.tolist(), strict=True)]


def _detection(corners: list[float], scores: list[float]) -> Detection:
    confidence = max(scores)
    return Detection(Box(*corners), LABELS[scores.index(confidence)], confidence, tuple(scores))


@dataclass(frozen=True, slots=True)
class _HeadPair:
    """The output tensors of one stride."""

    stride: int
    boxes: int
    classes: int
    box_scale: Scale
    class_scale: Scale

    def read(self, interpreter: Interpreter) -> Maps:
        boxes, classes = interpreter.get_tensor(self.boxes)[0], interpreter.get_tensor(self.classes)[0]
        return Maps(self.stride, boxes, classes, self.box_scale, self.class_scale)


def _require_input(interpreter: Interpreter, manifest: Manifest) -> int:
    (details, *others) = interpreter.get_input_details()
    size = manifest.input_size
    if others or details["dtype"] != np.int8:
        raise ContractError(
            f"the model takes {np.dtype(details['dtype']).name}, not int8: export it full-integer (`trainer export`)"
        )
    if tuple(details["shape"]) != (1, size, size, 3):
        raise ContractError(f"the model takes {tuple(details['shape'])}, but its manifest says (1, {size}, {size}, 3)")
    step, zero = details["quantization"]
    if zero != -128 or abs(step - 1 / 255) > 1e-5:
        raise ContractError(
            f"the model's input is scaled by {step:.6f} from {zero}; expected 1/255 from -128 (plain RGB bytes)"
        )
    return int(details["index"])


def _require_heads(interpreter: Interpreter, manifest: Manifest) -> list[_HeadPair]:
    """Find the six maps by their shapes, since the converter shuffles the outputs."""
    if manifest.head is not Head.YOLOV5U_CUT:
        raise ContractError(f"no decoder for head layout {manifest.head!r} in this agent; update the agent first")
    found = {}
    for details in interpreter.get_output_details():
        if details["dtype"] != np.int8:
            raise ContractError("the model's outputs are not int8: export it full-integer (`trainer export`)")
        step, zero = details["quantization"]
        found[tuple(int(side) for side in details["shape"])] = (int(details["index"]), Scale(float(step), int(zero)))
    heads = []
    for stride in (8, 16, 32):
        side = manifest.input_size // stride
        boxes, classes = found.get((1, side, side, 4 * BINS)), found.get((1, side, side, len(LABELS)))
        if boxes is None or classes is None or len(found) != 6:
            raise ContractError(
                f"the model's outputs {sorted(found)} are not the six maps of head layout '{manifest.head}' at {manifest.input_size} px"
            )
        heads.append(_HeadPair(stride, boxes[0], classes[0], boxes[1], classes[1]))
    return heads
