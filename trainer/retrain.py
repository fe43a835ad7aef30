"""A snapshot to a candidate and the gate's word on it: always from the same base, on the base data and all crops so far."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from contract.errors import ContractError
from contract.jobs import Job, Point
from contract.release import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME, read_manifest
from trainer import environment
from trainer.complete import keep
from trainer.dataset import Split, read_split
from trainer.export import export
from trainer.golden import write_golden_frames
from trainer.hard import share_right
from trainer.judge import SEED, Exhibit, Judgement, judge
from trainer.lease import Lease
from trainer.link import GoneError, Link
from trainer.pack import Pack
from trainer.release import release_files
from trainer.run import Recipe, Run, Source
from trainer.snapshot import Composites, build, write_mix
from trainer.worker import Verdict

FACTORY = Path(__file__).resolve().parents[1] / "agent" / "models" / "factory" / MODEL_NAME
EYES = 0.1  # of the base's faces are shown as crops are, eyes filled


@dataclass(frozen=True, slots=True)
class Retraining:
    """How this trainer trains."""

    base: Path
    sources: tuple[Source, ...]
    epochs: int
    image_size: int | None  # px; None: the champion's
    batch: int
    rate: float
    limit: int | None = None  # pictures of each data set
    hard: Pack | None = None  # cases to judge on besides

    def candidate(
        self, job: Job, link: Link, lease: Lease, champion: Mapping[str, bytes] | None, folder: Path
    ) -> Verdict:
        """Train, export, judge; what is in `folder` from an earlier attempt at the same job is used again.

        No picture of a crop is kept here once it has ended, well or not: the cloud's terms would not reach it.
        """
        try:
            return self._candidate(job, link, lease, champion, folder)
        finally:
            shutil.rmtree(folder / "crops", ignore_errors=True)

    def _candidate(
        self, job: Job, link: Link, lease: Lease, champion: Mapping[str, bytes] | None, folder: Path
    ) -> Verdict:
        begun = time.monotonic()
        lease.stage("data")
        if not self.base.is_file():
            raise ContractError(f"no base weights at {self.base}: name them with --base")
        champion_model = _put(champion, folder / "champion")
        size = self.image_size or read_manifest(champion_model).input_size
        composites = composites_of(job, link, lease, folder)
        validation = [self._split(one.data, one.val) for one in self.sources if one.val]
        data, kinds = write_mix(
            folder / "mix", [self._split(one.data, one.train) for one in self.sources], composites.train, validation
        )
        run = Run(
            folder / "run", (Source(data, "mix", "val"),),
            Recipe(self.base.resolve(), self.epochs, size, self.batch, SEED, self.rate, eyes=EYES),
        )  # fmt: skip
        _train(run, lease)
        lease.stage("export")
        out = folder / "candidate"
        whole = read_split(data, "val")
        export(
            run, calibration=read_split(data, "mix"), validation=whole, size=size, release=job.release, out=out,
            wanted=lambda: lease.alive,
        )  # fmt: skip
        lease.require()
        write_golden_frames(out / MODEL_NAME, whole)
        lease.stage("evaluate")
        exhibits = [Exhibit.of("base data, validation", whole)]
        if composites.judge:
            exhibits.append(Exhibit("own crops, control", composites.judge_split, composites.judge_groups))
        word = judge(champion_model, out / MODEL_NAME, exhibits, lease.done, hard=self.hard)
        if self.hard:
            keep(self.hard, word, out / MODEL_NAME)
        lease.stage("gate")
        files = release_files(out)
        notes = (
            f"{kinds['composites']} crops taught among {kinds['epoch']} pictures of an epoch, {len(composites.judge)} judged",
            *([f"{composites.gone} crops were left out: their pictures are no longer kept"] if composites.gone else []),
            *([f"{composites.unreadable} crops were left out: no decoder reads them"] if composites.unreadable else []),
            *word.notes,
            *(f"hard cases: {one}" for one in _hard_cases(word)),
            "own crops are judged as they came, eyes filled: that flatters a candidate which learned from such crops",
            f"{self.epochs} epochs at {size} px; {(time.monotonic() - begun) / 60:.1f} minutes in all",
        )  # fmt: skip
        return Verdict(files, word.objections, word.comparisons, notes, sha256(files[MODEL_NAME]).hexdigest())

    def _split(self, data: Path, name: str) -> Split:
        whole = read_split(data, name)
        if self.limit is None or len(whole.images) <= self.limit:
            return whole
        spots = np.linspace(0, len(whole.images) - 1, self.limit).astype(int)
        return Split(whole.name, tuple(whole.images[spot] for spot in spots))


def _hard_cases(word: Judgement) -> list[str]:
    if not word.hard:
        return []
    before, after = (share_right([getattr(one, which) for one in word.hard]) for which in ("champion", "candidate"))
    return [f"{100 * after:.1f} % are said right, the champion says {100 * before:.1f} %"]


def _put(files: Mapping[str, bytes] | None, folder: Path) -> Path:
    """The champion on disk; without files it is the factory's."""
    if files is None:
        return FACTORY
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MODEL_NAME, MANIFEST_NAME, GOLDEN_NAME):
        (folder / name).write_bytes(files[name])
    return folder / MODEL_NAME


def composites_of(job: Job, link: Link, lease: Lease, folder: Path) -> Composites:
    """The job's crops, fetched and pasted under `folder`; nothing is left of those of earlier jobs.

    Raises ContractError where none of them is kept any more.
    """
    if job.snapshot is None:
        raise ContractError("the job names no snapshot to learn from")
    snapshot = link.snapshot(job.snapshot)
    shutil.rmtree(folder.parent.parent / "pictures", ignore_errors=True)  # of a trainer that was killed
    for copies in folder.parent.glob("*/crops"):
        shutil.rmtree(copies, ignore_errors=True)
    fetched = 0

    def crop(digest: str) -> bytes | None:
        nonlocal fetched
        fetched += 1
        lease.done(fetched, len(snapshot.examples))
        try:
            return link.picture(digest)
        except GoneError:
            return None

    built = build(snapshot, crop, folder / "crops")
    if not built.train:
        raise ContractError(f"none of the {len(snapshot.examples)} crops to learn from can be had: label new ones")
    return built


def _train(run: Run, lease: Lease) -> None:
    lease.stage("train", curve=lambda: curve(run))
    if run.weights.is_file():  # an earlier attempt came further than this
        return
    resume = run.last.is_file()
    run.save()
    environment.run(
        "train", "trainer.train", [run.folder.resolve(), *(["--resume"] if resume else [])],
        wanted=lambda: _count(run, lease),
    )  # fmt: skip
    lease.require()


def _count(run: Run, lease: Lease) -> bool:
    if lease.alive:
        lease.done(len(curve(run)), run.recipe.epochs)
    return lease.alive


def curve(run: Run) -> tuple[Point, ...]:
    """The epochs that a training has finished so far, from its table of results."""
    try:
        return tuple(
            Point(
                epoch=int(row["epoch"]), loss=sum(row[f"train/{part}_loss"] for part in ("box", "cls", "dfl")),
                map50=min(1.0, max(0.0, row["metrics/mAP50(B)"])),
            )
            for row in run.epochs()
        )  # fmt: skip
    except (ContractError, ValueError, KeyError):  # a job does not end for its picture
        return ()
