"""Counts for other programs, streamed as they are read: CSV, JSON and Parquet of spans up to years."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain, islice
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine

from cloud.counts.export import COLUMNS, ExportRow, plain, rows
from cloud.counts.periods import Period
from cloud.store.coverage import covered_hours
from cloud.store.passes import hour_rows
from contract.wire import Instant

LONGEST = timedelta(days=3_660)
LINES_AT_ONCE = 500


class Kind(StrEnum):
    """The file's format."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


MEDIA = {
    Kind.CSV: "text/csv; charset=utf-8",
    Kind.JSON: "application/json",
    Kind.PARQUET: "application/vnd.apache.parquet",
}


def new_export_api(engine: Engine, zone: ZoneInfo, clock: Callable[[], datetime]) -> APIRouter:
    """The route."""
    api = APIRouter(prefix="/api/v1", tags=["counts"])

    @api.get(
        "/counts.{kind}",
        summary="Counts as a file: by period, door, line, direction, label and release",
        response_class=StreamingResponse,
        responses={200: {"content": {kind.split(";")[0]: {} for kind in MEDIA.values()}, "description": "A file."}},
    )
    def export(
        kind: Kind,
        start: Annotated[Instant, Query(alias="from", description="ISO 8601 with an offset.")],
        end: Annotated[Instant | None, Query(alias="to", description="Not included; default: now.")] = None,
        by: Annotated[Period, Query(description="Periods of the site's zone; weeks begin on Monday.")] = Period.DAY,
        door: Annotated[
            str | None, Query(max_length=39, pattern=r"^[^\x00]*$", description="One door's name; default: all.")
        ] = None,
    ) -> StreamingResponse:
        first, last = start.astimezone(UTC), (end or clock()).astimezone(UTC)
        if not timedelta(0) < last - first <= LONGEST:
            raise HTTPException(422, f"'to' must be after 'from', by at most {LONGEST.days} days")
        about = {
            "from": first.isoformat(), "to": last.isoformat(), "by": by.value, "time_zone": zone.key,
            "labels": "as the model called them, not corrected", "made_at": clock().isoformat(),
        }  # fmt: skip
        found = _started(_found(engine, first, last, by, zone, door))
        name = f"counts-{by}-{first:%Y%m%d}-{last:%Y%m%d}.{kind}"
        return StreamingResponse(
            _formatted(kind, found, about), media_type=MEDIA[kind],
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )  # fmt: skip

    return api


def _found(
    engine: Engine, start: datetime, end: datetime, by: Period, zone: ZoneInfo, door: str | None
) -> Iterator[ExportRow]:
    with engine.connect() as passing, engine.connect() as looking:
        counted = hour_rows(passing, start, end, device=door)
        yield from rows(counted, covered_hours(looking, start, end, device=door), by, zone, start=start, end=end)


def _started(found: Iterator[ExportRow]) -> Iterator[ExportRow]:
    """The same rows, the first one read already: where the database is away, the answer can still say so."""
    return chain(list(islice(found, 1)), found)


def _formatted(kind: Kind, found: Iterable[ExportRow], about: Mapping[str, str]) -> Iterator[bytes]:
    match kind:
        case Kind.CSV:
            return _csv(found)
        case Kind.JSON:
            return _json(found, about)
        case Kind.PARQUET:
            from cloud.web.parquet import parquet  # 60 MB that only this answer needs

            return parquet(found, about)


def _csv(found: Iterable[ExportRow]) -> Iterator[bytes]:
    yield (",".join(COLUMNS) + "\r\n").encode()
    rest = iter(found)
    while some := list(islice(rest, LINES_AT_ONCE)):
        text = io.StringIO()
        csv.writer(text).writerows([_cell(getattr(row, name)) for name in COLUMNS] for row in some)
        yield text.getvalue().encode()


def _json(found: Iterable[ExportRow], about: Mapping[str, str]) -> Iterator[bytes]:
    yield json.dumps({**about, "rows": []})[:-2].encode()
    rest, between = iter(found), ""
    while some := list(islice(rest, LINES_AT_ONCE)):
        texts = (json.dumps({name: _value(getattr(row, name)) for name in COLUMNS}) for row in some)
        yield (between + ",".join(texts)).encode()
        between = ","
    yield b"]}"


def _cell(value: Any) -> object:
    return plain(value) if isinstance(value, str) else _value(value) if value is not None else ""


def _value(value: Any) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return round(value, 6) if isinstance(value, float) else value
