"""The command `cloud`: consume, serve, all, migrate."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from cloud.app import CannotStartError, Part, prepare, run
from cloud.config import CloudSettings
from cloud.store.database import DatabaseUnavailableError
from contract.errors import ContractError

COMMANDS: dict[str, tuple[str, tuple[Part, ...]]] = {
    "consume": ("read the doors' messages from the broker into the database", ("consume",)),
    "serve": ("show the pages and answer the API", ("serve",)),
    "all": ("both in one process", ("consume", "serve")),
    "migrate": ("bring the database's tables up to date, and end", ()),
}
CANNOT_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what the user can put right is said in one line, with exit code 2."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr
    )
    for chatty in ("alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = CloudSettings.load(chosen.config, dict(chosen.set))
        parts = COMMANDS[chosen.command][1]
        if parts:
            return run(settings, parts)
        prepare(settings).dispose()
    except (ContractError, CannotStartError, DatabaseUnavailableError) as error:
        print(f"cloud: {error}", file=sys.stderr)
        return CANNOT_START
    else:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cloud", description="The service behind the doors.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (what, _) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML (all have defaults)")
        command.add_argument(
            "--set",
            type=_assignment,
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="put one setting over the file's; may be repeated",
        )
    return parser


def _assignment(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
