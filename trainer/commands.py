"""What each command of `trainer` does with its options; heavy imports wait until a command needs them."""

import argparse
import json
import logging
import signal
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import ContractError
from contract.labels import LABELS
from trainer import environment
from trainer.dataset import read_split
from trainer.run import CONFIG, SURVEY, Recipe, Run, Source

if TYPE_CHECKING:
    from trainer.pack import Pack


def environments(_: argparse.Namespace) -> None:
    """Install both environments."""
    for name in environment.NAMES:
        environment.install(name)


def dataset(options: argparse.Namespace) -> None:
    """Look over the data sets and print what they hold."""
    from trainer.complete import look_over

    run = _new_run(options)
    look_over(run)
    print((run.folder / SURVEY).read_text(), end="")


def run(options: argparse.Namespace) -> None:
    """All stages, then the gate's word."""
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


def gate(options: argparse.Namespace) -> int:
    """Judge a candidate; 1 where the gate objects."""
    from trainer.complete import exhibit, tell
    from trainer.judge import judge

    exhibits = [exhibit(*_data_and_split("--data", text)) for text in options.data]
    word = judge(options.champion, options.candidate, exhibits, hard=_pack(options))
    tell(word)
    return 1 if word.objections else 0


def hard(options: argparse.Namespace) -> None:
    """What a file makes of hard cases."""
    from trainer.evaluate import show_progress
    from trainer.hard import as_json, table
    from trainer.pack import Pack

    pack = Pack.read(options.data, options.split, options.cases)
    told = as_json(pack.show(options.model, show_progress))
    print(json.dumps(told) if options.json else f"{len(pack.pictures)} images\n\n{table(told)}")


def release(options: argparse.Namespace) -> None:
    """Sign and publish a whole run."""
    from trainer.complete import publish
    from trainer.link import Link
    from trainer.release import Signer

    link = Link.open(options.cloud, _token(options), options.ca)
    try:
        number = publish(options.run, Signer(options.keys, options.folder), link, datetime.now(UTC))
    finally:
        link.close()
    print(f"release {number} is published; the cloud rolls it out")


def _data_and_split(option: str, text: str) -> tuple[Path, str]:
    path, _, split = text.rpartition(":")
    if not path:
        raise ContractError(f"{option} takes DATA.yaml:SPLIT, not {text!r}")
    return Path(path), split


def _pack(options: argparse.Namespace) -> "Pack | None":
    from trainer.pack import Pack

    return Pack.read(*_data_and_split("--hard", options.hard)) if options.hard else None


def _token(options: argparse.Namespace) -> str:
    try:
        return str(options.token_file.read_text().strip())
    except OSError as error:
        raise ContractError(f"cannot read the token in {options.token_file}: {error.strerror}") from error


def train(options: argparse.Namespace) -> None:
    """Fit the network, or go on with it."""
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
    if options.kept and not options.kept.is_file():
        raise ContractError(f"no weights at {options.kept} to average with")
    _require_image_size(options.image_size)
    sources = tuple(Source.parse(text) for text in options.data)
    for source in sources:  # a typo is better found now than by another program
        for split in filter(None, (source.train, source.val)):
            read_split(source.data, split)
    if not any(source.val for source in sources):
        raise ContractError("no data set has a validation split: name one as DATA.yaml:TRAIN:VAL")
    sources = tuple(Source(source.data.resolve(), source.train, source.val) for source in sources)
    for name in ("scale", "mixup", "eyes", "keep"):
        if not 0 <= getattr(options, name) < 1:
            raise ContractError(f"--{name} lies between 0 and 1, not {getattr(options, name):g}")
    if not 0 <= options.tiny < options.image_size:
        raise ContractError(f"--tiny lies between 0 and the input's {options.image_size} px, not {options.tiny:g}")
    recipe = Recipe(
        options.base.resolve(), options.epochs, options.image_size, options.batch, options.seed, options.rate, options.scale,
        dict(_repeat(text) for text in options.repeat), options.mixup, options.eyes, options.tiny,
        options.keep, options.kept.resolve() if options.kept else None,
    )  # fmt: skip
    return Run(options.out, sources, recipe)


def base(options: argparse.Namespace) -> None:
    """An int8 file back to float weights."""
    from contract.release import read_manifest
    from trainer.base import recover

    size = read_manifest(options.model).input_size
    with tempfile.TemporaryDirectory() as work:
        recover(options.model, read_split(options.data, options.split), size, Path(work), options.out)
    print(f"wrote {options.out}")


def export(options: argparse.Namespace) -> None:
    """A finished run to what ships."""
    from trainer.export import export as write_export

    run = Run.open(options.run)
    size = options.image_size or run.recipe.image_size
    _require_image_size(size)
    judged = next(source for source in run.sources if source.val)
    manifest = write_export(
        run, calibration=read_split(judged.data, judged.train), validation=read_split(judged.data, judged.val),
        size=size, release=options.release, out=options.out, allow_cpu_ops=options.allow_cpu_ops,
    )  # fmt: skip
    print(json.dumps(manifest.metrics, indent=2))
    if manifest.edge_tpu is not None:
        print(
            "\n".join(
                [f"Edge TPU: {manifest.edge_tpu.status}", *(f"  {reason}" for reason in manifest.edge_tpu.reasons)]
            )
        )
    print(f"wrote {options.out}: model, manifest and card")


def inspect(options: argparse.Namespace) -> None:
    """How a file stands with the Edge TPU."""
    from trainer.inspection import in_words
    from trainer.inspection import inspect as look_at

    found = look_at(options.model)
    print(json.dumps(found) if options.json else in_words(found))


def work(options: argparse.Namespace) -> None:
    """Claim jobs until told to stop."""
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
        image_size=options.image_size, batch=options.batch, rate=options.rate, limit=options.limit, hard=_pack(options),
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


def baseline(options: argparse.Namespace) -> None:
    """Measure the two-stage way beside the one model."""
    from trainer.baseline import MEASURED, compare, prepare
    from trainer.baseline import Recipe as ClassifierRecipe
    from trainer.comparison import measured_part, write_document

    _require_image_size(options.image_size)
    _require_share(options.min_box)
    if min(options.epochs, options.batch, options.frames) < 1 or not 0 < options.alpha <= 2 or options.rate <= 0:
        raise ContractError("--epochs, --batch, --frames, --alpha (at most 2) and --rate must be above 0")
    source = Source.parse(options.data)
    for split in (source.train, source.val):  # a typo is better found before the training
        read_split(source.data, split)
    recipe = ClassifierRecipe(
        options.image_size, options.alpha, options.epochs, options.batch, options.rate, options.seed
    )
    folder = prepare(source, recipe, options.out)
    measured = compare(
        source, options.model, folder, options.out, min_box=options.min_box, frames=options.frames, seed=options.seed
    )
    print(measured_part(measured))
    if options.document:
        write_document(options.out / MEASURED, measured, options.document)
        print(f"wrote {options.document}")


def _repeat(text: str) -> tuple[str, int]:
    label, _, number = text.partition("=")
    if label not in [str(one) for one in LABELS] or not number.isdigit() or not 1 <= int(number) <= 5:
        raise ContractError(f"--repeat takes LABEL=N with N from 1 to 5, not {text!r}; labels: {', '.join(LABELS)}")
    return label, int(number)


def _require_image_size(size: int) -> None:
    if size % 32 or not 32 <= size <= 1280:
        raise ContractError(f"--image-size must be a multiple of 32 from 32 to 1280, not {size}")


def _require_share(min_box: float) -> None:
    if not 0 <= min_box < 1:
        raise ContractError(f"--min-box is a share between 0 and 1, not {min_box:g}")


def evaluate(options: argparse.Namespace) -> None:
    """Score a file."""
    from trainer.evaluate import evaluate as score_file
    from trainer.evaluate import show_progress

    _require_share(options.min_box)
    report = score_file(
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


def pictures(options: argparse.Namespace) -> None:
    """Draw what a run came to."""
    from contract.release import MODEL_NAME
    from trainer.evaluate import show_progress
    from trainer.pictures import draw_curves, draw_pictures

    _require_share(options.min_box)
    run = Run.open(options.run)
    model = options.model or run.folder / MODEL_NAME
    if options.model is None and not model.is_file():
        print(
            f"wrote {draw_curves(run)}; no {MODEL_NAME} in {run.folder} to judge: `trainer export` it, or name one with --model"
        )
        return
    judged = next(source for source in run.sources if source.val)
    split = read_split(options.data or judged.data, options.split or ("val" if options.data else judged.val))
    for path in draw_pictures(run, model, split, min_box=options.min_box, progress=show_progress):
        print(f"wrote {path}")
