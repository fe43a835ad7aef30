"""The command `cloud`: consume, serve, all, migrate, token, user, audit, status, keys, blobs, erase, backup, restore."""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cloud.app import CannotStartError, Part, prepare, run
from cloud.commands import BY_HAND, add_commands
from cloud.config import CloudSettings
from cloud.fleet.keys import make_keys, renew
from cloud.store.database import DatabaseUnavailableError
from cloud.upkeep.commands import UPKEEP, add_upkeep, run_upkeep
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
    for chatty in ("alembic", "botocore", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if chosen.command == "keys":
        return _keys(chosen.folder, again=chosen.renew)
    try:
        settings = CloudSettings.load(chosen.config, dict(chosen.set))
        if chosen.command in BY_HAND:
            engine = prepare(settings)
            try:
                return BY_HAND[chosen.command](engine, settings, chosen)
            finally:
                engine.dispose()
        if chosen.command in UPKEEP:
            return run_upkeep(chosen, settings)
        parts = COMMANDS[chosen.command][1]
        if parts:
            return run(settings, parts)
        prepare(settings).dispose()
    except (ContractError, CannotStartError, DatabaseUnavailableError) as error:
        print(f"cloud: {error}", file=sys.stderr)
        return CANNOT_START
    else:
        return 0


def _keys(folder: Path, *, again: bool) -> int:
    try:
        (renew if again else make_keys)(folder, datetime.now(UTC))
    except (ContractError, OSError) as error:
        print(f"cloud: {error}", file=sys.stderr)
        return CANNOT_START
    if not again:
        print(f"Put {folder}/offline into a safe, {folder}/trainer beside the trainer, the rest into the cloud.")
        print(f"Put {folder}/repository/metadata/root.json on every card.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cloud", description="The service behind the doors.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (what, _) in COMMANDS.items():
        _with_settings(commands.add_parser(name, help=what, description=what))
    for command in [*add_commands(commands), *add_upkeep(commands)]:
        _with_settings(command)
    keys = commands.add_parser("keys", help="make the keys that sign releases, and an empty repository")
    keys.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder; on a machine that you trust")
    keys.add_argument("--renew", action="store_true", help="sign root and targets again, with the keys in FOLDER")
    return parser


def _with_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML (all have defaults)")
    command.add_argument(
        "--set",
        type=_assignment,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="put one setting over the file's; may be repeated",
    )


def _assignment(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
