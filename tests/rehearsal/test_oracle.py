"""The oracle finds the frame a crop was cut from, and says what was drawn there."""

import json
from pathlib import Path

import cv2
import numpy as np

from contract.dataset import Answer
from rehearsal.oracle import Sight, answers
from rehearsal.scene import Scene, truth_path, write_clip
from tests.cloud.crop_kit import crops_of


def test_the_oracle_answers_what_was_drawn(tmp_path: Path) -> None:
    scene, clip = Scene("passage", seed=77, people=6, gap_s=1.2), tmp_path / "door.mp4"
    write_clip(scene, clip)
    sights = [Sight(header, jpeg) for header, jpeg in crops_of(clip, tmp_path / "crops")]
    assert len(sights) >= 4
    found = answers(sights, clip)
    drawn = {one.label for one in scene.passes()}
    assert all(one.value in drawn or one is Answer.NOT_A_FACE for one in found)
    by_model = [max(zip(one.header.scores, Answer, strict=False))[1] for one in sights]
    sure = [
        pair
        for pair, one in zip(zip(found, by_model, strict=True), sights, strict=True)
        if max(one.header.scores) > 0.8
    ]
    assert sure
    assert sum(truth == said for truth, said in sure) >= 0.8 * len(sure)

    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    stranger = Sight(sights[0].header, cv2.imencode(".jpg", noise)[1].tobytes())
    assert answers([stranger], clip) == [Answer.CANNOT_TELL]
    truth = json.loads(truth_path(clip).read_text())
    truth["faces"] = [[] for _ in truth["faces"]]
    truth_path(clip).write_text(json.dumps(truth))
    assert set(answers(sights, clip)) == {Answer.NOT_A_FACE}
