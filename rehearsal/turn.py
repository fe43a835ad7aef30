"""`make demo-loop`: one full turn of the learning loop in front of one's eyes, from a face at a door to a release on it."""

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contract.labels import LABELS as LABEL_NAMES
from rehearsal.demo import OPEN, drawn_doors, say, start
from rehearsal.house import Doorway, House
from rehearsal.oracle import LABELLER, label_all
from rehearsal.processes import Child, RehearsalError
from rehearsal.scene import write_dataset

LABELS = 100  # that make a training due in this demo
CLOUD = f"""
canary_soak_s = 10
answer_within_s = 300

[retraining]
new_labels = {LABELS}
cool_down_s = 0
check_every_s = 3
{OPEN}"""
LEARNING = "[learning]\ncrops = true\nwindow_s = 60\nbudget = 15\n"
EPOCHS = 6
FASHION = 0.5  # of the people at the doors wear a mask that the factory model has never seen
FIT, JUDGE = 240, 240  # drawn pictures to learn from besides the crops, and to judge on


class Turn:
    """The steps of one turn, each of which ends with something that can be looked at."""

    def __init__(self, house: House, doors: Sequence[Doorway], *, oracle: bool, enough: threading.Event) -> None:
        self._house, self._doors, self._oracle, self._enough = house, doors, oracle, enough
        self._trainer: Child | None = None
        self._told = ""

    def crops(self) -> None:
        """Wait until the doors have sent enough crops to label."""
        say(f"1 of 4, crops: the doors choose faces worth a label; {LABELS} are wanted")

        def enough() -> bool:
            progress = self._house.ask("labels/progress")
            have = progress["waiting"] + progress["labelled"]
            self._tell(f"crops in the cloud: {have} of {LABELS}")
            return bool(have >= LABELS)

        self._until(enough, within_s=600, what=f"{LABELS} crops")

    def labels(self) -> None:
        """The visitor labels, or the oracle does."""
        page = f"{self._house.page}label"
        if self._oracle:
            say(f"2 of 4, labels: '{LABELLER}' answers, because ORACLE=1; watch {page}")
            clips = {door.name: door.clip for door in self._doors}
            token = self._house.token("oracle")
            self._until(lambda: self._label(clips, token), within_s=300, what=f"{LABELS} labels")
            return
        say(f"2 of 4, labels: it is your turn: open {page} and label {LABELS} crops (keys 1 2 3 0 ?)")
        self._until(self._labelled, within_s=3600, what=f"{LABELS} labels")

    def training(self, data: Path, work: Path) -> dict[str, Any]:
        """A real short training; returns the job as it ended."""
        token = self._house.folder / "trainer.token"
        token.touch(mode=0o600)
        token.write_text(self._house.token("trainer"))
        say(f"3 of 4, training: {EPOCHS} epochs, then int8, then the gate; curves at {self._house.page}learning")
        self._trainer = self._house.start(
            "trainer", "trainer", "work", "--cloud", self._house.page.rstrip("/"), "--token-file", token,
            "--keys", self._house.trainer_keys, "--folder", work, "--epochs", str(EPOCHS), "--name", "rehearsal-trainer",
            "--data", data, "--once",
        )  # fmt: skip
        ended: list[dict[str, Any]] = []

        def over() -> bool:
            (job, *_) = self._house.ask("jobs") or [{}]
            if job.get("outcome"):
                ended.append(job)
                return True
            curve = job.get("curve") or []
            epoch = f", epoch {curve[-1]['epoch']}: loss {curve[-1]['loss']:.2f}" if curve else ""
            self._tell(f"{job.get('stage') or 'waiting'} {100 * job.get('done', 0):.0f} %{epoch}")
            return False

        self._until(over, within_s=1500, what="the end of the training")
        return ended[0]

    def rollout(self, release: int) -> None:
        """Wait until every door runs `release`. Raises RehearsalError where the rollout is halted."""
        say(f"4 of 4, rollout: first some doors, then all; watch {self._house.page}fleet")

        def everywhere() -> bool:
            view = self._house.ask("rollout")
            doors = ", ".join(f"{door['name']}: {door['running']} {door['step']}" for door in view["doors"])
            self._tell(f"release {view['release']} {view['state']}, group {view['group']}; {doors}")
            if view["state"] == "halted":
                raise RehearsalError(f"the rollout was halted: {view['reason']}")
            return bool(view["release"] == release and view["state"] == "done")

        self._until(everywhere, within_s=300, what=f"every door on release {release}")

    def _label(self, clips: dict[str, Path], token: str) -> bool:
        label_all(self._house.page, token, clips)
        return self._labelled()

    def _labelled(self) -> bool:
        done = self._house.ask("labels/progress")["labelled"]
        self._tell(f"labelled: {done} of {LABELS}")
        return bool(done >= LABELS)

    def _until(self, ready: Callable[[], bool], *, within_s: float, what: str) -> None:
        ends = time.monotonic() + within_s
        while not ready():
            if self._enough.wait(1.0):
                raise KeyboardInterrupt
            if time.monotonic() > ends:
                raise RehearsalError(f"{what} did not come within {within_s:g} s; see {self._house.folder / 'logs'}")
            self._house.require_running()
            if self._trainer and not self._trainer.running and self._trainer.process.returncode:
                self._trainer.require_running()

    def _tell(self, text: str) -> None:
        if text == self._told:
            return
        self._told = text
        print(f"  {text}", flush=True)


def run(*, folder: Path, port: int, oracle: bool) -> None:
    """One turn, all of it drawn. With `oracle` it labels by the drawn truth and ends by itself. Raises RehearsalError."""
    enough = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: enough.set())
    begun = time.monotonic()
    doors = drawn_doors(folder.parent / "clips", settings=LEARNING, fashion=FASHION)
    data = _base_data(folder.parent / "drawn")
    shutil.rmtree(folder, ignore_errors=True)
    house = House(folder, port=port, cloud_settings=CLOUD)
    house.found_releases()
    turn = Turn(house, doors, oracle=oracle, enough=enough)
    try:
        start(house, doors)
        say(f"a new season: half of the people wear masks with a face printed on them; open {house.page}")
        say(f"to label and to see the training and the rollout, become its admin: {house.welcome}")
        turn.crops()
        turn.labels()
        job = turn.training(data, folder / "trainer")
        print(verdict(job))
        if job["state"] == "published":
            turn.rollout(job["release"])
            print("\n".join(f"{door['name']:10} runs release {door['release']}" for door in house.overview()))
        say(f"one turn took {(time.monotonic() - begun) / 60:.1f} minutes")
        if not oracle:
            say(f"{house.page}learning and {house.page}fleet stay open until Ctrl-C")
            enough.wait()
    except KeyboardInterrupt:
        say("stopped by hand")
    finally:
        house.stop()


def verdict(job: dict[str, Any]) -> str:
    """What the gate said, with the numbers it saw."""
    outcome = job["outcome"]
    lines = [f"the gate: release {job['release']} may ship" if job["state"] == "published" else f"job {job['state']}:"]
    lines += [f"  - {objection}" for objection in outcome["objections"]]
    for pair in outcome["comparisons"]:
        old, new = pair["champion"], pair["candidate"]
        lines.append(
            f"  {pair['split']} ({new['images']} pictures): mAP50 {old['map50']:.3f} -> {new['map50']:.3f}, "
            f"mAP50-95 {old['map50_95']:.3f} -> {new['map50_95']:.3f}"
        )
    return "\n".join([*lines, *(f"  {note}" for note in outcome["notes"])])


def _base_data(folder: Path) -> Path:
    """Pictures to learn from besides the crops, of the old season; and to judge on, of the new one. All are drawn."""
    version = f"{FIT}-{JUDGE}-{FASHION:g}"
    data = folder / version / "data.yaml"
    if not data.is_file():
        say(f"drawing {FIT} pictures of the old season to learn from, and {JUDGE} of the new one to judge on")
        write_dataset(data.parent / "fit", images=FIT, seed=50_000, progress=_progress)
        write_dataset(data.parent / "judge", images=JUDGE, seed=70_000, fashion=FASHION, progress=_progress)
        for name in ("fit", "judge"):
            images = (data.parent / name / "all.txt").read_text().replace("./", f"./{name}/")
            (data.parent / f"{name}.txt").write_text(images)
        names = "".join(f"  {index}: {label}\n" for index, label in enumerate(LABEL_NAMES))
        data.write_text(f"path: .\ntrain: fit.txt\nval: judge.txt\nnames:\n{names}")
    return data


def _progress(done: int, total: int) -> None:
    if done == total or (sys.stdout.isatty() and done % 20 == 0):
        print(f"\r{done} of {total} frames", end="\n" if done == total else "", flush=True)
