"""`/metrics` for Prometheus, read from the database at each scrape: about 20 series a door, a few dozen for the service."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from cloud.duties import TAKEN_WITHIN_S, Duty
from cloud.store import alerts, duties
from cloud.store.refused import read_floods
from cloud.store.schema import hours
from cloud.store.store import Store
from cloud.store.vitals import Vitals, read_vitals
from cloud.web.answers import BrokerState, DoorState
from cloud.web.views import Views

SETTLED = timedelta(days=32)  # hours older than that change no more: a pass is dated 30 days back at most
FRESH = timedelta(minutes=5)  # heartbeats whose way here is counted

Series = Counter[tuple[str, str, str]]
"""Passes by device, direction and label."""


class PassTotals:
    """All passes ever: what is settled is added up once a day, the rest at each scrape."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lock = engine, threading.Lock()
        self._until, self._settled = datetime.min.replace(tzinfo=UTC), Series()

    def read(self, now: datetime) -> Series:
        """Raises SQLAlchemyError."""
        until = (now - SETTLED).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with self._lock, self._engine.connect() as connection:
            if until != self._until:
                self._settled, self._until = _passes(connection, before=until), until
            return self._settled + _passes(connection, since=until)


class Metrics(Collector):
    """Everything at the moment that `clock` says."""

    def __init__(self, store: Store, views: Views, totals: PassTotals, clock: Callable[[], datetime]) -> None:
        self._store, self._views, self._totals, self._clock = store, views, totals, clock

    def collect(self) -> Iterator[Metric]:
        """The families; of an unreachable database only that."""
        try:
            found = list(self._collect(self._clock()))
        except SQLAlchemyError:
            found = []
        yield _one("maskfleet_database_up", "Whether the database answers.", float(bool(found)))
        yield from found

    def _collect(self, now: datetime) -> Iterator[Metric]:
        with self._store.engine.connect() as connection:
            vitals, open_alerts = read_vitals(connection), alerts.count_open_by_kind(connection)
            held, floods = duties.read(connection), read_floods(connection)
        yield from self._doors(now, vitals)
        yield from self._service(now)
        lags = [one.lag_s for one in vitals.values() if one.lag_s is not None and now - one.at <= FRESH]
        if lags:
            yield _one(
                "maskfleet_ingest_lag_seconds",
                "From a heartbeat's own time until it was read here, median of the doors heard in the last five minutes.",
                median(lags),
            )
        yield _by("maskfleet_alerts_open", "Open alerts.", ("kind",), (((kind,), n) for kind, n in open_alerts.items()))
        alive = [one for one in held if one.holder and (now - one.beat_at).total_seconds() <= 5 * TAKEN_WITHIN_S]
        up = {one.duty for one in alive}
        yield _by(
            "maskfleet_duty_up", "Whether a server has this duty and is alive, as far as its clock agrees with ours.", ("duty",),
            (((duty,), duty in up) for duty in Duty),
        )  # fmt: skip
        yield _by(
            "maskfleet_duty_info", "Which server has it.", ("duty", "server"), (((o.duty, o.holder), 1) for o in alive)
        )
        flooded = CounterMetricFamily("maskfleet_flood_messages", "Messages counted, not opened.", labels=("door",))
        for one in floods:
            flooded.add_metric((one.device,), one.messages)
        yield flooded
        passes = CounterMetricFamily("maskfleet_passes", "Passes stored.", labels=("door", "direction", "label"))
        for labels, number in sorted(self._totals.read(now).items()):
            passes.add_metric(labels, number)
        yield passes

    def _doors(self, now: datetime, vitals: dict[str, Vitals]) -> Iterator[Metric]:
        doors = self._views.doors(now)

        def each(name: str, help_text: str, values: Iterable[float | None]) -> GaugeMetricFamily:
            known = (((door.name,), value) for door, value in zip(doors, values, strict=True) if value is not None)
            return _by(f"maskfleet_door_{name}", help_text, ("door",), known)

        signs = [vitals.get(door.name) for door in doors]
        yield each("up", "Whether the door is heard of.", (door.state is DoorState.ONLINE for door in doors))
        yield each(
            "last_seen_timestamp_seconds", "When it was last heard of.", (door.last_seen.timestamp() for door in doors)
        )
        yield each("fps", "Frames analysed a second, lately.", (door.fps for door in doors))
        yield each("waiting", "Letters in its outbox.", (door.waiting for door in doors))
        yield each("missing", "Passes it counted that are not stored.", (door.missing for door in doors))
        yield each("events_lost", "Passes that its full outbox gave up, ever.", (door.events_lost for door in doors))
        yield each("trouble", "How many things it complains of.", (len(door.trouble) for door in doors))
        yield each("temperature_celsius", "Of its processor.", (one.temperature_c if one else None for one in signs))
        yield each(
            "coverage_ratio", "Share of today's opening hours that it looked at.",
            (one.coverage_today if one else None for one in signs),
        )  # fmt: skip
        labels = ("door", "site", "release", "accelerator")
        yield _by(
            "maskfleet_door_info", "What it runs, and where it is.", labels,
            (((one.name, one.site or "", str(one.release or 0), one.accelerator or ""), 1) for one in doors),
        )  # fmt: skip

    def _service(self, now: datetime) -> Iterator[Metric]:
        state = self._views.service(now).broker
        yield _one("maskfleet_consumer_up", "Whether a consumer runs.", float(state is not BrokerState.UNWATCHED))
        yield _one("maskfleet_broker_up", "Whether it reaches the broker.", float(state is BrokerState.UP))
        refused = CounterMetricFamily("maskfleet_quarantine_messages", "Messages refused.", labels=("kind",))
        for one in self._store.quarantine_counts():
            refused.add_metric((one.kind,), one.messages)
        yield refused


def new_metrics_api(store: Store, views: Views, clock: Callable[[], datetime]) -> APIRouter:
    """`GET /metrics`, Prometheus' text format."""
    api = APIRouter()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Metrics(store, views, PassTotals(store.engine), clock))

    @api.get("/metrics", tags=["service"], summary="For Prometheus", response_class=Response)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return api


def _passes(connection: Connection, *, since: datetime | None = None, before: datetime | None = None) -> Series:
    keys = (hours.c.device, hours.c.direction, hours.c.label)
    query = select(*keys, func.sum(hours.c.passes).label("passes")).group_by(*keys)
    if since is not None:
        query = query.where(hours.c.hour >= since)
    if before is not None:
        query = query.where(hours.c.hour < before)
    return Series({(row.device, row.direction, row.label): int(row.passes) for row in connection.execute(query)})


def _one(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def _by(
    name: str, help_text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for its, value in values:
        family.add_metric(its, float(value))
    return family
