"""`trainer run`: every stage in one go, into one folder that explains itself; the manifest is written last."""

import csv
import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from contract.errors import ContractError
from contract.release import COMPILED_NAME, GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME, read_manifest
from trainer import environment
from trainer.card import CARD_NAME, HARD, write_card
from trainer.dataset import read_split, survey
from trainer.evaluate import show_progress
from trainer.export import export
from trainer.gap import agreement
from trainer.golden import save_manifest, write_golden_frames
from trainer.hard import as_json, share_right
from trainer.judge import Exhibit, Judgement, judge
from trainer.link import Link
from trainer.pack import Pack
from trainer.pictures import draw_pictures
from trainer.release import Signer, release_files
from trainer.run import SURVEY, Run
from trainer.whole import write_whole

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
GATE = "gate.json"
AGREEMENT = "runtimes.json"


def run_stages(run: Run, *, size: int, release: int, champion: Path, hard: Pack | None = None) -> Judgement:
    """Survey, train, export, golden frames, runtimes, gate, pictures; goes on where an earlier attempt stopped.

    `run.folder` then holds pictures, the gate's word, golden frames, model, card and, written last, the manifest.
    Raises ContractError that says what to mend; what was finished before stays.
    """
    look_over(run)
    train(run)
    judged = next(source for source in run.sources if source.val)
    validation = read_split(judged.data, judged.val)
    candidate = run.folder / "candidate"
    if (candidate / GOLDEN_NAME).exists():
        _say("export", "done before")
    else:
        _say("export", "int8, thresholds, scores before and after quantisation, golden frames")
        export(
            run, calibration=read_split(judged.data, judged.train), validation=validation, size=size, release=release,
            out=candidate,
        )  # fmt: skip
        write_golden_frames(candidate / MODEL_NAME, validation)
    _say("runtimes", " and ".join(RUNTIMES))
    same = agreement(candidate / MODEL_NAME, validation, RUNTIMES, show_progress)
    told = {
        "runtimes": RUNTIMES,
        "images": len(validation.images),
        "same": same.same,
        "found": same.found,
        "share": same.share,
    }
    _write(run.folder / AGREEMENT, told)
    _say("runtimes", f"the same in {100 * same.share:.1f} % of {same.found} detections")
    _say("gate", f"against release {read_manifest(champion).release}")
    word = judge(champion, candidate / MODEL_NAME, [exhibit(judged.data, judged.val)], show_progress, hard=hard)
    record(word, run.folder / GATE)
    if hard:
        keep(hard, word, candidate / MODEL_NAME)
    _say("pictures", "curves, confusions, thresholds and the worst mistakes")
    draw_pictures(run, candidate / MODEL_NAME, validation, progress=show_progress)
    compiled = (COMPILED_NAME,) if (candidate / COMPILED_NAME).exists() else ()
    for name in (MODEL_NAME, *compiled, GOLDEN_NAME, CARD_NAME, MANIFEST_NAME):  # with the last one the run is whole
        half = run.folder / f"{name}.half"
        shutil.copyfile(candidate / name, half)
        half.replace(run.folder / name)
    return word


def publish(folder: Path, signer: Signer, link: Link, now: datetime) -> int:
    """The release stage: sign and publish a whole run that the gate let through; returns its number.

    Raises ContractError where the run is not whole or the gate objects.
    """
    try:
        files = release_files(folder)
        word = json.loads((folder / GATE).read_text())
    except (ContractError, OSError, ValueError) as error:
        raise ContractError(f"{folder} is not a whole run: {error}; `trainer run` goes on where it stopped") from error
    if not word["may_ship"]:
        raise ContractError(f"the gate objects to {folder}: {'; '.join(word['objections'])}")
    manifest = read_manifest(folder / MODEL_NAME)
    signer.publish(link, manifest.release, files, now)
    return manifest.release


def look_over(run: Run) -> None:
    """The data-set stage: every image and label of every split is read, counted and digested into `data.json`."""
    if (run.folder / SURVEY).exists():
        _say("dataset", "looked over before")
        return
    found: list[dict[str, Any]] = []
    for source in run.sources:
        for name in filter(None, (source.train, source.val)):
            _say("dataset", f"{source.data.parent.name}, split {name}")
            found.append(
                {"set": source.data.resolve().parent.name, **survey(read_split(source.data, name), show_progress)}
            )
    run.save()
    _write(run.folder / SURVEY, found)


def train(run: Run) -> None:
    """The training stage; goes on from the last finished epoch of an earlier attempt."""
    if run.weights.is_file():
        _say("train", "done before")
        return
    resume = run.last.is_file()
    _say("train", "going on from the last finished epoch" if resume else f"{run.recipe.epochs} epochs")
    environment.run("train", "trainer.train", [run.folder.resolve(), *(["--resume"] if resume else [])])


def record(word: Judgement, path: Path) -> None:
    """The gate's word as JSON."""
    told = {
        "may_ship": not word.objections, "objections": word.objections, "notes": word.notes,
        "comparisons": [one.model_dump(mode="json") for one in word.comparisons],
        "hard": {which: as_json([getattr(one, which) for one in word.hard]) for which in ("champion", "candidate")},
    }  # fmt: skip
    _write(path, told)


def keep(hard: Pack, word: Judgement, model: Path) -> None:
    """What the candidate made of the hard cases, into the manifest and the card beside it."""
    told = {"split": hard.split, "images": len(hard.pictures), **as_json([one.candidate for one in word.hard])}
    manifest = read_manifest(model)
    scores = {name: one for name, one in manifest.metrics.items() if not name.startswith(HARD)}
    manifest = manifest.model_copy(update={"metrics": scores | {f"{HARD}{hard.name}": told}})
    write_card(manifest, model.parent)
    save_manifest(manifest, model.parent)


def groups_beside(data: Path) -> Mapping[str, str]:
    """Which images of a data set are of one scene: `file` and `dup_group` of the `sources.csv` beside it, if there is one."""
    listing = data.parent / "sources.csv"
    if not listing.is_file():
        return {}
    with listing.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    try:
        return {Path(row["file"]).name: row["dup_group"] for row in rows}
    except KeyError as error:
        raise ContractError(f"{listing} has no column {error}: expected file and dup_group") from error


def exhibit(data: Path, name: str) -> Exhibit:
    """A split of a data set to judge on, grouped by scene where that is known."""
    return Exhibit.of(name, read_split(data, name), groups_beside(data))


def tell(word: Judgement) -> None:
    """The gate's word on stdout."""
    for pair in word.comparisons:
        old, new = pair.champion, pair.candidate
        print(
            f"{pair.split} ({new.images} images): mAP50 {old.map50:.3f} -> {new.map50:.3f}, mAP50-95 {old.map50_95:.3f} -> {new.map50_95:.3f}"
        )
        for label, score in new.per_class.items():
            before = old.per_class.get(label)
            print(
                f"  {label:24} AP50 {before.ap50 if before else 0:.3f} -> {score.ap50:.3f}  recall {before.recall if before else 0:.3f} -> {score.recall:.3f}"
            )
    if word.hard:
        shares = [share_right([getattr(one, which) for one in word.hard]) for which in ("champion", "candidate")]
        print(f"hard cases, said right: {100 * shares[0]:.1f} % -> {100 * shares[1]:.1f} %")
    for one in word.hard:
        print(f"  {one.champion.case:24} {one.champion.right} -> {one.candidate.right} of {one.champion.faces}")
    for note in word.notes:
        print(f"  {note}")
    print("the gate: it may ship" if not word.objections else "the gate objects:")
    for objection in word.objections:
        print(f"  {objection}")


def _write(path: Path, content: Any) -> None:
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


def _say(stage: str, what: str) -> None:
    print(f"{stage}: {what}", flush=True)
