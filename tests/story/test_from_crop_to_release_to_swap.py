"""The whole turn with real processes: a face at the door becomes a label, a job, a signed release, and the door runs it."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from contract.jobs import Job
from contract.release import MODEL_NAME
from rehearsal.house import Doorway, House
from rehearsal.oracle import LABELLER, label_all
from rehearsal.processes import wait_until
from rehearsal.scene import LINES, Scene, write_clip
from tests.story.releasing import factory_again
from trainer.lease import Lease
from trainer.link import Link
from trainer.release import Signer
from trainer.worker import Verdict, Worker

CLOUD = """
canary_soak_s = 0
answer_within_s = 60

[retraining]
new_labels = 3
cool_down_s = 0
check_every_s = 1
"""
LEARNING = "[learning]\ncrops = true\nwindow_s = 10\nbudget = 6\n"


class FileAtHand:
    """No training: the candidate is the factory's own file under the new number, after a look at what there is to learn."""

    def __init__(self) -> None:
        self.labelled = 0

    def candidate(
        self, job: Job, link: Link, lease: Lease, champion: Mapping[str, bytes] | None, folder: Path
    ) -> Verdict:
        assert job.snapshot is not None
        snapshot = link.snapshot(job.snapshot)
        for example in snapshot.examples:
            assert link.picture(example.jpeg_digest).startswith(b"\xff\xd8")
        self.labelled = len(snapshot.examples)
        files = factory_again(job.release)
        return Verdict(files, (), (), ("a file at hand, not trained",), sha256(files[MODEL_NAME]).hexdigest())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", cloud_settings=CLOUD)
    house.found_releases()
    house.broker.start()
    house.start_cloud()
    yield house
    house.stop()


def test_from_crop_to_release_to_swap(house: House, tmp_path: Path) -> None:
    clip = tmp_path / "door.mp4"
    write_clip(Scene("passage", seed=61, people=6, gap_s=1.2), clip)
    house.start_door(Doorway("door-1", clip, LINES["passage"], settings=LEARNING))
    token = house.token("machines")

    def a_job_is_due() -> bool:
        house.require_running()
        label_all(house.page, token, {"door-1": clip})
        return bool(house.ask("jobs"))

    wait_until(a_job_is_due, within_s=60, what="enough labelled crops for a training")
    assert house.ask("labels/progress")["by_answer"]["cannot_tell"] == 0
    trains, link = FileAtHand(), Link.open(house.page, token)
    try:
        signer = Signer(house.trainer_keys, tmp_path / "trainer")
        Worker(link, signer, tmp_path / "trainer", "rehearsal", trains).run(once=True, done=threading.Event())
    finally:
        link.close()
    (job, *_) = house.ask("jobs")
    assert (job["state"], job["release"], job["outcome"]["notes"]) == ("published", 2, ["a file at hand, not trained"])
    assert trains.labelled >= 3
    wait_until(lambda: house.ask("rollout")["state"] == "done", within_s=60, what="the rollout's end")
    (told,) = house.ask("rollout")["doors"]
    assert (told["running"], told["step"], told["outcome"]) == (2, "confirmed", "ok")
    assert house.ask("rollout")["releases"][0]["number"] == 2

    def seen_by_release(release: int) -> int:
        with sqlite3.connect(house.folder / "cloud" / "maskfleet.sqlite") as database:
            (number,) = database.execute("SELECT count(*) FROM events WHERE release = ?", (release,)).fetchone()
        database.close()
        return int(number)

    wait_until(lambda: seen_by_release(2) >= 2, within_s=60, what="passes seen by the new release")
    house.stop_doors()
    wait_until(lambda: house.overview()[0]["state"] == "offline", within_s=20, what="the door's goodbye")
    (door,) = house.overview()
    assert (door["waiting"], door["events_lost"], door["release"]) == (0, 0, 2)
    with sqlite3.connect(house.folder / "cloud" / "maskfleet.sqlite") as database:
        rows = database.execute("SELECT boot, sequence, release FROM events ORDER BY sequence").fetchall()
        labellers = {name for (name,) in database.execute("SELECT labeller FROM labels")}
    database.close()
    assert len({boot for boot, _, _ in rows}) == 1  # it never started again
    assert [sequence for _, sequence, _ in rows] == list(range(len(rows)))  # and lost no pass on the way
    releases = [release for _, _, release in rows]
    assert releases == sorted(releases)
    assert set(releases) == {1, 2}
    assert labellers == {LABELLER}
