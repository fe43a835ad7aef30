"""One turn with the real libraries: labelled crops, a short training, conversion, the gate, a release, a door that runs it."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from cloud.store.blobs import BlobFolder
from cloud.store.database import open_database
from contract.golden import GoldenFrame, write_golden
from contract.release import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME, read_manifest
from rehearsal.hard import write_pack
from rehearsal.house import Doorway, House
from rehearsal.oracle import label_all
from rehearsal.processes import wait_until
from rehearsal.scene import LINES, Scene, write_clip, write_dataset
from tests.cloud.crop_kit import Sent, crops_of, store_rows
from tests.story.test_from_crop_to_release_to_swap import CLOUD
from tests.trainer.test_stages import SIZE, make_random_base, trainer
from trainer.link import Link
from trainer.pack import CASES_NAME
from trainer.release import Signer

EPOCHS = 12  # so many that the first is told long before the last

pytestmark = [pytest.mark.trainer, pytest.mark.timeout(900)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", cloud_settings=f"{CLOUD}lease_s = 10\n")
    house.found_releases()
    house.broker.start()
    house.start_cloud()
    yield house
    house.stop()


def deliver_crops(house: House, crops: list[Sent]) -> None:
    blobs = BlobFolder(house.folder / "cloud" / "blobs")
    for _, jpeg in crops:
        blobs.put(jpeg)
    engine = open_database(f"sqlite:///{house.folder / 'cloud' / 'maskfleet.sqlite'}")
    store_rows(engine, crops, datetime.now(UTC))
    engine.dispose()


def publish_a_champion_that_knows_nothing(house: House, token: str, data: Path, folder: Path) -> None:
    """Random weights through the real conversion, as release 2: whatever is trained afterwards is better."""
    base = make_random_base(folder)
    told = trainer("train", "--data", f"{data}:train:val", "--base", base, "--epochs", "1", "--rate", "0.0000001",
                   "--image-size", str(SIZE), "--batch", "8", "--out", folder / "weak")  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    told = trainer("export", folder / "weak", "--release", "2", "--out", folder / "champion")
    assert told.returncode == 0, told.stderr[-2000:]
    png = cv2.imencode(".png", np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
    golden = write_golden([GoldenFrame(png, ())])
    manifest = read_manifest(folder / "champion" / MODEL_NAME)
    manifest = manifest.model_copy(update={"golden_digest": sha256(golden).hexdigest()})
    model = (folder / "champion" / MODEL_NAME).read_bytes()
    link = Link.open(house.page, token)
    signer = Signer(house.trainer_keys, folder / "work")
    signer.publish(
        link, 2, {MODEL_NAME: model, MANIFEST_NAME: manifest.encode(), GOLDEN_NAME: golden}, datetime.now(UTC)
    )
    link.close()


def hard_faces(folder: Path) -> Path:
    """A pack without posters: who sees nobody at all is right about those."""
    write_pack(folder, images=24, seed=72_000)
    listing = folder / CASES_NAME
    rows = [row for row in listing.read_text().splitlines() if "poster" not in row]
    listing.write_text("\n".join(rows) + "\n")
    return folder / "data.yaml"


def test_a_real_short_training_becomes_a_release_that_a_door_runs(house: House, tmp_path: Path) -> None:
    clip, data = tmp_path / "door.mp4", tmp_path / "scenes" / "data.yaml"
    write_clip(Scene("passage", seed=77, people=18, gap_s=1.2), clip)  # enough passes for control and priority
    write_dataset(data.parent, images=24, seed=91_000)
    token = house.token("machines")
    publish_a_champion_that_knows_nothing(house, token, data, tmp_path)
    deliver_crops(house, crops_of(clip, tmp_path / "crops"))
    assert label_all(house.page, token, {"replay": clip}) >= 3
    wait_until(lambda: bool(house.ask("jobs")), within_s=20, what="the training being due")
    secret = tmp_path / "token"
    secret.write_text(token)
    work = (
        "work", "--cloud", house.page, "--token-file", secret, "--keys", house.trainer_keys, "--folder", tmp_path / "work",
        "--data", data, "--epochs", str(EPOCHS), "--batch", "8", "--name", "gpu-box", "--once",
        "--hard", f"{hard_faces(tmp_path / 'hard')}:test",
    )  # fmt: skip
    first = house.start("trainer", "trainer", *work)
    wait_until(lambda: len(house.ask("jobs")[0]["curve"]) >= 1, within_s=120, what="the first epoch")
    os.killpg(first.process.pid, signal.SIGKILL)  # a power cut in the middle
    first.process.wait()
    done = trainer(*work)
    assert done.returncode == 0, done.stderr[-3000:]
    (job,) = house.ask("jobs")
    outcome = job["outcome"]
    said = job["state"], job["release"], job["champion"], outcome["objections"]
    assert said == ("published", 3, 2, []), f"{outcome}\n{done.stderr[-3000:]}"
    assert job["attempt"] == 2  # the second found the same job, and what the first had left of it
    assert [point["epoch"] for point in job["curve"]] == list(range(1, EPOCHS + 1))
    assert "resum" in done.stdout.lower()
    assert [pair["split"] for pair in outcome["comparisons"]] == ["base data, validation", "own crops, control"]
    assert any(note.startswith("hard cases: ") for note in outcome["notes"])
    assert all(pair["candidate"]["map50"] > pair["champion"]["map50"] for pair in outcome["comparisons"])
    house.start_door(Doorway("door-1", clip, LINES["passage"]))
    wait_until(lambda: house.ask("rollout")["state"] == "done", within_s=60, what="the rollout's end")
    (door,) = house.ask("rollout")["doors"]
    assert (door["running"], door["step"]) == (3, "confirmed")
    house.require_running()
