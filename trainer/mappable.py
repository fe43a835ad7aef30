"""Whether the Edge TPU's compiler is likely to map a whole graph, judged by its published conditions: a guess with reasons."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from contract.errors import ContractError
from trainer.flatfile import EDGE_TPU_OPERATOR, Graph, Operator, Tensor

MIB = 1024 * 1024
ON_CHIP = 6 * MIB  # published logs show 6 to 7.9 MiB for parameters; how much depends on the graph
# The last compiler, 16.0 of 2021, reads the operator versions of TensorFlow 2.5: it has refused CONV_2D 6, QUANTIZE 3 and
# TRANSPOSE_CONV 4 (google-coral/edgetpu issues 631, 879, 845). Numbers: tensorflow/lite/tools/versioning/runtime_version.cc.
# The operators are those of the table in coral.ai/docs/edgetpu/models-intro.
NEWEST_VERSION = {
    "ADD": 3, "AVERAGE_POOL_2D": 3, "CONCATENATION": 3, "CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "EXPAND_DIMS": 1,
    "FULLY_CONNECTED": 9, "L2_NORMALIZATION": 2, "LOGISTIC": 3, "MAXIMUM": 4, "MAX_POOL_2D": 3, "MEAN": 3, "MINIMUM": 4,
    "MUL": 4, "PACK": 3, "PAD": 3, "PRELU": 1, "QUANTIZE": 2, "REDUCE_MAX": 3, "REDUCE_MIN": 3, "RELU": 3, "RELU6": 3,
    "RELU_N1_TO_1": 1, "RESHAPE": 1, "RESIZE_BILINEAR": 4, "RESIZE_NEAREST_NEIGHBOR": 4, "RSQRT": 2, "SLICE": 5, "SOFTMAX": 3,
    "SPACE_TO_DEPTH": 2, "SPLIT": 4, "SQUARED_DIFFERENCE": 2, "SQUEEZE": 2, "STRIDED_SLICE": 5, "SUB": 5, "SUM": 2, "TANH": 3,
    "TRANSPOSE": 5, "TRANSPOSE_CONV": 3, "UNIDIRECTIONAL_SEQUENCE_LSTM": 3,
}  # fmt: skip
# Inputs that must be known before the graph runs; all others may be computed.
_PARAMETERS = {
    "CONV_2D": (1, 2), "DEPTHWISE_CONV_2D": (1, 2), "FULLY_CONNECTED": (1, 2), "PAD": (1,), "MEAN": (1,), "SUM": (1,),
    "REDUCE_MAX": (1,), "REDUCE_MIN": (1,), "RESHAPE": (1,), "RESIZE_BILINEAR": (1,), "RESIZE_NEAREST_NEIGHBOR": (1,),
    "PRELU": (1,), "SLICE": (1, 2), "STRIDED_SLICE": (1, 2, 3), "TRANSPOSE": (1,), "TRANSPOSE_CONV": (0, 1), "SPLIT": (0,),
    "EXPAND_DIMS": (1,),
}  # fmt: skip
_EIGHT_BIT = ("INT8", "UINT8")
_SOFTMAX_LIMIT = 16_000


@dataclass(frozen=True, slots=True)
class StaticReport:
    """A look at a file that no compiler has seen; `likely` means that no published condition speaks against it."""

    verdict: Literal["likely", "unlikely"]
    reasons: tuple[str, ...]  # what speaks for it where likely, against it where unlikely
    cautions: tuple[str, ...]  # what a look cannot settle
    operators: dict[str, int]  # how many of each
    parameter_bytes: int
    largest_map_bytes: int  # the largest tensor that is computed
    size: int  # bytes of the file

    def as_json(self) -> dict[str, Any]:
        """The same, as what `trainer inspect --json` prints."""
        return {
            "status": self.verdict, "reasons": list(self.reasons), "cautions": list(self.cautions), "operators": self.operators,
            "parameter_bytes": self.parameter_bytes, "largest_map_bytes": self.largest_map_bytes, "size": self.size,
        }  # fmt: skip


def judge(graph: Graph) -> StaticReport:
    """Look for what the compiler is known to refuse or to leave on the CPU; raises ContractError for a compiled graph."""
    if graph.compiled:
        raise ContractError(f"already compiled for the Edge TPU: it holds {EDGE_TPU_OPERATOR}")
    against = [*_of_the_file(graph), *_grouped(graph)]
    parameters = {id(one): len(one.data) or one.bytes for one in graph.tensors if one.constant}
    maps = [one.bytes for one in graph.tensors if not one.constant]
    operators = Counter(operator.name for operator in graph.operators)
    return StaticReport(
        verdict="unlikely" if against else "likely", reasons=tuple(against or _in_favour(graph, operators)),
        cautions=tuple(_cautions(sum(parameters.values()), max(maps, default=0))), operators=dict(operators.most_common()),
        parameter_bytes=sum(parameters.values()), largest_map_bytes=max(maps, default=0), size=graph.size,
    )  # fmt: skip


def _of_the_file(graph: Graph) -> Iterator[str]:
    """What speaks against the file as a whole."""
    if not graph.operators:
        yield "there is no operator in it"
    if graph.subgraphs > 1:
        yield f"{graph.subgraphs} subgraphs: branches and loops have no place on the Edge TPU"
    for name, edge in (("input", graph.inputs), ("output", graph.outputs)):
        kinds = sorted({one.kind for one in edge} - set(_EIGHT_BIT))
        if kinds:
            yield f"{name} is {', '.join(kinds)}: only int8 and uint8 pass"
    outside = [one for one in graph.tensors if one.outside]
    if outside:
        yield f"{len(outside)} weights lie outside the flatbuffer, where the compiler of 2021 does not look"
    kinds = sorted({one.kind for one in graph.tensors if one.constant} - {*_EIGHT_BIT, "INT32"})
    if kinds:
        yield f"constants of {', '.join(kinds)}: parameters must be 8 bit, biases and shapes 32 bit"
    kinds = sorted({one.kind for one in graph.tensors if not one.constant} - set(_EIGHT_BIT))
    if kinds:
        yield f"computed tensors of {', '.join(kinds)}: only int8 and uint8 are mapped"
    for text, found in (
        ("have a size that is known only while it runs", [one for one in graph.tensors if not one.fixed and not one.constant]),
        ("are larger than 1 beyond their three innermost dimensions", [one for one in graph.tensors if _too_deep(one)]),
    ):  # fmt: skip
        if found:
            yield f"{len(found)} tensors {text}, the first {found[0].name or 'without a name'} {list(found[0].shape)}"


def _too_deep(tensor: Tensor) -> bool:
    return not tensor.constant and any(size > 1 for size in tensor.shape[:-3])


def _grouped(graph: Graph) -> list[str]:
    """What speaks against single operators; the same fault of several is told once, with their number."""
    found = Counter((operator.name, fault) for operator in graph.operators for fault in _faults(operator))
    return [
        f"{name} (x{times}): {fault}" if times > 1 else f"{name}: {fault}" for (name, fault), times in found.items()
    ]


def _faults(operator: Operator) -> Iterator[str]:
    newest = NEWEST_VERSION.get(operator.name)
    if operator.custom or newest is None:
        yield "not on the list of supported operators"
        return
    if operator.version > newest:
        yield f"version {operator.version}, and the last compiler reads up to {newest}"
    computed = [
        spot for spot in _PARAMETERS.get(operator.name, ()) if (one := _at(operator, spot)) and not one.constant
    ]
    if computed:
        yield f"its input {', '.join(map(str, computed))} is computed, but must be known beforehand"
    condition = _CONDITIONS.get(operator.name)
    if condition is not None:
        yield from condition(operator)


def _at(operator: Operator, spot: int) -> Tensor | None:
    return operator.inputs[spot] if spot < len(operator.inputs) else None


def _values(operator: Operator, spot: int) -> list[int]:
    tensor = _at(operator, spot)
    return tensor.values() if tensor else []


def _dilation(operator: Operator) -> Iterator[str]:
    wide, high = (operator.options.get(name, 1) for name in ("DilationWFactor", "DilationHFactor"))
    if wide != high:
        yield f"dilated by {wide} in x and {high} in y, which must be the same"


def _no_activation(operator: Operator) -> Iterator[str]:
    if operator.options.get("FusedActivationFunction", 0):
        yield "an activation is fused into it"


def _concatenation(operator: Operator) -> Iterator[str]:
    yield from _no_activation(operator)
    constants = [one for one in operator.inputs if one and one.constant]
    if constants and (len(operator.inputs) != 2 or any(set(one.values()) != {one.zero_point} for one in constants)):
        yield "joins a constant that is not a mere padding with zeros"


def _fully_connected(operator: Operator) -> Iterator[str]:
    if operator.options.get("WeightsFormat", 0):
        yield "its weights are in another than the default format"
    if any(sum(size > 1 for size in one.shape) > 1 for one in operator.outputs):
        yield "its output has more than one dimension"


def _padding(operator: Operator) -> Iterator[str]:
    entry, pads = _at(operator, 0), _values(operator, 1)
    if entry and len(entry.shape) == 4 and any(pads[:2]):
        yield "pads the batch"


def _reduction(operator: Operator) -> Iterator[str]:
    entry = _at(operator, 0)
    if entry and len(entry.shape) == 4 and {0, -4} & set(_values(operator, 1)):
        yield "reduces over the batch"


def _mean(operator: Operator) -> Iterator[str]:
    yield from _reduction(operator)
    entry = _at(operator, 0)
    if entry and entry.shape and {len(entry.shape) - 1, -1} & set(_values(operator, 1)) and entry.shape[-1] % 4:
        yield "takes the mean over channels whose number is no multiple of 4"


def _pack(operator: Operator) -> Iterator[str]:
    if operator.options.get("Axis", 0) == 0:
        yield "packs along the batch"


def _split(operator: Operator) -> Iterator[str]:
    if 0 in _values(operator, 0):
        yield "splits the batch"


def _strided_slice(operator: Operator) -> Iterator[str]:
    # The table asks for strides of 1, and 15.0 refused others; 16.0 maps them (jveitchmichaelis/edgetpu-yolo, export.md).
    if operator.options.get("EllipsisMask", 0) or operator.options.get("NewAxisMask", 0):
        yield "it has an ellipsis or makes a new axis"


def _softmax(operator: Operator) -> Iterator[str]:
    shape = next((one.shape for one in operator.inputs if one), ())
    if any(size > 1 for size in shape[:-1]) or (shape and shape[-1] > _SOFTMAX_LIMIT):
        yield f"promised only for one dimension of at most {_SOFTMAX_LIMIT:,}"


def _prelu(operator: Operator) -> Iterator[str]:
    alpha = _at(operator, 1)
    if alpha and any(size > 1 for size in alpha.shape[:-1]):
        yield "its alpha has more than one dimension"


_CONDITIONS: dict[str, Callable[[Operator], Iterator[str]]] = {
    "CONV_2D": _dilation, "DEPTHWISE_CONV_2D": _dilation, "AVERAGE_POOL_2D": _no_activation, "MAX_POOL_2D": _no_activation,
    "CONCATENATION": _concatenation, "FULLY_CONNECTED": _fully_connected, "PAD": _padding, "MEAN": _mean, "SUM": _reduction,
    "REDUCE_MAX": _reduction, "REDUCE_MIN": _reduction, "PACK": _pack, "SPLIT": _split, "STRIDED_SLICE": _strided_slice,
    "SOFTMAX": _softmax, "PRELU": _prelu,
}  # fmt: skip


def _in_favour(graph: Graph, operators: Counter[str]) -> Iterator[str]:
    kinds = " and ".join(sorted({one.kind.lower() for one in (*graph.inputs, *graph.outputs)}))
    versions = {name: max(one.version for one in graph.operators if one.name == name) for name in operators}
    yield f"{kinds} in and out, and no floating point between"
    yield "every size is fixed, and nothing is larger than 1 beyond its three innermost dimensions"
    yield f"all {len(graph.operators)} operators are on the list of supported ones, under its conditions: {', '.join(versions)}"
    yield "their versions are ones that the last compiler (16.0) reads: " + ", ".join(
        f"{name} {version}" for name, version in versions.items()
    )
    yield "all weights lie inside the flatbuffer"


def _cautions(parameters: int, largest: int) -> Iterator[str]:
    told = f"at least {parameters / MIB:.2f} MiB of parameters (compiled, often more)"
    if parameters > ON_CHIP:
        yield f"{told}: more than about {ON_CHIP // MIB} MiB stay on the chip, so the rest would be streamed for every frame"
    else:
        yield f"{told}; about {ON_CHIP // MIB} MiB stay on the chip"
    yield (
        f"the largest map takes {largest / MIB:.2f} MiB: the compiler refuses some graphs for large ones, by a rule that is not published"
    )
    yield "an operator that is on the list may still be left on the CPU for its size; only the compiler can say"
