"""A site in this process whose labels, jobs, doors and releases a test sets as it likes."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cloud.config import CloudSettings
from cloud.fleet.keys import make_keys
from cloud.fleet.rollout import Rules
from cloud.fleet.steward import Steward
from cloud.learning.jobs import Retraining
from cloud.learning.retraining import Labels
from cloud.loop import new_loop
from cloud.store import fleet, writing
from cloud.store.database import migrate, open_database
from cloud.store.schema import devices
from cloud.store.store import Store
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from contract.fleet import Reported, Step
from contract.jobs import ClassScore, Comparison, Job, Outcome, Point, Progress, Scores
from contract.labels import Label
from rehearsal.processes import wait_until
from tests.cloud.release_kit import release


class Desk:
    """Served over a real socket; the rollout takes a step when `turn` says so."""

    def __init__(self, folder: Path) -> None:
        settings = CloudSettings.load(None, {"data": str(folder)})
        self.engine = open_database(settings.database_url)
        migrate(self.engine)
        self.folder = settings.release_folder
        make_keys(self.folder, datetime.now(UTC))
        self.labels = Labels()
        loop = new_loop(settings, self.engine)
        self.jobs = loop.jobs
        retraining = Retraining(
            loop.jobs, settings.retraining, labels_since=lambda _: self.labels, make_snapshot=lambda _: "a" * 64
        )
        door = listen("127.0.0.1", 0)
        make = partial(new_site, Store(self.engine), settings, loop=replace(loop, retraining=retraining))
        self._server = WebServer(make, door)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started, within_s=10, what="the site serving")
        self.address = f"http://127.0.0.1:{door.getsockname()[1]}/"
        rules = Rules(silent_after_s=settings.answer_within_s, canary_soak_s=0)
        self._steward = Steward(self.engine, loop.repository, rules, present_s=settings.silent_after_s)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self._steward.turn(datetime.now(UTC))

    def publish(self, number: int) -> None:
        release(self.folder, number, datetime.now(UTC))
        self.turn()

    def report(self, name: str, running: int, step: Step = Step.IDLE, wanted: int = 0, reason: str = "") -> None:
        """A door's word, as the consumer keeps it."""
        now = datetime.now(UTC)
        with self.engine.begin() as connection:
            if not connection.execute(devices.select().where(devices.c.name == name)).first():
                connection.execute(devices.insert().values(name=name, first_seen=now, last_seen=now, state="online"))
            word = Reported(
                device=name, at=now, release=running, digest="b" * 64, step=step, wanted=wanted, reason=reason
            )
            fleet.write_reported(connection, word, now)
            writing.mark_change(connection)

    def claim(self, ago: timedelta = timedelta()) -> Job:
        job = self.jobs.claim("gpu-box", datetime.now(UTC) - ago)
        assert job is not None
        return job

    def train(self, job: Job, epochs: int, *, done: float, ago: timedelta = timedelta()) -> None:
        curve = tuple(
            Point(epoch=epoch, loss=0.7 + 3.1 * 0.9**epoch, map50=0.72 - 0.6 * 0.92**epoch)
            for epoch in range(1, epochs + 1)
        )
        self.jobs.progress(
            job.id, Progress(lease=job.lease, stage="train", done=done, curve=curve), datetime.now(UTC) - ago
        )

    def end(self, job: Job, outcome: Outcome) -> None:
        self.jobs.end(job.id, outcome, datetime.now(UTC))

    def close(self) -> None:
        self._server.stop()
        self._thread.join(10)
        self.engine.dispose()


def comparison(split: str, gain: float) -> Comparison:
    def scores(more: float) -> Scores:
        recalls = {Label.WITH_MASK: 0.836, Label.WITHOUT_MASK: 0.705, Label.MASK_WORN_INCORRECTLY: 0.698}
        return Scores(
            map50=0.72 + more, map50_95=0.374 + more / 2, images=150,
            per_class={
                label: ClassScore(ap50=0.7, ap50_95=0.4, recall=recall + more * (-1) ** index, precision=0.8)
                for index, (label, recall) in enumerate(recalls.items())
            },
        )  # fmt: skip

    return Comparison(split=split, champion=scores(0), candidate=scores(gain))
