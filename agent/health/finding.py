"""What a check found, and a table of it that can be read at a glance."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is; only a fault keeps a door from its work."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's."""

    check: str
    verdict: Verdict
    said: str
    fix: str = ""  # what to do, in one line; "" where nothing is to be done


_MARKS = {Verdict.OK: ("✔", 32), Verdict.WARNING: ("!", 33), Verdict.FAULT: ("✘", 31)}


def table(findings: Sequence[Finding], *, colour: bool) -> str:
    """Check by check, its fix under it, and the sum of it all in the last line."""
    wide = max((len(one.check) for one in findings), default=0)
    lines = []
    for one in findings:
        mark, ansi = _MARKS[one.verdict]
        lines.append(f" {_paint(mark, ansi, colour)} {_paint(one.check.ljust(wide), 1, colour)}  {one.said}")
        if one.fix:
            lines.append(f"   {' ' * wide}  {_paint('→ ' + one.fix, 36, colour)}")
    count = {verdict: sum(one.verdict is verdict for one in findings) for verdict in Verdict}
    worst = worst_of(findings)
    sum_line = ", ".join(
        _amount(count[verdict], str(verdict)) for verdict in (Verdict.FAULT, Verdict.WARNING) if count[verdict]
    )
    said = {
        Verdict.OK: "This door is well.",
        Verdict.WARNING: f"This door can work: {sum_line}.",
        Verdict.FAULT: f"This door cannot do all of its work: {sum_line}.",
    }[worst]
    return "\n".join([*lines, "", f" {_paint(said, _MARKS[worst][1], colour)}", ""])


def as_json(findings: Sequence[Finding]) -> str:
    """The same for a program."""
    return json.dumps({"verdict": worst_of(findings), "findings": [asdict(one) for one in findings]}, indent=2)


def worst_of(findings: Sequence[Finding]) -> Verdict:
    """The sum of it all."""
    order = list(Verdict)
    return max((one.verdict for one in findings), key=order.index, default=Verdict.OK)


def _amount(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _paint(text: str, ansi: int, colour: bool) -> str:
    return f"\033[{ansi}m{text}\033[0m" if colour else text
