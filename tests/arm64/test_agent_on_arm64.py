"""The agent on a Raspberry Pi's processor and Debian, emulated: `make test-arm64`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal import foreign
from rehearsal.processes import RehearsalError
from rehearsal.scene import LINES, Scene, write_clip

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(900)]
LINE = ",".join(map(str, LINES["passage"]))


@pytest.fixture(scope="module")
def pi() -> Path:
    try:
        foreign.require_able()
    except RehearsalError as error:
        pytest.skip(str(error))
    return foreign.install()


def rows(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_a_drawn_clip_gives_the_same_passes_as_here_and_they_are_the_true_ones(pi: Path, tmp_path: Path) -> None:
    """And all of the agent can be imported there; in one process, since an emulated start takes long."""
    scene = Scene("passage", seed=79, people=2, gap_s=0.3)
    write_clip(scene, tmp_path / "clip.mp4")
    arguments = ["replay", "clip.mp4", "--line", LINE, "--fps", "8", "--json"]
    here = subprocess.run(
        [sys.executable, "-m", "agent", "replay", tmp_path / "clip.mp4", *arguments[2:]],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (tmp_path / "look.py").write_text(
        "import platform, sys\nimport agent.app, agent.replay, agent.update.check\nfrom agent.__main__ import main\n"
        'print(f\'{{"machine": "{platform.machine()}", "python": {sys.version_info.minor}}}\', flush=True)\n'
        f"sys.exit(main({arguments}))\n"
    )
    *ours, _ = rows(here.stdout)
    where, *theirs, summary = rows(foreign.run(pi, tmp_path, "look", [], timeout_s=800))
    assert where == {"machine": "aarch64", "python": 13}
    found = [(one["direction"], one["label"]) for one in theirs]
    assert found == [(one.direction, one.label) for one in scene.passes()]
    assert found == [(one["direction"], one["label"]) for one in ours]
    assert [one["at_ms"] for one in theirs] == pytest.approx([one["at_ms"] for one in ours], abs=140)
    assert [one["confidence"] for one in theirs] == pytest.approx([one["confidence"] for one in ours], abs=0.05)
    assert summary["summary"]["frames"] > 50
