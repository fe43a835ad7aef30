"""Take back what rounding moves class logits by on average: int8 says a little less than the float network, and not of each class alike.

Used by `trainer.convert`, in the export environment.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.labels import LABELS

Floats = npt.NDArray[np.float32]
MAYBE = -3.0  # a class logit, .05: cells below it decide nothing, and there are a thousand of them for every face
LEAST_CELLS = 50  # with fewer, the mean is left alone


def shift(pairs: Iterable[tuple[Floats, Floats]]) -> npt.NDArray[np.float32]:
    """Mean of int8 minus float per class, over cells that the float network gives to it at all.

    `pairs` are class logits (cells, classes) of the float network and of the int8 file for the same picture.
    """
    moved, cells = np.zeros(len(LABELS)), np.zeros(len(LABELS))
    for before, after in pairs:
        counted = before > MAYBE
        moved += ((after - before) * counted).sum(axis=0)
        cells += counted.sum(axis=0)
    return np.where(cells >= LEAST_CELLS, moved / np.maximum(cells, 1), 0).astype(np.float32)


def recentred(graph: bytes, int8: bytes, images: npt.NDArray[np.uint8]) -> bytes:
    """The float TFLite `graph` whose last biases make up for what its `int8` file loses on `images`, RGB (n, size, size, 3)."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(graph))
    (subgraph,) = model.subgraphs
    heads = {
        subgraph.tensors[operator.outputs[0]].name.decode(): subgraph.tensors[operator.inputs[2]].buffer
        for operator in subgraph.operators
        if operator.outputs[0] in subgraph.outputs and subgraph.tensors[operator.outputs[0]].shape[-1] == len(LABELS)
    }
    looks: dict[str, list[tuple[Floats, Floats]]] = {name: [] for name in heads}
    floats, integers = _Network(graph), _Network(int8)
    for number, image in enumerate(images, start=1):
        before, after = (
            floats.look(image[None].astype(np.float32) / 255),
            integers.look((image[None] ^ 0x80).view(np.int8)),
        )
        for name, pairs in looks.items():
            pairs.append((before[name], after[name]))
        if number % 50 == 0 or number == len(images):
            print(f"recentring: {number} of {len(images)} images", flush=True)
    for name, number in heads.items():
        bias = np.frombuffer(bytes(model.buffers[number].data), np.float32) - shift(looks[name])
        model.buffers[number].data = np.frombuffer(bias.tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _Network:
    """A TFLite file whose outputs are read by name, as floats (cells, channels)."""

    def __init__(self, content: bytes) -> None:
        import tensorflow as tf

        self._interpreter = tf.lite.Interpreter(model_content=content, num_threads=2)
        self._interpreter.allocate_tensors()

    def look(self, picture: npt.NDArray[Any]) -> dict[str, Floats]:
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], picture)
        self._interpreter.invoke()
        found = {}
        for details in self._interpreter.get_output_details():
            values = self._interpreter.get_tensor(details["index"])[0]
            step, zero = details["quantization"]
            floats = (values.astype(np.float32) - zero) * step if step else values
            found[details["name"]] = floats.reshape(-1, floats.shape[-1]).astype(np.float32)
        return found
