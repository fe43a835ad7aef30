"""`python -m rehearsal`: the demo, and generated scenes as clips or as a data set."""

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from agent.config import FACTORY_MODEL
from cloud.app import prepare
from cloud.config import CloudSettings
from cloud.store.blobs import BlobFolder
from contract.labels import LABELS
from rehearsal import demo, turn
from rehearsal.golden import write_drawn_golden_frames
from rehearsal.hard import write_pack
from rehearsal.history import furnish, write_history
from rehearsal.processes import RehearsalError
from rehearsal.scene import LINES, Scene, write_clip, write_dataset
from rehearsal.town import Town
from trainer.hard import Case

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the command; returns the exit code: 0, or 2 with one line on stderr that says what to do."""
    options = _parser().parse_args()
    try:
        options.play(options)
    except RehearsalError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description="The fleet without hardware.")
    plays = parser.add_subparsers(required=True)
    show = plays.add_parser("demo", help="broker, cloud and doors on this machine; DEMO_SECONDS=60 ends it by itself")
    show.add_argument("--port", type=int, default=0, help="the page's port; a free one by default")
    show.set_defaults(play=_demo)
    loop = plays.add_parser("turn", help="one turn of the learning loop; ORACLE=1: labels by the drawn truth")
    loop.add_argument("--port", type=int, default=0, help="the page's port; a free one by default")
    loop.set_defaults(play=_turn)
    scene = plays.add_parser("scene", help="draw one clip, with its exact truth beside it")
    scene.add_argument("out", type=Path, help="for example door.mp4")
    scene.add_argument("--kind", choices=sorted(LINES), default="passage")
    scene.add_argument("--seed", type=int, default=1)
    scene.add_argument("--people", type=int, default=40)
    scene.set_defaults(play=_scene)
    dataset = plays.add_parser("dataset", help="draw labelled frames for training")
    dataset.add_argument("out", type=Path, help="a folder")
    dataset.add_argument("--images", type=int, default=420)
    dataset.add_argument("--seed", type=int, default=50_000)
    dataset.set_defaults(play=_dataset)
    hard = plays.add_parser("hard", help="draw the cases that fool a model: a pack for `trainer hard`")
    hard.add_argument("out", type=Path, help="a folder")
    hard.add_argument("--images", type=int, default=240)
    hard.add_argument("--seed", type=int, default=70_000)
    hard.set_defaults(play=_hard)
    town = plays.add_parser("town", help="fill a cloud's database with weeks of eight doors, their truth known")
    town.add_argument("--config", type=Path, required=True, metavar="FILE", help="the cloud's settings")
    town.add_argument("--days", type=int, default=28)
    town.add_argument("--seed", type=int, default=1)
    town.set_defaults(play=_town)
    golden = plays.add_parser("golden-frames", help="draw what a door tests the factory model with, beside it")
    golden.add_argument("model", type=Path, nargs="?", default=FACTORY_MODEL)
    golden.set_defaults(play=_golden)
    return parser


def _town(options: argparse.Namespace) -> None:
    settings = CloudSettings.load(options.config)
    engine = prepare(settings)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    town = Town(options.seed, start=end - timedelta(days=options.days), end=end)

    def progress(at: datetime) -> None:
        if sys.stdout.isatty() or at.hour == 0:
            print(f"\r{at:%d %B}", end="" if sys.stdout.isatty() else "\n", flush=True)

    count = write_history(
        engine,
        BlobFolder(settings.blob_folder),
        town.messages(),
        progress=progress,
        random=Random(options.seed),  # noqa: S311 - ids of a made-up town
    )
    furnish(engine, town, end)
    engine.dispose()
    print(f"\n{count} messages of {options.days} days; start the cloud with: cloud serve --config {options.config}")
    print(f"{'what really passed':20}" + "".join(f"{label.replace('_', ' '):>23}" for label in LABELS))
    for door, truth in town.truths.items():
        whole = max(1, sum(truth.values()))
        print(f"{door:20}" + "".join(f"{truth[label]:>15} {truth[label] / whole:6.1%}" for label in LABELS))


def _golden(options: argparse.Namespace) -> None:
    manifest = write_drawn_golden_frames(options.model)
    print(f"wrote the golden frames of release {manifest.release}: {manifest.golden_digest}")


def _demo(options: argparse.Namespace) -> None:
    text = os.environ.get("DEMO_SECONDS", "")
    try:
        seconds = float(text) if text else None
    except ValueError as error:
        raise RehearsalError(f"DEMO_SECONDS is a number of seconds, not {text!r}") from error
    demo.run(seconds=seconds, folder=ROOT / ".demo" / "run", photographs=_photographs(), port=options.port)


def _turn(options: argparse.Namespace) -> None:
    oracle = os.environ.get("ORACLE", "") not in ("", "0")
    turn.run(folder=ROOT / ".demo" / "loop", port=options.port, oracle=oracle)


def _photographs() -> Path | None:
    folder = Path(os.environ.get("MASKFLEET_DATA", ROOT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


def _scene(options: argparse.Namespace) -> None:
    scene = Scene(options.kind, seed=options.seed, people=options.people)
    write_clip(scene, options.out, progress=_progress)
    print(f"wrote {options.out}; count it with: agent replay {options.out} --line {','.join(map(str, scene.line))}")


def _dataset(options: argparse.Namespace) -> None:
    write_dataset(options.out, images=options.images, seed=options.seed, progress=_progress)
    print(f"wrote {options.out / 'data.yaml'}")


def _hard(options: argparse.Namespace) -> None:
    if options.images < len(Case):
        raise RehearsalError(f"--images must be {len(Case)} or more, one for each case, not {options.images}")
    write_pack(options.out, images=options.images, seed=options.seed, progress=_progress)
    print(
        f"wrote {options.out / 'data.yaml'}; score a model with: trainer hard MODEL --data {options.out / 'data.yaml'}"
    )


def _progress(done: int, total: int) -> None:
    if done == total or (sys.stdout.isatty() and done % 20 == 0):
        print(f"\r{done} of {total} frames", end="\n" if done == total else "", flush=True)


if __name__ == "__main__":
    sys.exit(main())
