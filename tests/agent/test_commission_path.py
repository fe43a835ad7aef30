"""What a commission counts with is what the door counts with: faint faces, the running release, one of several lines."""

import shutil
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.commission.record import read
from agent.commission.watch import Take, count, paths, watch
from agent.commission.wizard import play
from agent.config import FACTORY_MODEL, AgentSettings
from agent.update.slots import Slots
from agent.vision.camera import Clip
from agent.vision.counter import Counter
from agent.vision.detector import Detector, Faces
from agent.vision.doorway import Doorway
from agent.vision.frame import Frame
from agent.vision.geometry import Line
from agent.vision.pipeline import crossings
from agent.vision.tracker import Tracker
from contract.events import Direction
from rehearsal.scene import LINES, Scene, write_clip
from tests.agent.release_kit import FACTORY_RELEASE, release_files
from tests.agent.told import Told
from tests.agent.walkers import DOWN, FPS, face, path


class Silent:
    """Nobody to talk to."""

    def say(self, text: str) -> None:
        pass

    def ask(self, text: str) -> str:
        return ""


class Fading:
    """Eyes that are not sure of a walking face while it is near the line, for 1.6 s: longer than a lost one is waited for."""

    def __init__(self) -> None:
        self._frames = [
            Told([], [face(one.box.centre.x, one.box.centre.y, confidence=0.2)]) if 10 < number < 35 else Told([one])
            for number, (one,) in enumerate(path((0.5, 0.1), (0.5, 0.9), speed=0.3))
        ]

    def look(self, pixels: object) -> Faces:
        return self._frames.pop(0) if self._frames else Told()


def test_a_face_that_fades_on_the_line_is_followed_as_the_door_follows_it() -> None:
    picture = Scene("passage", seed=1, people=1).render(0)[0]
    frames = [Frame(picture, index / FPS) for index in range(200)]
    looks = watch(iter(frames), Fading(), zone=None, tell=lambda text: None)
    take, doorway = Take(1, 0, looks), Doorway.of([DOWN])
    assert count(take, doorway).off(take) == 0
    assert len(paths(looks, None)) == 1
    at_the_door = list(crossings(frames, eyes=Fading(), tracker=Tracker(), counter=Counter(DOWN)))
    assert [one.direction for one in at_the_door] == [Direction.IN]


def test_a_clip_is_counted_as_the_door_counts_it(tmp_path: Path) -> None:
    clip, line = tmp_path / "door.mp4", Line.of(*LINES["passage"])
    write_clip(Scene("passage", seed=81, people=8, gap_s=0.9), clip)
    eyes = Detector.load(FACTORY_MODEL)
    at_the_door = list(crossings(Clip(clip).frames(), eyes=eyes, tracker=Tracker(), counter=Counter(line)))
    seen = play(Clip(clip), eyes, entered=4, left=4, part=None, fps=60, zone=None, terminal=Silent())
    assert any(look.unsure for look in seen.takes[0].looks)
    found = count(seen.takes[0], Doorway.of([line]))
    ways = [one.direction for one in at_the_door]
    assert (found.entered, found.left) == (ways.count(Direction.IN), ways.count(Direction.OUT))
    assert len(ways) >= 5


def test_the_running_release_is_what_is_measured_and_the_named_line_what_is_written(tmp_path: Path) -> None:
    clip, config, newer = tmp_path / "door.mp4", tmp_path / "door.toml", FACTORY_RELEASE + 1
    write_clip(Scene("passage", seed=62, people=2), clip)
    slots = Slots(tmp_path / "models", FACTORY_MODEL)
    slot = slots.model(newer).parent
    slot.mkdir(parents=True)
    for name, content in release_files(newer).items():
        (slot / name).write_bytes(content)
    slots.stage(newer)
    slots.begin_trial(newer)
    slots.confirm()
    config.write_text(
        f'device = "door-1"\n[[door.lines]]\nname = "left"\nline = [0.0, 0.1, 0.1, 0.0]\n[[door.lines]]\nname = "right"\n'
        f'line = [0.9, 0.0, 1.0, 0.1]\n[update]\nurl = "http://127.0.0.1:9/tuf"\nfolder = "{tmp_path / "models"}"\n'
    )
    record = tmp_path / "record.json"
    said = ["commission", "--config", str(config), "--clip", str(clip), "--in", "2", "--record", str(record)]
    assert main([*said, "--line", "left", "--write"]) == 0
    found = read(record).record
    assert (found.release, found.error_percent) == (newer, 0)
    left, right = AgentSettings.load(config).door.lines
    assert (left.line, right.line) == (found.door.lines[0].line, (0.9, 0.0, 1.0, 0.1))
    shutil.rmtree(slot)
    assert main([*said, "--line", "left"]) == 0
    assert read(record).record.release == FACTORY_RELEASE


@pytest.mark.parametrize("name", ["right", "back"])
def test_a_line_that_is_not_the_doors_is_refused_before_anybody_walks(name: str, tmp_path: Path) -> None:
    config = tmp_path / "door.toml"
    config.write_text('device = "door-1"\n[[door.lines]]\nname = "left"\nline = [0.0, 0.1, 0.1, 0.0]\n')
    assert main(["commission", "--config", str(config), "--line", name, "--write"]) == 2
