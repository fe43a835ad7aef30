"""The statements that the page about the doors' health asks: a few for the whole fleet, none for one door."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cloud.store.schema import doors_desired
from cloud.store.schema_doors import sites


@dataclass(frozen=True, slots=True)
class SiteName:
    """A site as people call it."""

    slug: str
    name: str


def asked_releases(connection: Connection) -> Mapping[str, int]:
    """By device, the release that it was asked to run; a device that was never asked is absent."""
    query = select(doors_desired.c.device, doors_desired.c.release).where(doors_desired.c.release > 0)
    return {device: int(release) for device, release in connection.execute(query)}


def site_names(connection: Connection) -> tuple[SiteName, ...]:
    """All sites, by name."""
    query = select(sites.c.slug, sites.c.name).order_by(sites.c.name, sites.c.slug)
    return tuple(SiteName(*row) for row in connection.execute(query))
