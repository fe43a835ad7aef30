"""What the Edge TPU's compiler printed, of several versions, made into facts."""

import pytest

from contract.errors import ContractError
from tests.trainer import compiler_logs
from trainer.edgetpu import MAPPED, Share, parse_compiler_log

KIB, MIB = 1024, 1024 * 1024


@pytest.mark.parametrize(
    ("text", "version", "mapped", "left", "subgraphs", "used", "free", "streamed"),
    [
        (compiler_logs.VERSION_2_0, "2.0.267685300", 1, 2, 1, 10 * KIB, round(1.73 * MIB) - 10 * KIB, 0),
        (compiler_logs.VERSION_14_STREAMS, "14.1.317412892", 102, 6, 1, round(5.99 * MIB), 74 * KIB, round(15.73 * MIB)),
        (compiler_logs.VERSION_15_ALL, "15.0.340273435", 214, 0, 1, round(7.04 * MIB), 1280, round(15.06 * MIB)),
        (compiler_logs.VERSION_15_CPU, "15.0.340273435", 2, 34, 1, 3 * KIB, round(7.67 * MIB), 0),
        (compiler_logs.VERSION_15_FILE, "15.0.340273435", 20, 4, None, None, None, None),
        (compiler_logs.VERSION_16_TWO_PARTS, "16.0.384591198", 289, 5, 2, round(6.08 * MIB), 0, round(1.7 * MIB)),
        (compiler_logs.VERSION_16_SHORT, "16.0.384591198", 50, 0, 1, 619008, 523776, round(3.45 * MIB)),
        (compiler_logs.VERSION_16_SEARCH, "16.0.384591198", 50, 0, 1, 619008, 523776, round(3.45 * MIB)),
    ],
    ids=["2.0", "14.1", "15.0", "15.0-cpu", "15.0-file", "16.0-two", "16.0-short", "16.0-search"],
)  # fmt: skip
def test_a_published_log_gives_its_figures(
    text: str, version: str, mapped: int, left: int, subgraphs: int | None, used: int | None, free: int | None, streamed: int | None
) -> None:  # fmt: skip
    log = parse_compiler_log(text)
    assert (log.version, log.failure, log.on_edge_tpu, log.on_cpu) == (version, "", mapped, left)
    assert (log.subgraphs, log.on_chip_used, log.on_chip_free, log.off_chip) == (subgraphs, used, free, streamed)
    assert parse_compiler_log(text.replace("\n", "\r\n")) == log


def test_a_log_gives_each_operator_with_the_compilers_reason() -> None:
    log = parse_compiler_log(compiler_logs.VERSION_15_CPU)
    assert len(log.shares) == 9
    assert log.shares[2] == Share("QUANTIZE", 1, MAPPED)
    assert "LEAKY_RELU (x11): Operation not supported" in log.left_on_cpu
    assert "QUANTIZE (x1): Mapped" not in log.left_on_cpu
    assert parse_compiler_log(compiler_logs.VERSION_15_ALL).left_on_cpu == ""
    assert parse_compiler_log(compiler_logs.VERSION_14_STREAMS).left_on_cpu == "6 operators, not named"


@pytest.mark.parametrize(("text", "reason"), compiler_logs.FAILURES.items())
def test_a_failed_compile_gives_its_reason(text: str, reason: str) -> None:
    log = parse_compiler_log(text)
    assert reason in log.failure
    assert (log.on_edge_tpu, log.on_cpu, log.shares) == (0, 0, ())


def test_a_log_that_ends_too_early_is_a_failure() -> None:
    cut = compiler_logs.VERSION_16_TWO_PARTS.partition("Model compiled")[0]
    assert parse_compiler_log(cut).failure == "it did not say why"


def test_only_the_last_attempt_of_a_log_counts() -> None:
    log = parse_compiler_log(compiler_logs.VERSION_16_SHORT + compiler_logs.FAILED_ATTEMPT)
    assert log.failure.endswith("Compilation failed due to large activation tensors in model")
    assert (log.on_edge_tpu, log.subgraphs) == (0, None)


@pytest.mark.parametrize("text", ["", "no such program", "Number of Edge TPU subgraphs: 1\n"])
def test_another_text_is_no_log(text: str) -> None:
    with pytest.raises(ContractError, match="no log of the Edge TPU's compiler"):
        parse_compiler_log(text)


@pytest.mark.parametrize(
    "line",
    ["Total number of operations: 36", "run on Edge TPU: 2", "run on CPU: 34", "LEAKY_RELU                     11 "],
)
def test_a_log_whose_table_does_not_add_up_is_refused(line: str) -> None:
    spoiled = compiler_logs.VERSION_15_CPU.replace(line, line.rstrip() + "1 ")
    assert spoiled != compiler_logs.VERSION_15_CPU
    with pytest.raises(ContractError, match="contradicts itself"):
        parse_compiler_log(spoiled)
