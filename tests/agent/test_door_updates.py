"""A real `agent run` beside a real broker and a real repository: it obeys, it survives being killed, it says so."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.config import FACTORY_MODEL
from agent.update.slots import Slots, State
from contract.fleet import Step
from rehearsal.processes import Child, Mosquitto, wait_until
from rehearsal.scene import Scene, write_clip
from tests.agent.release_kit import DEVICE, FACTORY_RELEASE, Cloud, Web, release_files
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
            f'[broker]\nurl = "{self.broker.url}"\nheartbeat_s = 1\n[outbox]\nfolder = "{self.folder / "outbox"}"\n'
            f"[update]\n{update}"
        )
        command: list[str | Path] = [sys.executable, "-m", "agent", "run", "--config", config]
        env = os.environ | {"OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"}
        self.children.append(Child("door", command, log=self.folder / "door.log", env=env))
        return self.children[-1]

    def wait_told(self, release: int, step: str, wanted: int | None = None, within_s: float = 60) -> None:
        """Return when the door's newest report says so."""

        def told() -> bool:
            self.children[-1].require_running()
            return self.cloud.told(release, step, wanted)

        wait_until(told, within_s=within_s, what=f"the report of {release} {step}")


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
