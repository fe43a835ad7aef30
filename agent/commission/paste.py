"""A line of a door in its settings file: the text to paste, and the file with it in place of the old one."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.update.slots import write_durably
from agent.vision.geometry import Line
from contract.errors import ContractError

_HEADER = re.compile(r"\s*\[")
_DOOR = re.compile(r"\s*\[\s*door\s*\]\s*(#.*)?$")
_ONE_OF = re.compile(r"\s*\[\[\s*door\s*\.\s*lines\s*\]\]\s*(#.*)?$")
_LINE = re.compile(r"\s*line\s*=\s*\[[^\]]*\]\s*(#.*)?$")


def to_paste(line: Line) -> str:
    """The settings that say it."""
    numbers = [float(value) for value in (line.start.x, line.start.y, line.end.x, line.end.y)]
    if line.name:
        return f'[[door.lines]]\nname = "{line.name}"\nline = {numbers}'
    return f"[door]\nline = {numbers}"


def with_line(text: str, line: Line) -> str:
    """The settings `text` with this as `door.line`, or as the one of `door.lines` that has its name, everything else as it was.

    Raises ContractError where there is none of its name, or the text is written in a way that is better changed by hand.
    """
    expected: dict[str, Any] = tomllib.loads(text)
    rows, door = text.splitlines(), expected.setdefault("door", {})
    *header, setting = to_paste(line).splitlines()
    if line.name:
        known = [one["name"] for one in door.get("lines", [])]
        if line.name not in known:
            raise ContractError(f"the settings have no line called {line.name!r}; paste:\n{to_paste(line)}")
        place = known.index(line.name)
        target, blocks = door["lines"][place], _blocks(rows, _ONE_OF)[place:]
    else:
        target, blocks = door, _blocks(rows, _DOOR)
        if not blocks:
            rows += ["", *header, setting]
    if blocks:
        old = [at for at in blocks[0] if _LINE.match(rows[at])]
        if old:
            rows[old[0]] = setting
        else:
            rows.insert(blocks[0].start, setting)
    written = "\n".join(rows) + "\n"
    target["line"] = [line.start.x, line.start.y, line.end.x, line.end.y]
    try:
        same = tomllib.loads(written) == expected
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise ContractError(
            f"the settings are written in a way that only a person should change; paste:\n{to_paste(line)}"
        )
    return written


def write_line(path: Path, line: Line) -> None:
    """The same in the file, in one step; raises ContractError, and changes nothing, where that cannot be done."""
    try:
        mode = path.stat().st_mode
        write_durably(path, with_line(path.read_text(), line).encode())
        path.chmod(mode)
    except OSError as error:
        raise ContractError(f"cannot write {path} ({error.strerror}); paste:\n{to_paste(line)}") from error


def _blocks(rows: list[str], header: re.Pattern[str]) -> list[range]:
    """The rows below each such header, up to the next header of any kind."""
    headers = [at for at, row in enumerate(rows) if _HEADER.match(row)]
    bounds = pairwise([*headers, len(rows)])
    return [range(at + 1, end) for at, end in bounds if header.match(rows[at])]
