"""`agent replay` and `agent run` as a user meets them: output shapes, and one clear line for what is wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloud.ingest.jpeg import require_plain_jpeg
from contract.crops import CropHeader
from rehearsal.scene import LINES, Scene, write_clip


def agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def recorded(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def walk(*ys: float, step_ms: int = 66, label: int = 0) -> list[Any]:
    return [
        {"at_ms": index * step_ms, "boxes": [[0.4, y - 0.06, 0.5, y + 0.06, 0.8, label]]} for index, y in enumerate(ys)
    ]


def test_recorded_detections_become_passes_and_a_summary(tmp_path: Path) -> None:
    file = recorded(tmp_path / "d.jsonl", walk(*[0.1 + 0.03 * step for step in range(28)], label=1))
    done = agent("replay", "--detections", file, "--json")
    assert done.returncode == 0, done.stderr
    passed, summary = (json.loads(line) for line in done.stdout.splitlines())
    assert passed["direction"] == "in"
    assert passed["label"] == "without_mask"
    assert 700 < passed["at_ms"] < 1300
    assert summary["summary"] | {"fps": 0} == {
        "in": 1, "out": 0, "frames": 28, "fps": 0,
        "by_label": {"with_mask": 0, "without_mask": 1, "mask_worn_incorrectly": 0},
    }  # fmt: skip


def test_the_line_says_which_way_is_in(tmp_path: Path) -> None:
    file = recorded(tmp_path / "d.jsonl", walk(*[0.1 + 0.03 * step for step in range(28)]))
    done = agent("replay", "--detections", file, "--json", "--line", "1,0.5,0,0.5")
    assert json.loads(done.stdout.splitlines()[-1])["summary"]["out"] == 1


def test_several_lines_are_counted_by_name_and_a_zone_leaves_out_the_rest(tmp_path: Path) -> None:
    file = recorded(tmp_path / "d.jsonl", walk(*[0.1 + 0.03 * step for step in range(28)]))
    lines = ("--line", "near=0,0.4,1,0.4", "--line", "far=1,0.7,0,0.7")
    rows = [json.loads(row) for row in agent("replay", "--detections", file, "--json", *lines).stdout.splitlines()[:-1]]
    assert [(row["line"], row["direction"]) for row in rows] == [("near", "in"), ("far", "out")]
    beside = agent("replay", "--detections", file, "--json", *lines, "--zone", "0.6,0 1,0 1,1 0.6,1")
    assert json.loads(beside.stdout.splitlines()[-1])["summary"] | {"fps": 0} == {
        "in": 0, "out": 0, "frames": 28, "fps": 0,
        "by_label": {"with_mask": 0, "without_mask": 0, "mask_worn_incorrectly": 0},
    }  # fmt: skip


def test_frames_can_be_spaced_evenly_instead_of_by_their_own_times(tmp_path: Path) -> None:
    rows = [{"at_ms": 0, "boxes": row["boxes"]} for row in walk(*[0.1 + 0.03 * step for step in range(28)])]
    file = recorded(tmp_path / "d.jsonl", rows)
    done = agent("replay", "--detections", file, "--fps", "15", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["summary"]["in"] == 1


@pytest.mark.parametrize(
    ("arguments", "content", "fault"),
    [
        (["replay", "--detections", "{file}"], "no json\n", "line 1: expected"),
        (["replay", "--detections", "{file}"], '{"at_ms": 0, "boxes": [[0,0,1,1,0.5]]}\n', "line 1: expected"),
        (["replay", "--detections", "{file}"], '{"at_ms": 0, "boxes": [[0,0,1,1,0.5,3]]}\n', "line 1: expected"),
        (["replay", "--detections", "{file}"], '{"at_ms": 5, "boxes": []}\n{"at_ms": 5, "boxes": []}\n', "line 2: time must grow"),
        (["replay", "--detections", "none.jsonl"], "", "cannot read the detections none.jsonl"),
        (["replay", "none.mp4"], "", "no clip at none.mp4"),
        (["replay", "{file}"], "no video", "is not a video that OpenCV can read"),
        (["replay"], "", "a clip or --detections"),
        (["replay", "{file}", "--line", "0,0,0"], "", "a line is four numbers"),
        (["replay", "{file}", "--line", "0,0,2,0"], "", "unit square"),
        (["replay", "{file}", "--line", "0.5,0.5,0.5,0.5"], "", "two different points"),
        (["replay", "--detections", "{file}", "--crops", "none"], "", "--crops needs a clip"),
        (["replay", "{file}", "--fps", "0"], "", "--fps must be above 0"),
        (["replay", "{file}", "--model", "none.tflite"], "", "cannot read the model none.tflite"),
        (["run", "--config", "none.toml"], "", "cannot read the settings none.toml"),
        (["run", "--config", "{file}"], 'device = "door-1"\n[camera]\nsauce = "0"\n', "unknown setting 'camera.sauce'; known here: source"),
        (["run", "--config", "{file}"], 'device = "Door 1"\n', "device: .*cannot name a device"),
        (["run", "--config", "{file}"], 'device = "door-1"\n[door]\nline = [0, 0, 3, 0]\n', "unit square"),
        (["run", "--config", "{file}"], 'device = "door-1"\n[broker]\nurl = "tcp://x"\n', "broker.url"),
        (["run", "--config", "{file}", "--set", "camera.source"], 'device = "door-1"\n', "--set takes KEY=VALUE"),
        (["run", "--config", "{file}", "--set", "camera.source=none.mp4"], 'device = "door-1"\n', "no clip at none.mp4"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, arguments: list[str], content: str, fault: str) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    done = agent(*[text.replace("{file}", str(file)) for text in arguments])
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("agent: ")]
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert re.search(fault, said[0])


def test_a_replay_shows_the_crops_that_a_door_would_have_sent(tmp_path: Path) -> None:
    clip, folder = tmp_path / "door.mp4", tmp_path / "new" / "crops"
    write_clip(Scene("passage", seed=62, people=3, gap_s=1.0), clip)
    line = ",".join(map(str, LINES["passage"]))
    plain, watched = agent("replay", clip, "--line", line), agent("replay", clip, "--line", line, "--crops", folder)
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout.splitlines()[:-1] == plain.stdout.splitlines()[:-1]
    pictures = sorted(folder.glob("*.jpg"))
    assert pictures
    for picture in pictures:
        require_plain_jpeg(picture.read_bytes())
        assert CropHeader.decode(picture.with_suffix(".json").read_bytes(), limit=4096).device == "replay"
