"""What speaks against a file on the Edge TPU, one constructed fault after the other."""

import random
import struct
from collections.abc import Callable

import pytest
from ai_edge_litert import schema_py_generated as schema

from agent.config import FACTORY_MODEL
from contract.errors import ContractError
from tests.trainer.draft import Draft, small_network
from trainer.flatfile import parse_graph, read_graph
from trainer.mappable import NEWEST_VERSION, judge

Change = Callable[[Draft], object]


def last(draft: Draft) -> int:
    return len(draft.graph.tensors) - 1


def then(name: str, shape: list[int], *inputs: int, options: object = None) -> Change:
    """One operator more, on the scores."""

    def change(draft: Draft) -> None:
        before = last(draft)
        out = draft.tensor("more", shape)
        draft.operator(name, [before, *inputs], [out], options=options)

    return change


def with_constant(
    name: str, shape: list[int], values: list[int], options: object = None, first: bool = False
) -> Change:
    """One operator more, on the scores and an integer constant."""

    def change(draft: Draft) -> None:
        before = last(draft)
        constant = draft.tensor("constant", [len(values)], "INT32", values)
        out = draft.tensor("more", shape)
        draft.operator(name, [constant, before] if first else [before, constant], [out], options=options)

    return change


def dilated(draft: Draft) -> None:
    options = draft.graph.operators[0].builtinOptions
    options.dilationWFactor, options.dilationHFactor = 2, 1


def version(spot: int, number: int) -> Change:
    return lambda draft: setattr(draft.model.operatorCodes[spot], "version", number)


def shape(spot: int, sizes: list[int], signature: list[int] | None = None) -> Change:
    def change(draft: Draft) -> None:
        draft.graph.tensors[spot].shape = sizes
        draft.graph.tensors[spot].shapeSignature = signature

    return change


def kind(spot: int, name: str) -> Change:
    return lambda draft: setattr(draft.graph.tensors[spot], "type", getattr(schema.TensorType, name))


def weights_behind(draft: Draft) -> None:
    draft.model.buffers[1] = schema.BufferT(data=[], offset=4096, size=108)


def weights_elsewhere(draft: Draft) -> None:
    draft.graph.tensors[1].buffer, draft.graph.tensors[1].externalBuffer = 0, 1


def computed_weights(draft: Draft) -> None:
    draft.graph.tensors[1].buffer = 0


def joined_with(values: list[int], *, fused: bool = False) -> Change:
    def change(draft: Draft) -> None:
        before = last(draft)
        constant, out = draft.tensor("constant", [1, 8, 8, 1], "INT8", values), draft.tensor("joined", [1, 8, 8, 5])
        options = schema.ConcatenationOptionsT(axis=3, fusedActivationFunction=FUSED if fused else 0)
        draft.operator("CONCATENATION", [before, constant], [out], options=options)

    return change


def sliced(strides: list[int], ellipsis: int = 0) -> Change:
    def change(draft: Draft) -> None:
        before = last(draft)
        edges = [
            draft.tensor(name, [4], "INT32", values) for name, values in (("begin", [0] * 4), ("end", [1, 4, 4, 4]))
        ]
        steps, out = draft.tensor("strides", [4], "INT32", strides), draft.tensor("slice", [1, 4, 4, 4])
        options = schema.StridedSliceOptionsT(ellipsisMask=ellipsis)
        draft.operator("STRIDED_SLICE", [before, *edges, steps], [out], options=options)

    return change


def disguised(draft: Draft) -> None:
    draft.model.operatorCodes[1].builtinCode = schema.BuiltinOperator.CUSTOM
    draft.model.operatorCodes[1].customCode = b"LOGISTIC"


def fully_connected(weights_format: int) -> Change:
    def change(draft: Draft) -> None:
        before = last(draft)
        weights, out = draft.tensor("dense", [2, 256], "INT8", [1] * 512), draft.tensor("row", [1, 2])
        options = schema.FullyConnectedOptionsT(weightsFormat=weights_format)
        draft.operator("FULLY_CONNECTED", [before, weights], [out], version=4, options=options)

    return change


def softmax_over(number: int) -> Change:
    def change(draft: Draft) -> None:
        row = draft.tensor("row", [1, number])
        draft.operator("SOFTMAX", [row], [draft.tensor("shares", [1, number])], version=2)

    return change


def prelu(alpha: list[int]) -> Change:
    def change(draft: Draft) -> None:
        before = last(draft)
        slopes = draft.tensor("alpha", alpha, "INT8", [1] * (alpha[0] * alpha[1] * alpha[2]))
        draft.operator("PRELU", [before, slopes], [draft.tensor("bent", [1, 8, 8, 4])])

    return change


def mean_over_channels(channels: int) -> Change:
    def change(draft: Draft) -> None:
        entry = draft.tensor("other", [1, 8, 8, channels])
        axis, out = draft.tensor("axis", [1], "INT32", [3]), draft.tensor("mean", [1, 8, 8])
        draft.operator("MEAN", [entry, axis], [out])

    return change


FUSED = schema.ActivationFunctionType.RELU6
FAULTS: list[tuple[Change, str]] = [
    (kind(0, "FLOAT32"), "input is FLOAT32"),
    (kind(4, "FLOAT32"), "output is FLOAT32"),
    (kind(4, "INT16"), "output is INT16"),
    (kind(3, "FLOAT32"), "computed tensors of FLOAT32"),
    (kind(2, "FLOAT32"), "constants of FLOAT32"),
    (shape(0, [1, 8, 8, 3], [-1, 8, 8, 3]), "1 tensors have a size that is known only while it runs, the first images"),
    (shape(3, [2, 8, 8, 4]), "larger than 1 beyond their three innermost dimensions, the first map [2, 8, 8, 4]"),
    (weights_behind, "1 weights lie outside the flatbuffer"),
    (weights_elsewhere, "1 weights lie outside the flatbuffer"),
    (computed_weights, "CONV_2D: its input 1 is computed"),
    (version(0, 6), "CONV_2D: version 6, and the last compiler reads up to 5"),
    (version(1, 4), "LOGISTIC: version 4"),
    (dilated, "dilated by 2 in x and 1 in y"),
    (then("LEAKY_RELU", [1, 8, 8, 4]), "LEAKY_RELU: not on the list"),
    (then("Mish", [1, 8, 8, 4]), "Mish: not on the list"),
    (then("MAX_POOL_2D", [1, 4, 4, 4], options=schema.Pool2DOptionsT(fusedActivationFunction=FUSED)), "MAX_POOL_2D: an activation"),
    (then("AVERAGE_POOL_2D", [1, 4, 4, 4], options=schema.Pool2DOptionsT(fusedActivationFunction=FUSED)), "an activation is fused"),
    (then("SOFTMAX", [1, 8, 8, 4]), "SOFTMAX: promised only for one dimension"),
    (joined_with([7] * 64), "joins a constant"),
    (joined_with([3] * 64, fused=True), "CONCATENATION: an activation is fused"),
    (disguised, "LOGISTIC: not on the list"),
    (fully_connected(1), "its weights are in another than the default format"),
    (softmax_over(16_001), "SOFTMAX: promised only for one dimension of at most 16,000"),
    (prelu([8, 8, 4]), "its alpha has more than one dimension"),
    (mean_over_channels(6), "takes the mean over channels whose number is no multiple of 4"),
    (then("RESHAPE", [1, 256], 0), "RESHAPE: its input 1 is computed"),
    (with_constant("PAD", [2, 8, 8, 4], [1, 0, 0, 0, 0, 0, 0, 0]), "PAD: pads the batch"),
    (with_constant("MEAN", [8, 8, 4], [0]), "MEAN: reduces over the batch"),
    (with_constant("SUM", [8, 8, 4], [-4]), "SUM: reduces over the batch"),
    (with_constant("SPLIT", [1, 8, 8, 4], [0], first=True), "SPLIT: splits the batch"),
    (then("PACK", [1, 1, 8, 8, 4], options=schema.PackOptionsT(axis=0)), "PACK: packs along the batch"),
    (sliced([1, 1, 1, 1], ellipsis=2), "it has an ellipsis"),
    (then("FULLY_CONNECTED", [8, 4], 1, options=schema.FullyConnectedOptionsT(weightsFormat=1)), "its output has more than one"),
    (lambda draft: draft.model.subgraphs.append(schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[])), "2 subgraphs"),
]  # fmt: skip
HARMLESS: list[Change] = [
    lambda draft: None,
    fully_connected(0),
    softmax_over(16_000),
    prelu([1, 1, 4]),
    mean_over_channels(8),
    joined_with([3] * 64),  # the zero point of the draft's tensors
    with_constant("PAD", [1, 10, 10, 4], [0, 0, 1, 1, 1, 1, 0, 0]),
    with_constant("MEAN", [1, 4], [1, 2]),
    with_constant("RESHAPE", [1, 256], [1, 256]),
    sliced([1, 2, 2, 1]),
    then("MAX_POOL_2D", [1, 4, 4, 4], options=schema.Pool2DOptionsT()),
    version(0, 5),
    shape(0, [1, 8, 8, 3], [1, 8, 8, 3]),
]


@pytest.mark.parametrize(("change", "reason"), FAULTS, ids=[reason for _, reason in FAULTS])
def test_one_fault_makes_it_unlikely_and_is_named(change: Change, reason: str) -> None:
    draft = small_network()
    change(draft)
    report = judge(parse_graph(draft.content()))
    assert report.verdict == "unlikely"
    assert any(reason in told for told in report.reasons), report.reasons


@pytest.mark.parametrize("change", HARMLESS)
@pytest.mark.parametrize("eight_bit", ["INT8", "UINT8"])
def test_what_the_conditions_allow_stays_likely(change: Change, eight_bit: str) -> None:
    draft = small_network(eight_bit)
    change(draft)
    report = judge(parse_graph(draft.content()))
    assert report.verdict == "likely", report.reasons
    assert len(report.reasons) == 5


def test_the_same_fault_of_several_operators_is_told_once() -> None:
    draft = small_network()
    for _ in range(3):
        then("LEAKY_RELU", [1, 8, 8, 4])(draft)
    assert judge(parse_graph(draft.content())).reasons == ("LEAKY_RELU (x3): not on the list of supported operators",)


def test_a_file_of_an_old_converter_names_its_operators_too() -> None:
    draft = small_network()
    for code in draft.model.operatorCodes:
        code.builtinCode = 0  # such a converter filled in only the narrow field
    assert judge(parse_graph(draft.content())).operators == {"CONV_2D": 1, "LOGISTIC": 1}


def test_an_empty_graph_is_not_likely() -> None:
    assert judge(parse_graph(Draft().content())).reasons == ("there is no operator in it",)


def test_the_shipped_model_is_likely_and_its_parameters_fit_on_the_chip() -> None:
    report = judge(read_graph(FACTORY_MODEL))
    assert report.verdict == "likely"
    assert sum(report.operators.values()) == 246
    assert report.operators.keys() <= NEWEST_VERSION.keys()
    assert 2_400_000 < report.parameter_bytes < report.size == FACTORY_MODEL.stat().st_size
    assert report.largest_map_bytes == 162 * 162 * 16
    assert "stay on the chip" in report.cautions[0]
    assert "streamed" not in report.cautions[0]


def test_parameters_that_do_not_fit_are_a_caution_and_no_reason_against() -> None:
    draft = small_network()
    out = draft.tensor("wide", [1, 8, 8, 2_400_000])
    weights = draft.tensor("many", [2_400_000, 1, 1, 4], "INT8", [1] * 9_600_000)
    bias = draft.tensor("bias2", [1], "INT32", [0])
    draft.operator("CONV_2D", [4, weights, bias], [out], version=3, options=schema.Conv2DOptionsT())
    report = judge(parse_graph(draft.content()))
    assert report.verdict == "likely"
    assert "would be streamed for every frame" in report.cautions[0]


def test_a_spoiled_file_is_refused_wherever_it_is_cut() -> None:
    whole = small_network().content()
    for length in range(0, len(whole), 7):
        try:
            parse_graph(whole[:length])
        except ContractError:
            continue
        assert length > len(whole) - 64, length  # what is cut off was filling


def test_a_file_whose_table_points_nowhere_is_refused() -> None:
    whole = bytearray(small_network().content())
    whole[:4] = struct.pack("<I", 2**31)
    with pytest.raises(ContractError, match="spoiled"):
        parse_graph(bytes(whole))


def test_a_file_with_wrong_bytes_is_read_or_refused_and_nothing_else() -> None:
    whole, draw = small_network().content(), random.Random(5)
    refused = 0
    for _ in range(1500):
        spoiled = bytearray(whole)
        for _ in range(draw.choice((1, 2, 5))):
            spoiled[draw.randrange(len(whole))] = draw.randrange(256)
        try:
            judge(parse_graph(bytes(spoiled)))
        except ContractError:
            refused += 1
    assert 0 < refused < 1500
