"""`trainer`: one command per stage, from labelled photographs to the file that runs on the door."""

import argparse
import platform
import sys
from pathlib import Path

from contract.errors import ContractError, TryAgainError
from trainer import commands
from trainer.dataset import DOOR_FACE

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
    setup.set_defaults(stage=commands.environments)

    dataset = stages.add_parser(
        "dataset", help="read every image and label of data sets: count, digest, find what is wrong"
    )
    _add_recipe(dataset)
    dataset.set_defaults(stage=commands.dataset)

    train = stages.add_parser("train", help="fit yolov5n; writes a run folder")
    _add_recipe(train)
    train.add_argument("--resume", action="store_true", help="go on with a run that was cut off")
    train.set_defaults(stage=commands.train)

    whole = stages.add_parser("run", help="all stages from photographs to the gate's word; goes on where it stopped")
    _add_recipe(whole)
    whole.add_argument("--release", type=int, required=True, help="release number; grows with every release")
    whole.add_argument("--export-size", type=int, help="px of the shipped input; by default --image-size")
    whole.add_argument(
        "--champion", type=Path, default=FACTORY, help="what it is judged against; by default the factory model"
    )
    _add_hard(whole)
    whole.set_defaults(stage=commands.run)

    gate = stages.add_parser("gate", help="may a candidate ship? both files on the same images; exit code 1: no")
    gate.add_argument("candidate", type=Path, help="the TFLite file, its manifest.json beside it")
    gate.add_argument("--champion", type=Path, default=FACTORY, help="by default the factory model")
    gate.add_argument(
        "--data", action="append", required=True, metavar="DATA.yaml:SPLIT", help="to judge on; repeatable"
    )
    _add_hard(gate)
    gate.set_defaults(stage=commands.gate)

    release = stages.add_parser("release", help="sign a whole run that the gate let through, and publish it")
    release.add_argument("run", type=Path, help="the run folder of `trainer run`")
    _add_cloud(release)
    release.set_defaults(stage=commands.release)

    base = stages.add_parser("base", help="an int8 file of ours to the float weights that trainings start from")
    base.add_argument("model", type=Path, help="the TFLite file, its manifest.json beside it")
    base.add_argument("--data", type=Path, required=True, metavar="DATA.yaml", help="typical pictures")
    base.add_argument("--split", default="train")
    base.add_argument("--out", type=Path, required=True, metavar="WEIGHTS.npz")
    base.set_defaults(stage=commands.base)

    export = stages.add_parser("export", help="a finished run to int8 TFLite, manifest and model card")
    export.add_argument("run", type=Path, help="the run folder")
    export.add_argument("--image-size", type=int, help="px, a multiple of 32; by default what it was trained at")
    export.add_argument("--release", type=int, required=True, help="release number; grows with every release")
    export.add_argument("--out", type=Path, required=True, help="folder for the model, its manifest and its card")
    export.add_argument(
        "--allow-cpu-ops", action="store_true", help="pass what the Edge TPU's compiler leaves partly on the CPU"
    )
    export.set_defaults(stage=commands.export)

    inspect = stages.add_parser("inspect", help="is a TFLite file fit for the Edge TPU? A look without the compiler")
    inspect.add_argument("model", type=Path, help="the TFLite file; it needs no manifest")
    inspect.add_argument("--json", action="store_true")
    inspect.set_defaults(stage=commands.inspect)

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
    _add_hard(work)
    work.add_argument("--once", action="store_true", help="end after one job")
    work.set_defaults(stage=commands.work)

    evaluate = stages.add_parser("evaluate", help="score an int8 file through the device's own decoder")
    evaluate.add_argument("model", type=Path, help="the TFLite file, its manifest.json beside it")
    evaluate.add_argument("--data", type=Path, required=True, metavar="DATA.yaml")
    evaluate.add_argument("--split", required=True, help="a key of the data.yaml, or the name of a list file beside it")
    evaluate.add_argument(
        "--min-box", type=float, default=0.0, help="ignore boxes narrower than this share of the image's longer side"
    )
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(stage=commands.evaluate)

    pictures = stages.add_parser(
        "pictures", help="a run in pictures, in its folder: curves, confusions, thresholds, the worst mistakes"
    )
    pictures.add_argument("run", type=Path, help="the run folder")
    pictures.add_argument("--model", type=Path, help="the int8 file; by default what `export` left in the run folder")
    pictures.add_argument("--data", type=Path, metavar="DATA.yaml", help="by default what the run was validated on")
    pictures.add_argument("--split", help="by default what the run was validated on")
    pictures.add_argument(
        "--min-box",
        type=float,
        default=DOOR_FACE,
        help="leave out boxes narrower than this share of the image's longer side",
    )
    pictures.set_defaults(stage=commands.pictures)

    hard = stages.add_parser("hard", help="what an int8 file makes of the cases that fool it, case by case")
    hard.add_argument("model", type=Path, help="the TFLite file, its manifest.json beside it")
    hard.add_argument("--data", type=Path, required=True, metavar="DATA.yaml", help="of `python -m rehearsal hard`")
    hard.add_argument("--split", default="test", help="a key of the data.yaml, or the name of a list file beside it")
    hard.add_argument("--cases", type=Path, metavar="FILE.csv", help="file,case; by default cases.csv beside the data")
    hard.add_argument("--json", action="store_true")
    hard.set_defaults(stage=commands.hard)
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
    baseline.add_argument("--min-box", type=float, default=DOOR_FACE, help="as in `trainer evaluate`")
    baseline.add_argument("--frames", type=int, default=40, help="timed for each number of faces")
    baseline.add_argument("--document", type=Path, metavar="DOCS", help="write the page's numbers and draw its picture")
    baseline.set_defaults(stage=commands.baseline)
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
        "--tiny", type=float, default=10, metavar="PX", help="paint over faces narrower than PX of the network's input"
    )
    stage.add_argument(
        "--keep", type=float, default=0.0, help="share of the base in the result: both are averaged, weight by weight"
    )
    stage.add_argument(
        "--kept",
        type=Path,
        metavar="WEIGHTS.npz",
        help="average with these instead: what was begun from the base goes on",
    )
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


if __name__ == "__main__":
    sys.exit(main())
