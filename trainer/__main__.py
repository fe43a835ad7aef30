"""`trainer`: one command per stage, from labelled photographs to the file that runs on the door."""

import argparse
import json
import logging
import platform
import signal
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import ContractError, TryAgainError
from contract.labels import LABELS
from trainer import environment
from trainer.dataset import read_split
from trainer.run import CONFIG, SURVEY, Recipe, Run, Source

if TYPE_CHECKING:
    from trainer.pack import Pack

BASE = Path(__file__).parent / "models" / "base" / "weights.npz"
FACTORY = Path(__file__).resolve().parents[1] / "agent" / "models" / "factory" / "model.tflite"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 1 where the gate objects, or 2 with one line on stderr that says what to do."""
    options = _parser().parse_args(arguments)
    try:
        return options.stage(options) or 0
    except (ContractError, TryAgainError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trainer", description="From labelled photographs to the file that runs on the door."
    )
    stages = parser.add_subparsers(dest="command", required=True)

    setup = stages.add_parser(
        "environments", help="install the training and conversion environments, outside the checkout"
    )
    setup.set_defaults(stage=_environments)

    dataset = stages.add_parser(
        "dataset", help="read every image and label of data sets: count, digest, find what is wrong"
    )
    _add_recipe(dataset)
    dataset.set_defaults(stage=_dataset)

    train = stages.add_parser("train", help="fit yolov5n; writes a run folder")
    _add_recipe(train)
    train.add_argument("--resume", action="store_true", help="go on with a run that was cut off")
    train.set_defaults(stage=_train)

    whole = stages.add_parser("run", help="all stages from photographs to the gate's word; goes on where it stopped")
    _add_recipe(whole)
    whole.add_argument("--release", type=int, required=True, help="release number; grows with every release")
    whole.add_argument("--export-size", type=int, help="px of the shipped input; by default --image-size")
    whole.add_argument(
        "--champion", type=Path, default=FACTORY, help="what it is judged against; by default the factory model"
    )
    _add_hard(whole)
    whole.set_defaults(stage=_run)

    gate = stages.add_parser("gate", help="may a candidate ship? both files on the same images; exit code 1: no")
    gate.add_argument("candidate", type=Path, help="the TFLite file, its manifest.json beside it")
    gate.add_argument("--champion", type=Path, default=FACTORY, help="by default the factory model")
    gate.add_argument(
        "--data", action="append", required=True, metavar="DATA.yaml:SPLIT", help="to judge on; repeatable"
    )
    _add_hard(gate)
    gate.set_defaults(stage=_gate)

    release = stages.add_parser("release", help="sign a whole run that the gate let through, and publish it")
    release.add_argument("run", type=Path, help="the run folder of `trainer run`")
    _add_cloud(release)
    release.set_defaults(stage=_release)

    base = stages.add_parser("base", help="an int8 file of ours to the float weights that trainings start from")
    base.add_argument("model", type=Path, help="the TFLite file, its manifest.json beside it")
    base.add_argument("--data", type=Path, required=True, metavar="DATA.yaml", help="typical pictures")
    base.add_argument("--split", default="train")
    base.add_argument("--out", type=Path, required=True, metavar="WEIGHTS.npz")
    base.set_defaults(stage=_base)

    export = stages.add_parser("export", help="a finished run to int8 TFLite, manifest and model card")
    export.add_argument("run", type=Path, help="the run folder")
    export.add_argument("--image-size", type=int, help="px, a multiple of 32; by default what it was trained at")
    export.add_argument("--release", type=int, required=True, help="release number; grows with every release")
    export.add_argument("--out", type=Path, required=True, help="folder for the model, its manifest and its card")
    export.set_defaults(stage=_export)

    work = stages.add_parser(
        "work", help="train when the cloud asks for it: claim, train, export, judge, sign, publish"
    )
    _add_cloud(work)
    work.add_argument("--name", default=platform.node().lower() or "trainer", help="how the cloud calls this trainer")
    work.add_argument(
        "--data", action="append", default=[], metavar="DATA.yaml[:TRAIN[:VAL]]",
        help="what is learned besides the crops, and what judges beside them; repeatable",
    )  # fmt: skip
    work.add_argument("--base", type=Path, default=BASE, help="weights that every training starts from, .npz")
    work.add_argument("--epochs", type=int, default=12)
    work.add_argument("--image-size", type=int, help="px, a multiple of 32; by default the champion's")
    work.add_argument("--batch", type=int, default=16)
    work.add_argument("--rate", type=float, default=0.0004, help="of learning, at its highest")
    work.add_argument("--limit", type=int, help="use at most so many pictures of each data set: for a quick try")
    work.add_argument("--once", action="store_true", help="end after one job")
    work.set_defaults(stage=_work)

    evaluate = stages.add_parser("evaluate", help="score an int8 file through the device's own decoder")
    evaluate.add_argument("model", type=Path, help="the TFLite file, its manifest.json beside it")
    evaluate.add_argument("--data", type=Path, required=True, metavar="DATA.yaml")
    evaluate.add_argument("--split", required=True, help="a key of the data.yaml, or the name of a list file beside it")
    evaluate.add_argument(
        "--min-box", type=float, default=0.0, help="ignore boxes narrower than this share of the image's longer side"
    )
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(stage=_evaluate)

    hard = stages.add_parser("hard", help="what an int8 file makes of the cases that fool it, case by case")
    hard.add_argument("model", type=Path, help="the TFLite file, its manifest.json beside it")
    hard.add_argument("--data", type=Path, required=True, metavar="DATA.yaml", help="of `python -m rehearsal hard`")
    hard.add_argument("--split", default="test", help="a key of the data.yaml, or the name of a list file beside it")
    hard.add_argument("--cases", type=Path, metavar="FILE.csv", help="file,case; by default cases.csv beside the data")
    hard.add_argument("--json", action="store_true")
    hard.set_defaults(stage=_hard)
    return parser


def _add_hard(stage: argparse.ArgumentParser) -> None:
    stage.add_argument(
        "--hard",
        metavar="DATA.yaml:SPLIT",
        help="hard cases to judge on besides, with a cases.csv beside the data.yaml",
    )


def _add_recipe(stage: argparse.ArgumentParser) -> None:
    stage.add_argument(
        "--data", action="append", default=[], metavar="DATA.yaml[:TRAIN[:VAL]]", help="a YOLO data set; repeatable"
    )
    stage.add_argument("--base", type=Path, default=BASE, help="weights to start from, .npz; by default our own")
    stage.add_argument("--epochs", type=int, default=50)
    stage.add_argument("--image-size", type=int, default=320, help="px, a multiple of 32")
    stage.add_argument("--batch", type=int, default=16)
    stage.add_argument("--seed", type=int, default=0)
    stage.add_argument("--rate", type=float, default=0.001, help="of learning, at its highest")
    stage.add_argument("--scale", type=float, default=0.6, help="show pictures 1 - SCALE to 1 + SCALE times their size")
    stage.add_argument("--mixup", type=float, default=0.1, help="share of pictures that are laid over another")
    stage.add_argument("--eyes", type=float, default=0.1, help="share of faces shown with their eyes filled")
    stage.add_argument(
        "--repeat", action="append", default=[], metavar="LABEL=N", help="list pictures with LABEL N times; repeatable"
    )
    stage.add_argument("--out", type=Path, required=True, help="the run folder")


def _add_cloud(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--cloud", required=True, metavar="URL", help="https://HOST[:PORT]")
    stage.add_argument(
        "--ca", type=Path, metavar="PEM", help="authority of the cloud's certificate; by default the system's"
    )
    stage.add_argument("--token-file", type=Path, required=True, help="holds what `cloud token NAME` printed")
    stage.add_argument("--keys", type=Path, required=True, metavar="FOLDER", help="holds releases.pem, of `cloud keys`")
    stage.add_argument(
        "--folder",
        type=Path,
        default=Path("trainer-work"),
        help="jobs, pictures and what was signed last; made if missing",
    )


def _environments(_: argparse.Namespace) -> None:
    for name in environment.NAMES:
        environment.install(name)


def _dataset(options: argparse.Namespace) -> None:
    from trainer.complete import look_over

    run = _new_run(options)
    look_over(run)
    print((run.folder / SURVEY).read_text(), end="")


def _run(options: argparse.Namespace) -> None:
    from trainer.complete import run_stages, tell

    size = options.export_size or options.image_size
    _require_image_size(size)
    run, hard = _new_run(options), _pack(options)
    if (run.folder / CONFIG).is_file() and Run.open(run.folder) != run:
        raise ContractError(f"{run.folder} holds another run (its {CONFIG} differs): choose another --out")
    run.save()
    word = run_stages(run, size=size, release=options.release, champion=options.champion, hard=hard)
    tell(word)
    print(f"the run is whole: {run.folder}")


def _gate(options: argparse.Namespace) -> int:
    from trainer.complete import exhibit, tell
    from trainer.judge import judge

    exhibits = [exhibit(*_data_and_split("--data", text)) for text in options.data]
    word = judge(options.champion, options.candidate, exhibits, hard=_pack(options))
    tell(word)
    return 1 if word.objections else 0


def _data_and_split(option: str, text: str) -> tuple[Path, str]:
    path, _, split = text.rpartition(":")
    if not path:
        raise ContractError(f"{option} takes DATA.yaml:SPLIT, not {text!r}")
    return Path(path), split


def _pack(options: argparse.Namespace) -> "Pack | None":
    from trainer.pack import Pack

    return Pack.read(*_data_and_split("--hard", options.hard)) if options.hard else None


def _release(options: argparse.Namespace) -> None:
    from trainer.complete import publish
    from trainer.link import Link
    from trainer.release import Signer

    link = Link.open(options.cloud, _token(options), options.ca)
    try:
        number = publish(options.run, Signer(options.keys, options.folder), link, datetime.now(UTC))
    finally:
        link.close()
    print(f"release {number} is published; the cloud rolls it out")


def _token(options: argparse.Namespace) -> str:
    try:
        return str(options.token_file.read_text().strip())
    except OSError as error:
        raise ContractError(f"cannot read the token in {options.token_file}: {error.strerror}") from error


def _train(options: argparse.Namespace) -> None:
    if options.resume:
        run = Run.open(options.out)
        if not run.last.is_file():
            raise ContractError(f"nothing to resume in {options.out}: no epoch was finished; start without --resume")
    else:
        run = _new_run(options)
    run.save()
    environment.run("train", "trainer.train", [run.folder.resolve(), *(["--resume"] if options.resume else [])])


def _new_run(options: argparse.Namespace) -> Run:
    if not options.data or not options.base:
        raise ContractError("train needs --data DATA.yaml (one or more) and --base WEIGHTS.npz")
    if not options.base.is_file():
        raise ContractError(f"no base weights at {options.base}")
    _require_image_size(options.image_size)
    sources = tuple(Source.parse(text) for text in options.data)
    for source in sources:  # a typo is better found now than by another program
        for split in filter(None, (source.train, source.val)):
            read_split(source.data, split)
    if not any(source.val for source in sources):
        raise ContractError("no data set has a validation split: name one as DATA.yaml:TRAIN:VAL")
    sources = tuple(Source(source.data.resolve(), source.train, source.val) for source in sources)
    for name in ("scale", "mixup", "eyes"):
        if not 0 <= getattr(options, name) < 1:
            raise ContractError(f"--{name} lies between 0 and 1, not {getattr(options, name):g}")
    recipe = Recipe(
        options.base.resolve(), options.epochs, options.image_size, options.batch, options.seed, options.rate, options.scale,
        dict(_repeat(text) for text in options.repeat), options.mixup, options.eyes,
    )  # fmt: skip
    return Run(options.out, sources, recipe)


def _base(options: argparse.Namespace) -> None:
    from contract.release import read_manifest
    from trainer.base import recover

    size = read_manifest(options.model).input_size
    with tempfile.TemporaryDirectory() as work:
        recover(options.model, read_split(options.data, options.split), size, Path(work), options.out)
    print(f"wrote {options.out}")


def _export(options: argparse.Namespace) -> None:
    from trainer.export import export

    run = Run.open(options.run)
    size = options.image_size or run.recipe.image_size
    _require_image_size(size)
    judged = next(source for source in run.sources if source.val)
    manifest = export(
        run, calibration=read_split(judged.data, judged.train), validation=read_split(judged.data, judged.val),
        size=size, release=options.release, out=options.out,
    )  # fmt: skip
    print(json.dumps(manifest.metrics, indent=2))
    print(f"wrote {options.out}: model, manifest and card")


def _work(options: argparse.Namespace) -> None:
    from trainer.link import Link
    from trainer.release import Signer
    from trainer.retrain import Retraining
    from trainer.worker import Worker

    if not options.data:
        raise ContractError("work needs --data DATA.yaml, one or more: what is learned besides the crops")
    if options.image_size:
        _require_image_size(options.image_size)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    retraining = Retraining(
        base=options.base, sources=tuple(Source.parse(text) for text in options.data), epochs=options.epochs,
        image_size=options.image_size, batch=options.batch, rate=options.rate, limit=options.limit,
    )  # fmt: skip
    link = Link.open(options.cloud, _token(options), options.ca)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    try:
        Worker(link, Signer(options.keys, options.folder), options.folder, options.name, retraining).run(
            once=options.once, done=done
        )
    finally:
        link.close()


def _repeat(text: str) -> tuple[str, int]:
    label, _, number = text.partition("=")
    if label not in [str(one) for one in LABELS] or not number.isdigit() or not 1 <= int(number) <= 5:
        raise ContractError(f"--repeat takes LABEL=N with N from 1 to 5, not {text!r}; labels: {', '.join(LABELS)}")
    return label, int(number)


def _require_image_size(size: int) -> None:
    if size % 32 or not 32 <= size <= 1280:
        raise ContractError(f"--image-size must be a multiple of 32 from 32 to 1280, not {size}")


def _evaluate(options: argparse.Namespace) -> None:
    from trainer.evaluate import evaluate, show_progress

    if not 0 <= options.min_box < 1:
        raise ContractError(f"--min-box is a share between 0 and 1, not {options.min_box:g}")
    report = evaluate(
        options.model, read_split(options.data, options.split), min_box=options.min_box, progress=show_progress
    )
    if options.json:
        print(json.dumps(report.as_json()))
        return
    print(f"{report.images} images: mAP50 {report.map50:.3f}, mAP50-95 {report.map50_95:.3f}")
    for label, score in report.per_class.items():
        print(
            f"  {label:24} AP50 {score.ap50:.3f}  AP50-95 {score.ap50_95:.3f}  recall {score.recall:.3f}  precision {score.precision:.3f}"
        )


def _hard(options: argparse.Namespace) -> None:
    from trainer.evaluate import show_progress
    from trainer.hard import as_json, table
    from trainer.pack import Pack

    pack = Pack.read(options.data, options.split, options.cases)
    told = as_json(pack.show(options.model, show_progress))
    print(json.dumps(told) if options.json else f"{len(pack.pictures)} images\n\n{table(told)}")


if __name__ == "__main__":
    sys.exit(main())
