"""Weeks of a town's messages through the cloud's own ingest, and its control crops labelled by the truth: something to look at."""

from collections.abc import Callable, Iterable
from datetime import datetime
from random import Random
from uuid import UUID

from sqlalchemy import Engine

from cloud.fleet.doors import DoorSettings, save_door, save_site
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, Parcel, open_message
from cloud.learning.labelling import Given, Labelling
from cloud.rules import PictureRules
from cloud.store.blobs import Blobs
from cloud.store.doors import Site
from contract.dataset import Answer
from contract.labels import Label
from rehearsal.processes import RehearsalError
from rehearsal.town import Sent, Town

AT_ONCE = 200  # messages of one transaction
SITES = {"clinic": "Clinic", "town-hall": "Town hall", "library": "Library", "station": "Station"}
HOURS = {"clinic": "05:00-23:00", "town-hall": "07:00-18:00", "library": "09:00-20:00", "station": "04:00-24:00"}
LABELLER = "town (drawn truth)"


def write_history(
    engine: Engine,
    blobs: Blobs,
    sent: Iterable[Sent],
    *,
    random: Random,
    progress: Callable[[datetime], None] | None = None,
) -> int:
    """Store everything as if it had come by the broker in its time, then label the crops; returns how many messages.

    Raises RehearsalError where the cloud refuses one: the town speaks the contract.
    """
    waiting: list[tuple[Sent, Parcel]] = []
    truths: list[tuple[UUID, Label, datetime]] = []
    count = 0
    for one in sent:
        if waiting and (len(waiting) >= AT_ONCE or waiting[-1][0].at != one.at):
            _store(engine, blobs, waiting, progress)
        parcel = open_message(Message(one.topic, one.payload), now=one.at, pictures=PictureRules())
        if parcel.misfit:
            raise RehearsalError(f"the cloud refuses what the town says on {one.topic}: {parcel.misfit.reason}")
        if parcel.shot and one.truth:
            truths.append((parcel.shot.crop.header.id, one.truth, one.at))
        waiting.append((one, parcel))
        count += 1
    _store(engine, blobs, waiting, progress)
    desk = Labelling(engine)
    for crop, truth, at in truths:
        known = UUID(int=random.getrandbits(128), version=4)
        desk.give(Given(known, crop, LABELLER, Answer(truth.value), took_ms=random.randint(700, 4_000)), at)
    return count


def furnish(engine: Engine, town: Town, now: datetime) -> None:
    """Give the town's doors their sites, titles and opening hours, as an operator would."""
    for slug, title in SITES.items():
        week = [HOURS[slug]] * 7
        if slug == "town-hall":
            week[5:] = ["", ""]
        save_site(engine, Site(slug, title, "UTC", tuple(week), ()), now)
    for door in town.doors:
        title = door.name.replace("-", " ").capitalize()
        save_door(engine, door.name, DoorSettings(title=title, site=door.site), now)


def _store(
    engine: Engine, blobs: Blobs, waiting: list[tuple[Sent, Parcel]], progress: Callable[[datetime], None] | None
) -> None:
    if waiting:
        ingest(engine, blobs, [parcel for _, parcel in waiting], now=waiting[-1][0].at)
        if progress:
            progress(waiting[-1][0].at)
    waiting.clear()
