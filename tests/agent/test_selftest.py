"""The daily self-test: golden frames between live ones, bounded, by the model that looks."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from agent.health.selftest import EVERY_S, SPACING, Checkup, selftest
from agent.vision.detector import Detector, Faces
from agent.vision.meter import Meter
from agent.vision.yolo import Fitted, Pixels
from contract.golden import read_golden
from contract.release import GOLDEN_NAME, MANIFEST_NAME
from tests.agent.edgetpu_kit import coral_model
from tests.agent.release_kit import golden, release_files
from tests.agent.told import Told

EMPTY = np.zeros((120, 160, 3), np.uint8)


class Forgetful(Detector):
    """Finds nothing from a moment on."""

    def __init__(self, sound: Detector) -> None:
        self.manifest, self._sound, self.blind = sound.manifest, sound, False

    def look(self, pixels: Pixels, fitted: Fitted | None = None) -> Faces:
        return Told() if self.blind else self._sound.look(pixels, fitted)


def test_the_factory_models_golden_frames_are_small_and_its_own() -> None:
    archive = FACTORY_MODEL.with_name(GOLDEN_NAME).read_bytes()
    assert len(archive) < 200_000
    told = json.loads(FACTORY_MODEL.with_name(MANIFEST_NAME).read_text())["golden_digest"]
    assert told == sha256(archive).hexdigest(), "python -m rehearsal golden-frames"
    result = selftest(Detector.load(FACTORY_MODEL), FACTORY_MODEL)
    assert (result.frames, result.faults) == (len(read_golden(archive)), ())


def write(folder: Path, frames: bytes) -> Path:
    for name, content in release_files(7, frames=frames).items():
        (folder / name).write_bytes(content)
    return folder / "model.tflite"


def test_what_is_no_longer_found_or_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    model = write(tmp_path, golden(wrong=True))
    assert "was not found" in selftest(Detector.load(model), model).faults[0]
    model.with_name(GOLDEN_NAME).unlink()
    assert selftest(Detector.load(model), model).faults == ("cannot read the golden frames: No such file or directory",)
    plain = coral_model(tmp_path / "plain")
    result = selftest(Detector.load(plain), plain)
    assert (result.frames, result.faults) == (0, ())


@pytest.mark.parametrize("blind", [False, True])
def test_once_a_day_golden_frames_are_looked_at_between_live_ones(blind: bool) -> None:
    eye, now = Forgetful(Detector.load(FACTORY_MODEL)), 0.0
    meter = Meter(eye)
    first = selftest(eye, FACTORY_MODEL)
    checkup = Checkup(meter, lambda: FACTORY_MODEL, first=first, now=lambda: now)
    eye.blind = blind

    def live(number: int) -> None:
        for _ in range(number):
            checkup.between()
            meter.look(EMPTY)

    live(100)
    assert checkup.result is first
    now = EVERY_S + 1
    live((SPACING + 1) * first.frames)  # the first step only reads them
    assert checkup.result is first
    live(SPACING + 1)
    assert checkup.result is not first
    assert checkup.result.frames == first.frames
    assert meter.frames == 100 + (SPACING + 1) * (first.frames + 1)  # live frames only
    assert ("the self-test failed on the cpu: golden frame 0" in checkup.fault) == blind
    live(100)
    eye.blind, now = False, 2 * EVERY_S + 2
    live((SPACING + 1) * (first.frames + 1))
    assert checkup.fault == ""


def test_a_release_on_trial_is_left_alone_and_another_release_is_not_blamed(tmp_path: Path) -> None:
    model, now = write(tmp_path, golden(wrong=True)), EVERY_S + 1
    meter = Meter(Detector.load(model))
    first = selftest(meter.looker, model)
    checkup = Checkup(meter, lambda: None, first=first, now=lambda: now - EVERY_S - 1)
    checkup._due = 0.0
    for _ in range(100):
        checkup.between()
        meter.look(EMPTY)
    assert checkup.result is first
    assert "golden frame" in checkup.fault
    meter.swap(Detector.load(FACTORY_MODEL), fallback=None)
    meter.look(EMPTY)
    assert checkup.fault == ""
