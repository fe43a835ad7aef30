"""The watchman and the postman of a served site, turned by hand."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from cloud.config import CloudSettings
from cloud.fleet.alerts import Change, Kind
from cloud.fleet.postman import new_postman
from cloud.fleet.watchman import Watchman
from cloud.store import endings, schema_duties, writing
from cloud.store.schema_doors import alert_messages
from tests.cloud.site_kit import NOW, Site

MINUTE = timedelta(minutes=1)


class Watch:
    """A site, its watchman and its postman, whose clocks a test moves."""

    def __init__(self, site: Site, folder: Path, urls: tuple[str, ...] = (), **rules: Any) -> None:
        (folder / "secret").write_text("0123456789abcdef")
        alerts = {"webhooks": urls, "webhook_secret": str(folder / "secret"), **rules}
        self.settings = CloudSettings.load(None, {"data": str(folder), "alerts": alerts})
        self.site = site
        self.postman = new_postman(site.engine, self.settings.alerts)
        self.ends: dict[str, datetime] = {}
        self.watchman = self.fresh()

    def fresh(self) -> Watchman:
        return Watchman(self.site.engine, self.settings, self.postman)

    def look(self, minutes: float = 0) -> list[tuple[str, str, str]]:
        """Move the clock, keep the consumer alive, look once."""
        self.site.now += minutes * MINUTE
        with self.site.engine.begin() as connection:
            writing.write_consumer(connection, "c", connected=True, since=NOW, alive_at=self.site.now)
            connection.execute(schema_duties.endings.delete())
            endings.tell(connection, Kind.CERTIFICATE_ENDING, self.ends, self.site.now)
        return told(self.watchman.turn(self.site.now))

    def post(self, later: timedelta = timedelta(0)) -> int:
        return self.postman.turn(lambda: self.site.now + later)


def told(changes: tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(one.what.value, one.finding.kind.value, one.finding.subject) for one in changes]


def messages(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        rows = connection.execute(select(alert_messages).order_by(alert_messages.c.made_at)).mappings()
        return [dict(row) for row in rows]
