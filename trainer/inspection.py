"""What `trainer inspect` says of a TFLite file: compiled already, or likely or unlikely to be mapped whole, and why."""

from collections import Counter
from pathlib import Path
from typing import Any

from trainer.flatfile import EDGE_TPU_OPERATOR, Graph, read_graph
from trainer.mappable import MIB, judge

_COMPILED = f"it holds {EDGE_TPU_OPERATOR}, which the compiler puts in the place of what it mapped"


def inspect(model: Path) -> dict[str, Any]:
    """The report on a file, ready for JSON; raises ContractError where it is no TFLite file."""
    graph = read_graph(model)
    return _compiled(graph) if graph.compiled else judge(graph).as_json()


def _compiled(graph: Graph) -> dict[str, Any]:
    operators = Counter(operator.name for operator in graph.operators)
    left = {name: count for name, count in operators.items() if name != EDGE_TPU_OPERATOR}
    reasons = [_COMPILED]
    if left:
        reasons.append("left on the CPU: " + ", ".join(f"{name} (x{count})" for name, count in left.items()))
    return {
        "status": "compiled", "reasons": reasons, "cautions": ["without the Edge TPU's delegate it cannot run"],
        "operators": dict(operators.most_common()), "size": graph.size,
    }  # fmt: skip


def in_words(found: dict[str, Any]) -> str:
    """The report as lines for people."""
    verdict = {
        "compiled": "compiled for the Edge TPU",
        "likely": "not compiled; the Edge TPU's compiler is likely to map all of it",
        "unlikely": "not compiled; the Edge TPU's compiler is unlikely to map all of it",
    }[found["status"]]
    operators = ", ".join(f"{name} x{count}" for name, count in found["operators"].items())
    return "\n".join([
        verdict,
        *(f"  {'-' if found['status'] == 'unlikely' else '+'} {reason}" for reason in found["reasons"]),
        *(f"  ? {caution}" for caution in found["cautions"]),
        f"  {found['size'] / MIB:.2f} MiB; {operators}",
    ])  # fmt: skip
