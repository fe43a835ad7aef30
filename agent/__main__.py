"""`agent run` counts at a door; `doctor` looks at one, `selftest` tries its model, `commission` fits its line; `replay` counts a clip."""

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from agent.commission.command import add_arguments as add_commission_arguments
from agent.commission.command import run as run_commission
from agent.config import FACTORY_MODEL, AgentSettings
from agent.vision.doorway import Doorway
from agent.vision.geometry import Line, Zone
from contract.errors import ContractError, TryAgainError

LATER = 75  # EX_TEMPFAIL


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0; or, with one line on stderr, 2 (do something) or 75 (try again later).

    `doctor` returns 1 where it found a fault.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        if options.command == "run":
            _run(options)
        elif options.command == "update":
            _update(options)
        elif options.command == "selftest":
            _selftest(options)
        elif options.command == "doctor":
            return _doctor(options)
        elif options.command == "commission":
            run_commission(options, _settings(options) if options.config else None)
        else:
            _replay(options)
    except ContractError as error:
        print(f"agent: {error}", file=sys.stderr)
        return 2
    except TryAgainError as error:
        print(f"agent: {error}", file=sys.stderr)
        return LATER
    except BrokenPipeError:  # the reader of our output has had enough
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description="The agent at the door.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="count at this door until stopped")
    run.add_argument("--config", type=Path, required=True, help="settings file, TOML; see docs/settings.md")
    run.add_argument(
        "--safe", action="store_true", help="do not count: deliver what waits, say so for 15 minutes, then end"
    )
    update = commands.add_parser(
        "update", help="fetch and verify one signed release, then end; 75 means: try again later"
    )
    update.add_argument("--config", type=Path, required=True, help="settings file, TOML")
    test = commands.add_parser("selftest", help="try the model, and the Coral, with the golden frames; 2: it failed")
    test.add_argument("--config", type=Path, required=True, help="settings file, TOML")
    test.add_argument("--json", action="store_true", help="the findings as one JSON object")
    doctor = commands.add_parser("doctor", help="look at every part of this door and say what to do; 1 means: a fault")
    doctor.add_argument("--config", type=Path, required=True, help="settings file, TOML")
    doctor.add_argument("--json", action="store_true", help="for a program instead of a person")
    commission = commands.add_parser("commission", help="fit this door's line to walks, measure it, sign the result")
    commission.add_argument(
        "--config", type=Path, help="settings file, TOML; its [camera] is used unless there is a --clip"
    )
    add_commission_arguments(commission)
    for command in (run, update, test, doctor, commission):
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="one setting over the file's, e.g. camera.source=0",
        )
    update.add_argument("--release", type=int, help="the release to fetch; by default what the cloud asked for")
    replay = commands.add_parser("replay", help="count a clip, or recorded detections; nothing is stored or sent")
    replay.add_argument("clip", type=Path, nargs="?", help="a video file")
    replay.add_argument(
        "--detections",
        type=Path,
        metavar="FILE.jsonl",
        help='lines {"at_ms": t, "boxes": [[x0,y0,x1,y1,confidence,class], ...]}',
    )
    replay.add_argument(
        "--line",
        action="append",
        metavar="[NAME=]X0,Y0,X1,Y1",
        help="in the unit square; crossing to its right-hand side is `in`; several, each with a name (default: 0,0.5,1,0.5)",
    )
    replay.add_argument("--zone", metavar='"X,Y X,Y X,Y ..."', help="corners; faces outside are not followed")
    replay.add_argument(
        "--model", type=Path, default=FACTORY_MODEL, help="int8 TFLite file with its manifest.json beside it"
    )
    replay.add_argument(
        "--fps", type=float, help="thin a clip out to about this rate; space recorded detections evenly"
    )
    replay.add_argument(
        "--crops", type=Path, metavar="FOLDER", help="write the crops that a door would have sent, to look at"
    )
    replay.add_argument("--json", action="store_true", help="JSON lines: one per pass, then a summary")
    return parser


def _run(options: argparse.Namespace) -> None:
    from agent.app import Door
    from agent.refuge import Refuge

    arguments = ["--config", str(options.config.resolve()), *(f"--set={text}" for text in options.set)]
    settings = _settings(options)
    door = Refuge(settings) if options.safe else Door(settings, update_arguments=arguments)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    door.run(stop)


def _update(options: argparse.Namespace) -> None:
    from agent.update.check import update

    settings = _settings(options)
    edge_tpu = settings.model.accelerator != "cpu"
    print(update(settings.update, options.release, factory=settings.model.path, edge_tpu=edge_tpu))


def _selftest(options: argparse.Namespace) -> None:
    from agent.health.door import try_door

    try_door(_settings(options), as_json=options.json, out=sys.stdout)


def _doctor(options: argparse.Namespace) -> int:
    from agent.health.doctor import examine_door
    from agent.health.finding import Verdict, as_json, table, worst_of

    findings = examine_door(_settings(options))
    print(as_json(findings) if options.json else table(findings, colour=sys.stdout.isatty()))
    return int(worst_of(findings) is Verdict.FAULT)


def _settings(options: argparse.Namespace) -> AgentSettings:
    return AgentSettings.load(options.config, dict(_pair(text) for text in options.set))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ContractError(f"--set takes KEY=VALUE, not {text!r}")
    return key, value


def _replay(options: argparse.Namespace) -> None:
    from agent.replay import replay_clip, replay_detections

    lines = [Line.parse(text) for text in options.line or ["0,0.5,1,0.5"]]
    doorway = Doorway.of(lines, Zone.parse(options.zone) if options.zone else None)
    if options.fps is not None and options.fps <= 0:
        raise ContractError(f"--fps must be above 0, not {options.fps:g}")
    if bool(options.clip) == bool(options.detections):
        raise ContractError("replay takes a clip or --detections FILE.jsonl, one of the two")
    if options.detections and options.crops:
        raise ContractError("--crops needs a clip: recorded detections have no pixels")
    if options.detections:
        replay_detections(
            options.detections,
            doorway=doorway,
            fps=options.fps,
            as_json=options.json,
            out=sys.stdout,
            progress=sys.stderr,
        )
    else:
        replay_clip(
            options.clip,
            model=options.model,
            doorway=doorway,
            fps=options.fps,
            as_json=options.json,
            out=sys.stdout,
            progress=sys.stderr,
            crops=options.crops,
        )


if __name__ == "__main__":
    sys.exit(main())
