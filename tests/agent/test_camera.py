import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from agent.vision.camera import LOOP_GAP_S, Clip, LiveCamera, PacedClip, PiCamera, open_camera
from contract.errors import ContractError
from rehearsal.processes import free_port, wait_until


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
    frames = list(PacedClip(Clip(clip), loop=False, fps=30).frames())
    assert len(frames) == 20
    assert time.monotonic() - begun > 0.9


def test_no_more_frames_are_looked_at_than_asked_for(clip: Path) -> None:
    frames = list(PacedClip(Clip(clip), loop=False, fps=10).frames())
    assert [brightness(frame.pixels) for frame in frames] == list(range(0, 20, 2))


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


def test_a_network_camera_that_does_not_answer_is_reported_and_never_blocks() -> None:
    camera = LiveCamera(f"rtsp://127.0.0.1:{free_port()}/none", fps=15)
    seen: list[Any] = []
    reader = threading.Thread(target=lambda: seen.extend(camera.frames()), daemon=True)
    reader.start()
    wait_until(lambda: camera.trouble is not None, within_s=20, what="the report of trouble")
    assert "does not answer" in (camera.trouble or "")
    camera.close()
    reader.join(5)
    assert not reader.is_alive()
    assert seen == []


def test_a_live_camera_hands_out_the_newest_frame_and_drops_the_rest(clip: Path) -> None:
    camera = LiveCamera(str(clip), fps=1000)  # a file has all frames at once: the fastest camera there is
    first = next(iter(camera.frames()))
    assert first.pixels.shape == (120, 160, 3)
    wait_until(lambda: camera.dropped > 5, within_s=10, what="frames being dropped")
    camera.close()


class PicameraStandIn(ModuleType):
    """Behaves like picamera2's documented interface, as far as a camera can without a sensor."""

    def __init__(self) -> None:
        super().__init__("picamera2")
        self.made: list[Any] = []
        module = self

        class Picamera2:
            def __init__(self) -> None:
                self.running = self.closed = False
                self.configuration: dict[str, Any] | None = None
                module.made.append(self)

            def create_video_configuration(self, main: dict[str, Any], **more: Any) -> dict[str, Any]:
                return {"main": main, "use": "video", **more}

            def configure(self, configuration: dict[str, Any]) -> None:
                assert not self.running, "Camera must be stopped before configuring"
                self.configuration = configuration

            def start(self) -> None:
                assert self.configuration is not None
                self.running = True

            def capture_array(self, name: str) -> Any:
                assert self.running, "the camera is not started"
                assert self.configuration is not None
                width, height = self.configuration[name]["size"]
                return np.full(
                    (height, width, 3), (255, 0, 0), np.uint8
                )  # a blue wall: "RGB888" is blue first in memory

            def stop(self) -> None:
                self.running = False

            def close(self) -> None:
                self.closed = True

        self.Picamera2 = Picamera2


@pytest.fixture
def picamera(monkeypatch: pytest.MonkeyPatch) -> Iterator[PicameraStandIn]:
    module = PicameraStandIn()
    monkeypatch.setitem(sys.modules, "picamera2", module)
    yield module


def test_the_pi_camera_is_configured_read_and_let_go(picamera: PicameraStandIn) -> None:
    camera = open_camera("picamera", size=(800, 600), fps=12)
    assert isinstance(camera, PiCamera)
    frames = []
    for frame in camera.frames():
        frames.append(frame)
        if len(frames) == 3:
            camera.close()
    (device,) = picamera.made
    assert device.configuration["main"] == {"size": (800, 600), "format": "RGB888"}
    assert device.configuration["controls"] == {"FrameRate": 12}
    assert frames[0].pixels.shape == (600, 800, 3)
    assert frames[0].pixels[0, 0].tolist() == [255, 0, 0]
    assert frames[0].at_s <= frames[1].at_s <= frames[2].at_s
    assert device.closed
    assert not device.running


def test_without_picamera2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(ContractError, match="apt install python3-picamera2"):
        open_camera("picamera")
