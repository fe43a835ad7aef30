"""The command line of `agent commission`: what is asked for, and who does it."""

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from agent import clock
from agent.config import AgentSettings
from contract.errors import ContractError


class Console:
    """The installer's terminal; a line on it is all that is needed."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def ask(self, text: str) -> str:
        try:
            return input(text)
        except EOFError as error:
            raise ContractError("nobody answers: walk with a terminal, or replay a walk with --clip") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Put the command's arguments onto its parser, all but --config and --set."""
    parser.add_argument("--walks", type=int, default=4, metavar="N", help="how often to walk, in and out by turns (4)")
    parser.add_argument("--clip", type=Path, metavar="FILE", help="a clip of walks instead of the camera")
    parser.add_argument("--in", type=int, default=0, dest="entered", metavar="N", help="people who go in in the clip")
    parser.add_argument(
        "--out", type=int, default=0, dest="left", metavar="M", help="people who go out; if as many, the first goes in"
    )
    parser.add_argument("--frames", metavar="A-B", help="only these frames of the clip, both included, from 0")
    parser.add_argument("--line", metavar="NAME", help="which of several lines is walked over")
    parser.add_argument("--keep", action="store_true", help="measure the line in the settings, fit no other")
    parser.add_argument("--write", action="store_true", help="write the line into the settings file")
    parser.add_argument("--record", type=Path, metavar="FILE", help="the record (default: acceptance-DEVICE.json)")
    parser.add_argument("--verify", type=Path, metavar="FILE", help="check a record instead; needs --certificate")
    parser.add_argument(
        "--certificate", type=Path, metavar="PEM", help="the door's certificate, from where you trust it"
    )


def run(options: argparse.Namespace, settings: AgentSettings | None) -> None:
    """Commission a door, or verify a record (`settings` is not needed then). Raises ContractError."""
    if options.verify:
        _verify(options)
    elif settings is None:
        raise ContractError("commission needs --config FILE, or --verify FILE --certificate PEM")
    else:
        _commission(options, settings, Console())


def _verify(options: argparse.Namespace) -> None:
    from agent.commission.record import read, verify
    from agent.commission.wizard import summary

    if options.certificate is None:
        raise ContractError("--verify needs --certificate PEM: the door's certificate, from where you trust it")
    signed = read(options.verify)
    verify(signed, options.certificate)
    print(summary(signed.record))
    print(f"signed by {signed.record.device}: the signature fits")


def _commission(options: argparse.Namespace, settings: AgentSettings, console: Console) -> None:
    from agent.commission.paste import write_line
    from agent.commission.record import Signed, sign, write
    from agent.commission.wizard import describe, judge, only_line, play, record_path, summary, walk
    from agent.update.slots import Slots
    from agent.update.wish import Wish
    from agent.vision.camera import Clip, open_camera
    from agent.vision.detector import Detector

    part = _part(options.frames)
    doorway = only_line(settings.door.doorway(), options.line)
    slots = Slots(settings.update.folder, settings.model.path)
    model = slots.last_good() if settings.update.url else settings.model.path  # what the agent counts with
    detector = Detector.load(model, threads=settings.model.threads)
    camera = settings.camera
    if options.clip:
        if options.entered + options.left < 1 or min(options.entered, options.left) < 0:
            raise ContractError("say how many people go in and out in the clip: --in N --out M")
        seen = play(
            Clip(options.clip), detector, entered=options.entered, left=options.left, part=part,
            fps=camera.fps, zone=doorway.zone, terminal=console,
        )  # fmt: skip
    else:
        if not 1 <= options.walks <= 100:
            raise ContractError("--walks must be 1 to 100")
        source = open_camera(camera.source, loop=camera.loop, size=(camera.width, camera.height), fps=camera.fps)
        try:
            seen = walk(source, detector, options.walks, zone=doorway.zone, terminal=console)
        finally:
            source.close()
    doorway = judge(seen, doorway, keep=options.keep, terminal=console)
    record = describe(
        seen, doorway, device=settings.device, at=clock.now(), software=_software(), eyes=detector,
        clip=bool(options.clip), fitted=not options.keep,
    )  # fmt: skip
    identity = settings.broker.identity
    signed = sign(record, identity) if identity else Signed(record=record)
    file = options.record or record_path(settings.device)
    write(signed, file)
    if options.write and not options.keep:
        write_line(options.config, doorway.lines[0])
        print(f"The line was written to {options.config}.")
    print(summary(record))
    signature = "signed with the door's key" if identity else "UNSIGNED: this door has no [broker] identity yet"
    print(f"Record: {file}, {signature}.")
    wish = Wish(settings.device, settings.update.folder if settings.update.url else None).newest
    if wish and wish.door:
        print("Mind that the cloud has set this door's lines, which goes over the settings file.", file=sys.stderr)


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise ContractError(f"--frames takes two numbers A-B, not {text!r}")
    return int(first), int(last)


def _software() -> str:
    try:
        return version("maskfleet")
    except PackageNotFoundError:
        return "not installed"
