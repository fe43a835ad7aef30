"""Small TFLite files, written tensor by tensor, so that a test can spoil exactly one thing."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


class Draft:
    """A graph in the making; `content()` is the file."""

    def __init__(self) -> None:
        self.graph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[], name=b"main")
        self.model = schema.ModelT(
            version=3, operatorCodes=[], subgraphs=[self.graph], buffers=[schema.BufferT(data=[])], description=b"draft"
        )

    def tensor(
        self, name: str, shape: list[int], kind: str = "INT8", values: list[int] | None = None, signature: list[int] | None = None
    ) -> int:  # fmt: skip
        """Add one; `values` make it a constant."""
        buffer = 0
        if values is not None:
            width = {"INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "FLOAT32": np.float32}[kind]
            self.model.buffers.append(schema.BufferT(data=np.array(values, width).view(np.uint8)))
            buffer = len(self.model.buffers) - 1
        scales = schema.QuantizationParametersT(scale=[0.5], zeroPoint=[3])
        number = getattr(schema.TensorType, kind)
        self.graph.tensors.append(
            schema.TensorT(
                shape=shape,
                type=number,
                buffer=buffer,
                name=name.encode(),
                quantization=scales,
                shapeSignature=signature,
            )
        )
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: list[int], outputs: list[int], version: int = 1, options: Any = None) -> None:
        """Add one; a name that TFLite does not know makes it a custom one."""
        number = getattr(schema.BuiltinOperator, name, None)
        code = schema.OperatorCodeT(version=version)
        if number is None:
            code.customCode, number = name.encode(), schema.BuiltinOperator.CUSTOM
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        self.model.operatorCodes.append(code)
        made = schema.OperatorT(opcodeIndex=len(self.model.operatorCodes) - 1, inputs=inputs, outputs=outputs)
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            made.builtinOptions = options
        self.graph.operators.append(made)

    def content(self) -> bytes:
        """The file: inputs are what nothing computes, outputs what nothing reads."""
        read = {one for operator in self.graph.operators for one in operator.inputs}
        made = {one for operator in self.graph.operators for one in operator.outputs}
        computed = [spot for spot, one in enumerate(self.graph.tensors) if not one.buffer]
        self.graph.inputs = [spot for spot in computed if spot not in made]
        self.graph.outputs = [spot for spot in computed if spot not in read]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def small_network(kind: str = "INT8") -> Draft:
    """A convolution and its logistic, 8 bit throughout: nothing speaks against it."""
    draft = Draft()
    images = draft.tensor("images", [1, 8, 8, 3], kind)
    weights = draft.tensor("weights", [4, 3, 3, 3], kind, [1] * 108)
    bias = draft.tensor("bias", [4], "INT32", [0] * 4)
    map_, scores = draft.tensor("map", [1, 8, 8, 4], kind), draft.tensor("scores", [1, 8, 8, 4], kind)
    draft.operator("CONV_2D", [images, weights, bias], [map_], version=3, options=schema.Conv2DOptionsT())
    draft.operator("LOGISTIC", [map_], [scores], version=2)
    return draft
