"""A real `agent run` beside a real broker and a real repository: it obeys, it survives being killed, it says so."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.app import Door
from agent.config import (
    FACTORY_MODEL,
    AgentSettings,
    BrokerSettings,
    CameraSettings,
    LearningSettings,
    OutboxSettings,
    UpdateSettings,
)  # fmt: skip
from agent.update.slots import Slots, State
from contract.fleet import Desired, SamplingPlan, Step
from contract.release import MANIFEST_NAME, MODEL_NAME
from rehearsal.processes import Child, Mosquitto, RehearsalError, wait_until
from rehearsal.scene import Scene, write_clip
from tests.agent.release_kit import DEVICE, FACTORY_RELEASE, Cloud, Web, golden, release_files
from tests.agent.tuf_repository import Repository

OLD, NEW = FACTORY_RELEASE, FACTORY_RELEASE + 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "door.mp4"
    write_clip(Scene("passage", seed=61, people=3, gap_s=1.0), path)
    return path


@dataclass
class Site:
    """One door with its surroundings."""

    folder: Path
    clip: Path
    broker: Mosquitto
    web: Web
    repository: Repository
    cloud: Cloud
    update: str = ""  # the settings of [update]; by default those of `web`
    confirm_s: float = 2.0
    children: list[Child] = field(default_factory=list)

    @property
    def slots(self) -> Slots:
        return Slots(self.folder / "models", FACTORY_MODEL)

    @property
    def state(self) -> State:
        return self.slots.read()

    def start(self) -> Child:
        update = self.update or (
            f'url = "{self.web.url}"\nroot = "{self.repository.root}"\nfolder = "{self.folder / "models"}"\n'
            f"check_s = 0.5\nconfirm_s = {self.confirm_s}\n"
        )
        config = self.folder / "door.toml"
        config.write_text(
            f'device = "{DEVICE}"\n[camera]\nsource = "{self.clip}"\nloop = true\n[door]\nline = [0.5, 1.0, 0.5, 0.0]\n'
            f'[broker]\nurl = "{self.broker.url}"\nheartbeat_s = 1\n[outbox]\nfolder = "{self.folder / "outbox"}"\nclock_wait_s = 0\n'
            f"[update]\n{update}"
        )
        command: list[str | Path] = [sys.executable, "-m", "agent", "run", "--config", config]
        env = os.environ | {"OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"}
        self.children.append(Child("door", command, log=self.folder / "door.log", env=env))
        return self.children[-1]

    def kill(self) -> None:
        """SIGKILL to the agent and whatever it started: the cable is pulled."""
        os.killpg(self.children[-1].process.pid, signal.SIGKILL)
        self.children[-1].process.wait()
        self.cloud.reports.clear()

    def wait_told(self, release: int, step: str, wanted: int | None = None, within_s: float = 60) -> None:
        """Return when the door's newest report says so."""

        def told() -> bool:
            self.children[-1].require_running()
            return self.cloud.told(release, step, wanted)

        try:
            wait_until(told, within_s=within_s, what=f"the report of {release} {step}")
        except RehearsalError as error:
            told_so_far = [(one.release, one.step.value, one.reason) for one in self.cloud.reports]
            raise RehearsalError(f"{error}; the door said {told_so_far}") from error


@pytest.fixture
def site(tmp_path: Path, clip: Path, broker: Mosquitto) -> Iterator[Site]:
    repository = Repository(tmp_path / "tuf")
    cloud = Cloud(broker.port)
    with Web(tmp_path).serving() as web:
        here = Site(tmp_path, clip, broker, web, repository, cloud)
        yield here
        for child in here.children:
            child.stop()
    cloud.close()


def test_a_door_fetches_tries_and_keeps_the_release_that_the_cloud_wants(site: Site) -> None:
    site.repository.add(NEW, release_files(NEW))
    site.start()
    site.wait_told(OLD, "idle")
    site.cloud.want(NEW)
    site.wait_told(NEW, "confirmed", NEW)
    steps = list(dict.fromkeys((one.release, one.step) for one in site.cloud.reports))
    wanted = [(OLD, Step.IDLE), (OLD, Step.STAGED), (NEW, Step.TRIAL), (NEW, Step.CONFIRMED)]
    assert [step for step in steps if step != (OLD, Step.TRIAL)] == wanted
    assert site.cloud.last and site.cloud.last.number == 1
    wait_until(lambda: site.cloud.beats[-1].release == NEW, within_s=10, what="the heartbeat of the new release")
    wait_until(lambda: any(one["release"] == NEW for one in site.cloud.events), within_s=40, what="a pass that it saw")
    site.children[-1].stop()
    site.cloud.reports.clear()
    site.start()
    site.wait_told(NEW, "confirmed", NEW)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (release_files(NEW, model=b"TFL3" + bytes(range(256)) * 400), "does not load"),
        (release_files(NEW, frames=golden(wrong=True)), "golden frame 0"),
    ],
    ids=["garbage", "other findings"],
)
def test_a_bad_release_is_rolled_back_reported_and_not_tried_again(
    site: Site, files: dict[str, bytes], reason: str
) -> None:
    site.repository.add(NEW, files)
    site.start()
    site.cloud.want(NEW)
    site.wait_told(OLD, "rolled_back", NEW)
    assert site.cloud.last and reason in site.cloud.last.reason
    assert len(site.state.denied) == (files[MODEL_NAME] != FACTORY_MODEL.read_bytes())
    site.repository.add(NEW + 1, release_files(NEW + 1, model=FACTORY_MODEL.read_bytes() + b"\0"))
    site.cloud.want(NEW + 1)
    site.wait_told(NEW + 1, "confirmed", NEW + 1)
    assert sum(path.endswith(f"{NEW}/{MODEL_NAME}") for path, _ in site.web.answers) <= 1


def test_why_a_release_cannot_be_fetched_is_told_and_a_new_wish_is_obeyed(site: Site) -> None:
    site.start()
    site.cloud.want(NEW)
    site.wait_told(OLD, "rolled_back", NEW)
    assert site.cloud.last and "no model.tflite" in site.cloud.last.reason
    site.repository.publish(timestamp_days=-1)
    site.cloud.want(NEW + 1)
    site.wait_told(OLD, "idle", NEW + 1)
    wait_until(lambda: "expired" in (site.cloud.last or site.cloud.reports[0]).reason, within_s=30, what="the reason")
    site.repository.add(NEW + 1, release_files(NEW + 1))
    site.wait_told(NEW + 1, "confirmed", NEW + 1)


def test_a_door_without_an_update_url_says_what_it_runs_and_why_it_stays(site: Site) -> None:
    site.update = "# none"
    site.start()
    site.wait_told(OLD, "idle", 0)
    site.cloud.want(NEW)
    site.wait_told(OLD, "idle", NEW)
    assert site.cloud.last and site.cloud.last.reason == "this door has no [update] url"
    assert site.cloud.last.digest == json.loads(FACTORY_MODEL.with_name(MANIFEST_NAME).read_text())["digest"]


def test_a_report_that_nobody_heard_is_said_again(site: Site) -> None:
    site.start()
    site.wait_told(OLD, "idle")
    site.cloud.reports.clear()
    site.wait_told(OLD, "idle", within_s=20)


def test_old_foreign_and_broken_wishes_are_ignored_and_a_reconnect_is_answered(site: Site) -> None:
    site.start()
    site.cloud.want(OLD, number=5, sampling=SamplingPlan(window_s=10, budget=1))
    site.wait_told(OLD, "idle", OLD)
    site.cloud.want(NEW, number=4)
    site.cloud.say(b"{")
    site.cloud.say(Desired(device="door-2", number=9, release=NEW).encode())
    log = site.folder / "door.log"
    wait_until(lambda: log.read_text().count("ignored") >= 3, within_s=20, what="all three in the log")
    assert site.cloud.last and (site.cloud.last.wanted, site.cloud.last.number) == (OLD, 5)
    assert Desired.decode((site.folder / "models" / "desired.json").read_bytes(), limit=1000).number == 5
    site.broker.kill()
    site.cloud.close()
    site.broker.start()
    site.cloud = Cloud(site.broker.port)
    site.wait_told(OLD, "idle", OLD)


def test_a_kill_in_the_middle_of_the_download_costs_only_the_rest_of_it(site: Site) -> None:
    site.repository.add(NEW, release_files(NEW))
    whole = release_files(NEW)[MODEL_NAME]
    half_sent, go_on = threading.Event(), threading.Event()

    def half(request: Any) -> bool:
        if not request.path.endswith(MODEL_NAME) or half_sent.is_set():
            return False
        request.send_response(200)
        request.end_headers()
        request.wfile.write(whole[:1_000_000])
        request.wfile.flush()
        half_sent.set()
        go_on.wait(60)
        return True

    site.web.alter = half
    site.start()
    site.cloud.want(NEW)
    part = site.folder / "models" / "staging" / str(NEW) / f"{MODEL_NAME}.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 500_000, within_s=60, what="half a download")
    site.kill()
    go_on.set()
    assert site.state.step is Step.IDLE
    site.start()
    site.wait_told(NEW, "confirmed", NEW)
    assert [status for path, status in site.web.answers if path.endswith(MODEL_NAME)][-1] == 206


def test_a_kill_right_after_staging_is_made_up_for(site: Site) -> None:
    site.repository.add(NEW, release_files(NEW))
    site.start()
    site.cloud.want(NEW)
    wait_until(lambda: site.state.step is Step.STAGED, within_s=60, what="the staging")
    site.kill()
    assert site.state.step in (Step.STAGED, Step.TRIAL)
    site.start()
    site.wait_told(NEW, "confirmed", NEW)


def test_one_kill_on_trial_is_forgiven_and_two_are_not(site: Site) -> None:
    site.confirm_s = 3600
    site.repository.add(NEW, release_files(NEW))
    site.start()
    site.cloud.want(NEW)
    site.wait_told(NEW, "trial", NEW)
    site.kill()
    site.start()
    site.wait_told(NEW, "trial", NEW)
    site.kill()
    site.start()
    site.wait_told(OLD, "rolled_back", NEW)
    assert site.cloud.last and "two starts" in site.cloud.last.reason


def test_a_good_release_that_no_longer_loads_gives_way_to_the_factory_model(site: Site) -> None:
    site.repository.add(NEW, release_files(NEW))
    site.start()
    site.cloud.want(NEW)
    site.wait_told(NEW, "confirmed", NEW)
    site.kill()
    model = site.slots.model(NEW)
    garbage = release_files(NEW, model=b"TFL3" + bytes(5000))
    model.write_bytes(garbage[MODEL_NAME])
    model.with_name(MANIFEST_NAME).write_bytes(garbage[MANIFEST_NAME])
    site.start()
    site.wait_told(OLD, "rolled_back", NEW)
    assert site.cloud.last and site.cloud.last.reason.startswith("factory model: it does not load")


def test_a_good_release_that_the_card_has_spoiled_is_fetched_once_more(site: Site) -> None:
    site.repository.add(NEW, release_files(NEW))
    site.start()
    site.cloud.want(NEW)
    site.wait_told(NEW, "confirmed", NEW)
    site.kill()
    site.slots.model(NEW).write_bytes(b"spoiled")
    told = threading.Event()

    def late(request: Any) -> bool:
        return request.path.endswith(MODEL_NAME) and not told.wait(60)

    site.web.alter = late
    site.start()
    wait_until(
        lambda: any(one.release == OLD and "factory model" in one.reason for one in site.cloud.reports), within_s=60,
        what="the report of the factory model",
    )  # fmt: skip
    told.set()
    site.wait_told(NEW, "confirmed", NEW)


def test_the_clouds_sampling_plan_reaches_the_gleaner_and_a_restart(site: Site, broker: Mosquitto) -> None:
    settings = AgentSettings(
        device=DEVICE, camera=CameraSettings(source=str(site.clip), loop=True), broker=BrokerSettings(url=broker.url),
        outbox=OutboxSettings(folder=site.folder / "outbox"), learning=LearningSettings(crops=True),
        update=UpdateSettings(url=site.web.url, root=site.repository.root, folder=site.folder / "models"),
    )  # fmt: skip

    def budget() -> int:
        """What a door's gleaner follows as soon as that is no longer its own 20."""
        stop = threading.Event()
        doors: list[Door] = []

        def run() -> None:
            doors.append(Door(settings))
            doors[0].run(stop)

        def follows() -> int:
            return doors[0].gleaner.plan.budget if doors and doors[0].gleaner else 20

        thread = threading.Thread(target=run)
        thread.start()
        try:
            wait_until(lambda: follows() != 20, within_s=20, what="a plan")
        finally:
            stop.set()
            thread.join()
        return follows()

    site.cloud.want(0, sampling=SamplingPlan(window_s=60, budget=7))
    assert budget() == 7
    site.broker.stop()
    assert budget() == 7


def test_the_running_agent_never_loads_tuf() -> None:
    ask = "import sys, agent.app; sys.exit(any(name.split('.')[0] == 'tuf' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", ask], check=False).returncode == 0
