"""A measured line in the settings file: written where it belongs, or left to a person."""

import pytest

from agent.commission.paste import with_line
from agent.vision.geometry import Line
from contract.errors import ContractError

SIDEWAYS = Line.of(0.5, 1, 0.5, 0)
LEFT = Line.of(0.5, 1, 0.5, 0, name="left")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('device = "a"\n', 'device = "a"\n\n[door]\nline = [0.5, 1.0, 0.5, 0.0]\n'),
        ("[door]\n# here\n[camera]\nfps = 9\n", "[door]\nline = [0.5, 1.0, 0.5, 0.0]\n# here\n[camera]\nfps = 9\n"),
        (
            "[door] # the front\nzone = [[0, 0], [1, 0], [1, 1]]\nline = [0, 0.5, 1, 0.5] # old\n[camera]\nfps = 9\n",
            "[door] # the front\nzone = [[0, 0], [1, 0], [1, 1]]\nline = [0.5, 1.0, 0.5, 0.0]\n[camera]\nfps = 9\n",
        ),
    ],
)
def test_the_line_is_written_and_nothing_else_changes(before: str, after: str) -> None:
    assert with_line(before, SIDEWAYS) == after


@pytest.mark.parametrize(
    "text",
    ["door.line = [0, 0.5, 1, 0.5]\n", "door = {line = [0, 0.5, 1, 0.5]}\n", "[door]\nline = [0, 0.5,\n1, 0.5]\n"],
)
def test_settings_that_only_a_person_should_change_are_left_alone(text: str) -> None:
    with pytest.raises(ContractError, match="paste"):
        with_line(text, SIDEWAYS)


TWO = """device = "a"
[[door.lines]] # the old wing
name = "right"
line = [0.1, 0.5, 0.2, 0.5]

[[ door.lines ]]
line = [0, 0.5, 1, 0.5] # as built
name = "left"
[camera]
fps = 9
"""


def test_of_several_lines_the_named_one_is_written() -> None:
    assert with_line(TWO, LEFT) == TWO.replace("line = [0, 0.5, 1, 0.5] # as built", "line = [0.5, 1.0, 0.5, 0.0]")
    right = Line.of(0.5, 1, 0.5, 0, name="right")
    assert with_line(TWO, right) == TWO.replace("line = [0.1, 0.5, 0.2, 0.5]", "line = [0.5, 1.0, 0.5, 0.0]")
    assert with_line(with_line(TWO, LEFT), LEFT) == with_line(TWO, LEFT)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (TWO.replace('"left"', '"back"'), "no line called 'left'"),
        ("[door]\nline = [0, 0.5, 1, 0.5]\n", "no line called 'left'"),
        ('[door]\nlines = [{name = "left", line = [0, 0.5, 1, 0.5]}]\n', "only a person"),
        ('[[door.lines]]\nname = "left"\nline = [0, 0.5,\n1, 0.5]\n', "only a person"),
    ],
)
def test_a_line_that_is_not_there_or_written_in_another_way_is_left_to_a_person(text: str, fault: str) -> None:
    with pytest.raises(ContractError, match=fault) as refused:
        with_line(text, LEFT)
    assert '[[door.lines]]\nname = "left"\nline = [0.5, 1.0, 0.5, 0.0]' in str(refused.value)
