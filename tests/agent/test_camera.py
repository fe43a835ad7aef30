import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.vision.camera import LOOP_GAP_S, Clip, PacedClip, open_camera
from agent.vision.live import LiveCamera
from contract.errors import ContractError


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 20 a second, each brighter than the one before."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (160, 120))
    for index in range(20):
        writer.write(np.full((120, 160, 3), 10 + 12 * index, np.uint8))
    writer.release()
    return path


def brightness(pixels: Any) -> int:
    return round((float(pixels.mean()) - 10) / 12)


def test_a_clip_gives_every_frame_in_its_own_time(clip: Path) -> None:
    frames = list(Clip(clip).frames())
    assert [brightness(frame.pixels) for frame in frames] == list(range(20))
    assert [round(frame.at_s * 20) for frame in frames] == list(range(20))
    assert frames[0].pixels.shape == (120, 160, 3)


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"no clip at .*none\.mp4"):
        Clip(tmp_path / "none.mp4")


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_a_clip_that_cannot_be_read_says_how_to_mend_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=r"broken\.mp4 .*convert it"):
        Clip(path)


def test_a_clip_played_as_if_live_takes_its_time(clip: Path) -> None:
    begun = time.monotonic()
    camera = PacedClip(Clip(clip), loop=False, fps=30)
    frames = list(camera.frames())
    assert time.monotonic() - begun > 0.9
    assert len(frames) + camera.dropped == 20  # a machine that stood still drops some


def test_no_more_frames_are_looked_at_than_asked_for(clip: Path) -> None:
    camera = PacedClip(Clip(clip), loop=False, fps=10)
    seen = [brightness(frame.pixels) for frame in camera.frames()]
    assert seen[0] == 0
    assert set(seen) <= set(range(0, 20, 2))
    assert len(seen) + camera.dropped == 10


def test_late_frames_are_dropped_and_counted_not_queued(clip: Path) -> None:
    camera = PacedClip(Clip(clip), loop=False, fps=30)
    seen = 0
    for frame in camera.frames():
        seen += 1
        if seen == 3:
            stalled = frame.at_s
            threading.Event().wait(0.4)  # a slow look at one frame
        elif seen == 4:
            assert frame.at_s - stalled > 0.25
    assert camera.dropped > 3
    assert seen + camera.dropped == 20


def test_a_looped_clip_leaves_a_gap_that_no_track_spans(clip: Path) -> None:
    at = 0.0

    def clock() -> float:
        return at

    camera = PacedClip(Clip(clip), loop=True, fps=30, clock=clock)
    times = []
    for frame in camera.frames():
        times.append(frame.at_s)
        at = frame.at_s + 0.05
        if len(times) == 25:
            camera.close()
    assert times[20] - times[19] == pytest.approx(LOOP_GAP_S)
    assert times == sorted(times)


def test_a_clip_whose_frames_come_unevenly_keeps_their_times(photographs: Path) -> None:
    clip = Clip(photographs / "video" / "corridor_three_pause_unmasked.gif")
    times = [round(frame.at_s, 3) for frame in islice(clip.frames(), 5)]
    assert times == [0.0, 0.08, 0.17, 0.25, 0.33]  # 12 a second in whole hundredths, as GIF counts them


def test_a_looped_clip_that_was_replaced_by_an_empty_one_ends_instead_of_spinning(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clip.mp4"
    copy.write_bytes(clip.read_bytes())
    frames = PacedClip(Clip(copy), loop=True, fps=30, clock=lambda: 1e9).frames()  # all frames are late
    copy.write_bytes(b"")
    with pytest.raises(ContractError, match="not a video that OpenCV can read"):
        next(frames)


@pytest.mark.parametrize(
    ("source", "kind"),
    [("rtsp://10.0.0.7/door", LiveCamera), ("0", LiveCamera), ("/dev/video3", LiveCamera), ("CLIP", PacedClip)],
)
def test_a_source_is_told_by_its_look(source: str, kind: type, clip: Path) -> None:
    assert isinstance(open_camera(str(clip) if source == "CLIP" else source), kind)
