"""`trainer`: one command per stage, from labelled photographs to the file that runs on the door."""

import argparse
import json
import logging
import platform
import signal
import sys
import tempfile
import threading
from pathlib import Path

from contract.errors import ContractError, TryAgainError
from contract.labels import LABELS
from trainer import environment
from trainer.dataset import read_split
from trainer.run import Recipe, Run, Source

BASE = Path(__file__).parent / "models" / "base" / "weights.npz"
FACTORY = Path(__file__).resolve().parents[1] / "agent" / "models" / "factory" / "model.tflite"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one line on stderr that says what to do."""
    options = _parser().parse_args(arguments)
    try:
        options.stage(options)
    except (ContractError, TryAgainError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trainer", description="From labelled photographs to the file that runs on the door."
    )
    stages = parser.add_subparsers(dest="command", required=True)

    setup = stages.add_parser(
        "environments", help="install the training and conversion environments, outside the checkout"
    )
    setup.set_defaults(stage=_environments)

    train = stages.add_parser("train", help="fit yolov5n; writes a run folder")
    train.add_argument(
        "--data", action="append", default=[], metavar="DATA.yaml[:TRAIN[:VAL]]", help="a YOLO data set; repeatable"
    )
    train.add_argument("--base", type=Path, help="weights to start from, .npz")
    train.add_argument("--epochs", type=int, default=50)
    train.add_argument("--image-size", type=int, default=256, help="px, a multiple of 32")
    train.add_argument("--batch", type=int, default=16)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--rate", type=float, default=0.0015, help="of learning, at its highest")
    train.add_argument("--scale", type=float, default=0.5, help="show pictures 1 - SCALE to 1 + SCALE times their size")
    train.add_argument("--mixup", type=float, default=0.0, help="share of pictures that are laid over another")
    train.add_argument("--eyes", type=float, default=0.0, help="share of faces shown with their eyes filled")
    train.add_argument(
        "--repeat", action="append", default=[], metavar="LABEL=N", help="list pictures with LABEL N times; repeatable"
    )
    train.add_argument("--out", type=Path, required=True, help="the run folder")
    train.add_argument("--resume", action="store_true", help="go on with a run that was cut off")
    train.set_defaults(stage=_train)

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
    work.add_argument("--cloud", required=True, metavar="URL", help="https://HOST[:PORT]")
    work.add_argument(
        "--ca", type=Path, metavar="PEM", help="authority of the cloud's certificate; by default the system's"
    )
    work.add_argument("--token-file", type=Path, required=True, help="holds what `cloud token NAME` printed")
    work.add_argument("--keys", type=Path, required=True, metavar="FOLDER", help="holds releases.pem, of `cloud keys`")
    work.add_argument(
        "--folder", type=Path, default=Path("trainer-work"), help="jobs, pictures and logs; made if missing"
    )
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

    baseline = stages.add_parser(
        "baseline",
        help="train the two-stage way (OpenCV's face detector, then MobileNetV2) and measure it beside the one model",
    )
    baseline.add_argument(
        "--data", required=True, metavar="DATA.yaml[:TRAIN[:VAL]]", help="learned from and judged on, by both ways"
    )
    baseline.add_argument(
        "--out", type=Path, required=True, help="crops, classifier and measured.json; what is there is kept"
    )
    baseline.add_argument("--model", type=Path, default=FACTORY, help="the one model, its manifest.json beside it")
    baseline.add_argument("--image-size", type=int, default=96, help="px of the classifier's input, a multiple of 32")
    baseline.add_argument("--alpha", type=float, default=0.5, help="MobileNetV2's width")
    baseline.add_argument("--epochs", type=int, default=60)
    baseline.add_argument("--batch", type=int, default=64)
    baseline.add_argument("--rate", type=float, default=0.003, help="of learning, at its highest")
    baseline.add_argument("--seed", type=int, default=0)
    baseline.add_argument("--min-box", type=float, default=0.05, help="as in `trainer evaluate`")
    baseline.add_argument("--frames", type=int, default=40, help="timed for each number of faces")
    baseline.add_argument("--document", type=Path, metavar="DOCS", help="write the page's numbers and draw its picture")
    baseline.set_defaults(stage=_baseline)
    return parser


def _environments(_: argparse.Namespace) -> None:
    for name in environment.NAMES:
        environment.install(name)


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
    try:
        token = options.token_file.read_text().strip()
    except OSError as error:
        raise ContractError(f"cannot read the token in {options.token_file}: {error.strerror}") from error
    retraining = Retraining(
        base=options.base, sources=tuple(Source.parse(text) for text in options.data), epochs=options.epochs,
        image_size=options.image_size, batch=options.batch, rate=options.rate, limit=options.limit,
    )  # fmt: skip
    link = Link.open(options.cloud, token, options.ca)
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


def _baseline(options: argparse.Namespace) -> None:
    from trainer.baseline import MEASURED, Recipe, compare, prepare
    from trainer.comparison import measured_part, write_document

    _require_image_size(options.image_size)
    _require_share(options.min_box)
    if min(options.epochs, options.batch, options.frames) < 1 or not 0 < options.alpha <= 2 or options.rate <= 0:
        raise ContractError("--epochs, --batch, --frames, --alpha (at most 2) and --rate must be above 0")
    source = Source.parse(options.data)
    for split in (source.train, source.val):  # a typo is better found before the training
        read_split(source.data, split)
    recipe = Recipe(options.image_size, options.alpha, options.epochs, options.batch, options.rate, options.seed)
    folder = prepare(source, recipe, options.out)
    measured = compare(
        source, options.model, folder, options.out, min_box=options.min_box, frames=options.frames, seed=options.seed
    )
    print(measured_part(measured))
    if options.document:
        write_document(options.out / MEASURED, measured, options.document)
        print(f"wrote {options.document}")


def _require_share(share: float) -> None:
    if not 0 <= share < 1:
        raise ContractError(f"--min-box is a share between 0 and 1, not {share:g}")


def _require_image_size(size: int) -> None:
    if size % 32 or not 32 <= size <= 1280:
        raise ContractError(f"--image-size must be a multiple of 32 from 32 to 1280, not {size}")


def _evaluate(options: argparse.Namespace) -> None:
    from trainer.evaluate import evaluate, show_progress

    _require_share(options.min_box)
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


if __name__ == "__main__":
    sys.exit(main())
