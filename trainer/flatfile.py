"""What a TFLite file says of itself: its operators, their tensors and where the weights lie, read without running it."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from contract.errors import ContractError

EDGE_TPU_OPERATOR = "edgetpu-custom-op"  # what the compiler leaves in the place of the operators that it mapped
_INTEGERS = {"INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64}
_OPTIONS = (
    "FusedActivationFunction", "DilationWFactor", "DilationHFactor", "WeightsFormat", "KeepNumDims", "Axis", "EllipsisMask",
    "NewAxisMask",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the graph; `data` is empty where it is computed, and where its bytes lie elsewhere."""

    name: str
    kind: str  # of its elements: INT8, FLOAT32, ...
    shape: tuple[int, ...]
    fixed: bool  # every dimension is known before the graph runs
    data: bytes
    outside: bool  # its bytes lie behind the flatbuffer or in another file
    zero_point: int

    @property
    def constant(self) -> bool:
        """Known before the graph runs."""
        return bool(self.data) or self.outside

    @property
    def bytes(self) -> int:
        """What its elements take in memory, each as wide as `kind` says; 0 where a dimension is unknown."""
        if not all(size > 0 for size in self.shape):
            return 0
        width = int("".join(filter(str.isdigit, self.kind)) or 8)
        return int(np.prod(self.shape, dtype=np.int64)) * width // 8

    def values(self) -> list[int]:
        """The elements of an integer constant, flat; empty for anything else."""
        kind = _INTEGERS.get(self.kind)
        return [] if kind is None else [int(one) for one in np.frombuffer(self.data, kind)]


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator; an input that is left out is None."""

    name: str  # CONV_2D, ...; a custom operator's own name
    version: int
    custom: bool
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Graph:
    """The first subgraph of a file, in the order in which it runs."""

    size: int  # bytes of the file
    subgraphs: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor that an operator or the graph's edge names, each once, in order."""
        named = [
            *self.inputs,
            *(one for operator in self.operators for one in (*operator.inputs, *operator.outputs) if one),
        ]
        return tuple({id(one): one for one in (*named, *self.outputs)}.values())

    @property
    def compiled(self) -> bool:
        """Whether the Edge TPU's compiler made it: it holds that compiler's operator."""
        return any(operator.name == EDGE_TPU_OPERATOR for operator in self.operators)


def read_graph(model: Path) -> Graph:
    """The graph in a file; raises ContractError where there is none."""
    try:
        content = model.read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read the model {model}: {error.strerror}") from error
    try:
        return parse_graph(content)
    except ContractError as error:
        raise ContractError(f"{model}: {error}") from error


def parse_graph(content: bytes) -> Graph:
    """The graph in a file's bytes; raises ContractError for anything but a whole TFLite file."""
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise ContractError("not a TFLite file")
    try:
        return _graph(content)
    except (struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ContractError(f"a TFLite file, but spoiled: {error}") from error


def _graph(content: bytes) -> Graph:
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    tensors = [_tensor(model, graph.Tensors(index)) for index in range(graph.TensorsLength())]

    def several(length: int, at: Callable[[int], int]) -> list[Tensor | None]:
        return [None if (index := at(spot)) < 0 else tensors[index] for spot in range(length)]

    operators = []
    for index in range(graph.OperatorsLength()):
        told = graph.Operators(index)
        name, version, custom = _code(model.OperatorCodes(told.OpcodeIndex()))
        outputs = several(told.OutputsLength(), told.Outputs)
        operators.append(
            Operator(
                name, version, custom, tuple(several(told.InputsLength(), told.Inputs)),
                tuple(one for one in outputs if one is not None), _options(told),
            )
        )  # fmt: skip
    edges = [several(graph.InputsLength(), graph.Inputs), several(graph.OutputsLength(), graph.Outputs)]
    entries, exits = (tuple(one for one in edge if one is not None) for edge in edges)
    return Graph(len(content), model.SubgraphsLength(), entries, exits, tuple(operators))


def _tensor(model: Any, told: Any) -> Tensor:
    buffer = model.Buffers(told.Buffer())
    shape = tuple(told.Shape(index) for index in range(told.ShapeLength()))
    signature = [told.ShapeSignature(index) for index in range(told.ShapeSignatureLength())]
    scales = told.Quantization()
    return Tensor(
        name=(told.Name() or b"").decode(errors="replace"), kind=_name(schema.TensorType, told.Type()), shape=shape,
        fixed=all(size > 0 for size in (*shape, *signature)),
        data=bytes(buffer.DataAsNumpy()) if buffer.DataLength() else b"",
        outside=buffer.Offset() > 1 or told.ExternalBuffer() != 0,  # 1 marks a place that the writer never filled in
        zero_point=int(scales.ZeroPoint(0)) if scales is not None and scales.ZeroPointLength() else 0,
    )  # fmt: skip


def _code(told: Any) -> tuple[str, int, bool]:
    number = max(told.BuiltinCode(), told.DeprecatedBuiltinCode())  # old files fill in only the narrow field
    if number == schema.BuiltinOperator.CUSTOM:
        return (told.CustomCode() or b"CUSTOM").decode(errors="replace"), told.Version(), True
    return _name(schema.BuiltinOperator, number), told.Version(), False


def _options(told: Any) -> dict[str, int]:
    table, kind = told.BuiltinOptions(), told.BuiltinOptionsType()
    if table is None or kind == schema.BuiltinOptions.NONE:
        return {}
    options = getattr(schema, _name(schema.BuiltinOptions, kind))()
    options.Init(table.Bytes, table.Pos)
    return {name: int(getattr(options, name)()) for name in _OPTIONS if hasattr(options, name)}


def _name(numbers: type, wanted: int) -> str:
    return next((name for name, number in vars(numbers).items() if number == wanted and name[0] != "_"), f"#{wanted}")
