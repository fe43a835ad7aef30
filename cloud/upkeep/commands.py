"""The commands of whoever looks after the service: blobs, erase, backup, restore."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.app import CannotStartError, prepare
from cloud.config import CloudSettings
from cloud.loop import open_listings, open_pictures, picture_place
from cloud.store.database import open_database, reason
from cloud.store.erasures import Erasure, Share
from cloud.upkeep.backup import Places, back_up, restore
from cloud.upkeep.erasing import erase, preview, require_known, taught_with
from cloud.upkeep.terms import lifecycle_days
from contract.errors import ContractError, TryAgainError
from contract.identity import require_device_id

UPKEEP = ("blobs", "erase", "backup", "restore")


def add_upkeep(commands: Any) -> Iterator[argparse.ArgumentParser]:
    """The parsers of these commands, to which the settings are still to be added."""
    what = "prepare the bucket: closed to the public, and pictures expire there by themselves a day after their term"
    blobs = commands.add_parser("blobs", help=what, description=what)
    blobs.add_argument("act", choices=("setup",), help="what to do")
    yield blobs
    what = "delete crops with their pictures and labels for good; says what would go, and does it with --yes"
    erasing = commands.add_parser("erase", help=what, description=what)
    whose = erasing.add_mutually_exclusive_group(required=True)
    whose.add_argument("--door", metavar="NAME", help="everything of one door")
    whose.add_argument("--crop", type=UUID, metavar="ID", help="one crop")
    whose.add_argument("--site", action="store_true", help="everything of every door")
    erasing.add_argument(
        "--from", dest="start", metavar="WHEN", help="from this moment on: 2026-05-04 or 2026-05-04T12:00"
    )
    erasing.add_argument("--to", dest="end", metavar="WHEN", help="before this moment; by default now")
    erasing.add_argument("--events", action="store_true", help="passes too, and their share of the hour counts")
    erasing.add_argument("--yes", action="store_true", help="do it")
    yield erasing
    what = "write everything but the keys into one file, while the service is at work"
    saving = commands.add_parser("backup", help=what, description=what)
    saving.add_argument("file", type=Path, metavar="FILE.tar")
    saving.add_argument(
        "--pictures", action="store_true", help="crops' pictures too; the file then holds personal data"
    )
    yield saving
    what = "check a backup and put it in the place of what is here; the service must be stopped"
    loading = commands.add_parser("restore", help=what, description=what)
    loading.add_argument("file", type=Path, metavar="FILE.tar")
    loading.add_argument("--replace", action="store_true", help="give up what this database holds")
    yield loading


def run_upkeep(chosen: argparse.Namespace, settings: CloudSettings) -> int:
    """Run one of them. Raises ContractError or CannotStartError with what to do."""
    try:
        match chosen.command:
            case "blobs":
                _set_up(settings)
            case "erase":
                _erase(chosen, settings)
            case "backup":
                _back_up(chosen, settings)
            case _:
                _restore(chosen, settings)
    except SQLAlchemyError as error:
        raise CannotStartError(f"the database is away ({reason(error)})") from error
    except (TryAgainError, OSError) as error:
        raise CannotStartError(str(error)) from error
    return 0


def _set_up(settings: CloudSettings) -> None:
    from cloud.store.bucket import set_up
    from cloud.store.s3 import new_client

    bucket = settings.bucket
    if bucket is None:
        raise ContractError(f"the pictures lie in the folder {settings.blob_folder}, which needs no preparation")
    client = new_client(settings.s3.endpoint, settings.s3.region)
    set_up(client, bucket, picture_place(bucket), days=lifecycle_days(settings.retention), say=print)


def _erase(chosen: argparse.Namespace, settings: CloudSettings) -> None:
    now = datetime.now(UTC)
    wanted = _wanted(chosen, settings, now)
    engine = prepare(settings)
    try:
        require_known(engine, wanted)
        share = preview(engine, wanted)
        taught = taught_with(engine, open_listings(settings), wanted)
        print(_words(share, done=chosen.yes))
        for one in taught:
            trained = ", ".join(map(str, one.releases))
            print(
                f"snapshot {one.snapshot[:12]} names {one.crops} of them, and goes on naming them without a picture; "
                + (f"releases trained on it: {trained}" if trained else "no release was trained on it")
            )
        if not chosen.yes:
            print("Nothing was changed: --yes does it.")
            return
        try:
            erase(engine, open_pictures(settings), settings.erasure_journal, wanted, now)
        except OSError as error:
            raise CannotStartError(
                f"cannot finish now ({error}): what is written down is gone on with by `cloud serve`, or by the same command"
            ) from error
        print(f"Done. Erasure {wanted.id} is written down in {settings.erasure_journal}: keep a copy elsewhere.")
    finally:
        engine.dispose()


def _wanted(chosen: argparse.Namespace, settings: CloudSettings, now: datetime) -> Erasure:
    start, end = _moment(chosen.start, settings), _moment(chosen.end, settings) or now
    if chosen.crop and (start or chosen.end or chosen.events):
        raise ContractError("--crop is one crop: it goes without --from, --to and --events")
    if end > now:
        raise ContractError("--to lies ahead: only what has been can be erased")
    if start and start >= end:
        raise ContractError("--from is not before --to")
    door = require_device_id(chosen.door) if chosen.door is not None else None
    return Erasure(uuid4(), door, chosen.crop, start, end, chosen.events, now)


def _moment(text: str | None, settings: CloudSettings) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContractError(f"write a moment as 2026-05-04 or 2026-05-04T12:00, not {text[:40]!r}") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=settings.zone)).astimezone(UTC)


def _words(share: Share, *, done: bool) -> str:
    counts = (
        (share.crops, "crops"), (share.pictures, "pictures"), (share.labels, "label events"), (share.events, "passes"),
        (share.passes, "passes in hour counts"), (share.quarantined, "messages in quarantine"),
    )  # fmt: skip
    told = ", ".join(f"{number} {what}" for number, what in counts if number) or "nothing that is here"
    return f"{'erasing' if done else 'would erase'}: {told}"


def _places(settings: CloudSettings) -> Places:
    return Places(
        open_pictures(settings),
        open_listings(settings),
        settings.release_folder,
        settings.erasure_journal,
        settings.data,
    )


def _open(settings: CloudSettings) -> Engine:
    """Without bringing the tables up to date: a backup before an upgrade is one of what is there."""
    settings.data.mkdir(parents=True, exist_ok=True)
    return open_database(settings.database_url)


def _back_up(chosen: argparse.Namespace, settings: CloudSettings) -> None:
    engine = _open(settings)
    try:
        back_up(engine, _places(settings), chosen.file, datetime.now(UTC), with_pictures=chosen.pictures, say=print)
        print(f"{chosen.file}: {chosen.file.stat().st_size / 1e6:.1f} MB. The keys are not in it: keep them apart.")
    finally:
        engine.dispose()


def _restore(chosen: argparse.Namespace, settings: CloudSettings) -> None:
    engine = _open(settings)
    try:
        restore(engine, _places(settings), chosen.file, datetime.now(UTC), replace=chosen.replace, say=print)
        print("Restored. What came after the backup is lost; the pages show it as missing once the doors report.")
    finally:
        engine.dispose()
