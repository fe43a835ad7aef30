"""A finished run with a file for the Edge TPU: signed, published, fetched, probed, and at work on a stand-in Coral."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from contract.errors import ContractError
from contract.events import Accelerator
from contract.golden import GoldenFrame, write_golden
from contract.labels import LABELS
from contract.release import COMPILED_NAME, GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME
from rehearsal.processes import Child, Mosquitto, wait_until
from rehearsal.scene import Scene, write_clip
from tests.agent.edgetpu_kit import build_library, coral_model
from tests.agent.release_kit import DEVICE, FACTORY_RELEASE, Cloud
from tests.trainer.test_worker import Site
from trainer.complete import GATE, publish
from trainer.release import renumbered

FIRST = FACTORY_RELEASE + 1


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "cloud").mkdir()
    served = Site(tmp_path / "cloud")
    yield served
    served.close()


def finished_run(folder: Path, release: int, threshold: float = 1.0) -> Path:
    """As `trainer run` leaves it where a compiler was at hand.

    Its golden frame shows nobody, which is what any model finds at a threshold of 1; at a lower one the stand-in's pattern is faces.
    """
    golden = write_golden([GoldenFrame(cv2.imencode(".png", np.full((60, 80, 3), 90, np.uint8))[1].tobytes(), ())])
    thresholds = {str(label): threshold for label in LABELS}
    coral_model(folder, release=release, golden_digest=sha256(golden).hexdigest(), thresholds=thresholds)
    (folder / GOLDEN_NAME).write_bytes(golden)
    (folder / GATE).write_text(json.dumps({"may_ship": True, "objections": []}))
    return folder


def start(folder: Path, site: Site, broker: Mosquitto, library: Path) -> Child:
    clip, config = folder / "door.mp4", folder / "door.toml"
    write_clip(Scene("passage", seed=61, people=3, gap_s=1.0), clip)
    shutil.copyfile(site.releases / "repository" / "metadata" / "1.root.json", folder / "root.json")
    config.write_text(
        f'device = "{DEVICE}"\n[camera]\nsource = "{clip}"\nloop = true\n[door]\nline = [0.5, 1.0, 0.5, 0.0]\n'
        f'[broker]\nurl = "{broker.url}"\nheartbeat_s = 1\n[outbox]\nfolder = "{folder / "outbox"}"\nclock_wait_s = 0\n'
        f'[model]\nedgetpu_library = "{library}"\n'
        f'[update]\nurl = "{site.url}/tuf"\nroot = "{folder / "root.json"}"\nfolder = "{folder / "models"}"\n'
        f"check_s = 0.5\nconfirm_s = 2\n"
    )
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"}
    command: list[str | Path] = [sys.executable, "-m", "agent", "run", "--config", config]
    return Child("door", command, log=folder / "door.log", env=env)


def test_a_run_with_a_compiled_file_ends_on_the_coral_unless_that_file_sees_other_things_or_was_not_signed(
    site: Site, broker: Mosquitto, tmp_path: Path
) -> None:
    library = build_library(tmp_path)
    run = finished_run(tmp_path / "run", FIRST)
    assert publish(run, site.signer, site.link, datetime.now(UTC)) == FIRST
    assert publish(run, site.signer, site.link, datetime.now(UTC)) == FIRST  # once more is no more
    files = site.signer.files(site.link, FIRST)
    assert files[COMPILED_NAME] == (run / COMPILED_NAME).read_bytes()
    odd = finished_run(tmp_path / "odd", FIRST + 1, threshold=0.5)
    assert publish(odd, site.signer, site.link, datetime.now(UTC)) == FIRST + 1
    older = {name: content for name, content in renumbered(files, FIRST + 2).items() if name != COMPILED_NAME}
    site.signer.publish(site.link, FIRST + 2, older, datetime.now(UTC))
    site.signer.publish(site.link, FIRST + 3, renumbered(files, FIRST + 3), datetime.now(UTC))
    assert site.signer.files(site.link, FIRST + 3)[COMPILED_NAME] == files[COMPILED_NAME]

    cloud = Cloud(broker.port)
    door = start(tmp_path, site, broker, library)

    def ends(release: int, accelerator: Accelerator, said: str = "") -> None:
        """It is asked for, fetched, confirmed, and then looks on `accelerator`; where that is the CPU, the door says why."""

        def there() -> bool:
            door.require_running()
            last = cloud.beats[-1] if cloud.beats else None
            return (
                last is not None and (last.release, last.accelerator) == (release, accelerator)
                and cloud.told(release, "confirmed") and (not said or any(said in one for one in last.trouble))
            )  # fmt: skip

        cloud.want(release)
        wait_until(there, within_s=180, what=f"release {release} on the {accelerator}")
        slot = tmp_path / "models" / "slots" / str(release)
        names = {MODEL_NAME, MANIFEST_NAME, GOLDEN_NAME} | ({COMPILED_NAME} if "without" not in said else set())
        assert {path.name for path in slot.iterdir()} == names

    try:
        ends(FIRST, Accelerator.EDGE_TPU)
        ends(FIRST + 1, Accelerator.CPU, "the Coral is not used: golden frame 0: ")
        ends(FIRST + 2, Accelerator.CPU, "came without model_edgetpu.tflite")
        ends(FIRST + 3, Accelerator.EDGE_TPU)
    finally:
        door.stop()
        cloud.close()


def test_a_run_whose_compiled_file_is_missing_or_another_is_not_signed(site: Site, tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", FIRST)
    content = (run / COMPILED_NAME).read_bytes()
    (run / COMPILED_NAME).write_bytes(content + bytes(1))
    with pytest.raises(ContractError, match="not the compiled file that the manifest names"):
        publish(run, site.signer, site.link, datetime.now(UTC))
    (run / COMPILED_NAME).unlink()
    with pytest.raises(ContractError, match="came without model_edgetpu"):
        publish(run, site.signer, site.link, datetime.now(UTC))
    assert site.numbers == []
