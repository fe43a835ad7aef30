"""The float base is the shipped file's twin: converted again, it sees what the file sees."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from agent.vision.detector import Detector
from contract.errors import ContractError
from contract.release import read_manifest
from rehearsal.scene import write_dataset
from trainer.base import convolutions, recover
from trainer.dataset import read_split
from trainer.export import export
from trainer.run import Recipe, Run, Source


def test_a_file_of_our_conversion_gives_its_convolutions() -> None:
    found = convolutions(FACTORY_MODEL)
    assert found["weight000"].shape == (16, 3, 6, 6)
    assert len(found) == 2 * 75
    assert all(one.dtype == np.float32 and np.isfinite(one).all() for one in found.values())


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "model.tflite"
    foreign.write_bytes(b"no model")
    with pytest.raises(ContractError, match="cannot be read"):
        convolutions(foreign)


@pytest.mark.trainer
@pytest.mark.timeout(900)
def test_the_base_converted_again_sees_what_the_file_sees(tmp_path: Path) -> None:
    write_dataset(tmp_path / "scenes", images=40, seed=92_000)
    data, size = tmp_path / "scenes" / "data.yaml", read_manifest(FACTORY_MODEL).input_size
    split, base = read_split(data, "train"), tmp_path / "weights.npz"
    recover(FACTORY_MODEL, split, size, tmp_path / "work", base)
    run = Run(tmp_path / "run", (Source(data, "train", "val"),), Recipe(base, 0, size, 8, 1))
    run.save()
    shutil.copy(base, run.weights)
    export(run, calibration=split, validation=split, size=size, release=9, out=tmp_path / "out")
    thresholds = dict(read_manifest(FACTORY_MODEL).thresholds)
    old, new = (
        Detector.load(path, thresholds=thresholds) for path in (FACTORY_MODEL, tmp_path / "out" / "model.tflite")
    )
    same = whole = 0
    for image in split.images:
        pixels = cv2.imread(str(image))
        assert pixels is not None
        seen = new.detect(pixels.astype(np.uint8))
        for one in old.detect(pixels.astype(np.uint8)):
            whole += 1
            same += any(other.label == one.label and other.box.iou(one.box) > 0.7 for other in seen)
    assert whole > 20
    assert same >= 0.9 * whole
