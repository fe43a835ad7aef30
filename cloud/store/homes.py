"""The statements about what Home Assistant was told: every door that is announced, so that it can be taken back."""

from collections.abc import Collection

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.schema_doors import announced, sites


def site_names(engine: Engine) -> dict[str, str]:
    """By slug."""
    with engine.connect() as connection:
        return {row.slug: row.name for row in connection.execute(select(sites.c.slug, sites.c.name))}


def read_announced(engine: Engine) -> frozenset[tuple[str, str]]:
    """Prefix and device."""
    with engine.connect() as connection:
        return frozenset((row.prefix, row.device) for row in connection.execute(select(announced)))


def add_announced(engine: Engine, prefix: str, devices: Collection[str]) -> None:
    """Those that are known already stay."""
    if not devices:
        return
    insert = (sqlite if engine.dialect.name == "sqlite" else postgresql).insert(announced)
    with engine.begin() as connection:
        rows = [{"prefix": prefix, "device": device} for device in sorted(devices)]
        connection.execute(insert.on_conflict_do_nothing(), rows)


def drop_announced(engine: Engine, prefix: str, device: str) -> None:
    """One less."""
    with engine.begin() as connection:
        connection.execute(delete(announced).where(announced.c.prefix == prefix, announced.c.device == device))
