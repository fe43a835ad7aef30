"""A door's line in its settings file: the text to paste, and the file with it in place of the old one."""

import re
import tomllib
from pathlib import Path

from agent.update.slots import write_durably
from agent.vision.geometry import Line
from contract.errors import ContractError

_HEADER = re.compile(r"\s*\[")
_DOOR = re.compile(r"\s*\[\s*door\s*\]\s*(#.*)?$")
_LINE = re.compile(r"\s*line\s*=\s*\[[^\]]*\]\s*(#.*)?$")


def to_paste(line: Line) -> str:
    """The settings that say it."""
    numbers = [float(value) for value in (line.start.x, line.start.y, line.end.x, line.end.y)]
    if line.name:
        return f'[[door.lines]]\nname = "{line.name}"\nline = {numbers}'
    return f"[door]\nline = {numbers}"


def with_line(text: str, line: Line) -> str:
    """The settings `text` with this as `door.line`, everything else as it was.

    Raises ContractError where the text is written in a way that is better changed by hand.
    """
    header, setting = to_paste(line).splitlines()
    rows = text.splitlines()
    starts = [index for index, row in enumerate(rows) if _DOOR.match(row)]
    if starts:
        end = next((at for at in range(starts[0] + 1, len(rows)) if _HEADER.match(rows[at])), len(rows))
        old = [at for at in range(starts[0] + 1, end) if _LINE.match(rows[at])]
        if old:
            rows[old[0]] = setting
        else:
            rows.insert(starts[0] + 1, setting)
    else:
        rows += ["", header, setting]
    written = "\n".join(rows) + "\n"
    expected = tomllib.loads(text)
    expected["door"] = expected.get("door", {}) | {"line": [line.start.x, line.start.y, line.end.x, line.end.y]}
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
