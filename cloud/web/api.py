"""The JSON API, /api/v1."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse

from cloud.counts.periods import HOUR, day_start
from cloud.web.answers import Counts, Door, Grouping, QuarantineAnswer, Service
from cloud.web.live import Pulse
from cloud.web.views import Views
from contract.wire import Instant

LONGEST = timedelta(days=92)


def new_api(views: Views, pulse: Pulse, clock: Callable[[], datetime]) -> APIRouter:
    """Every route that answers JSON, and the stream of changes."""
    api = APIRouter(prefix="/api/v1")

    @api.get("/doors", tags=["doors"], summary="All doors, their health and their passes today")
    def doors() -> list[Door]:
        return views.doors(clock())

    @api.get("/counts", tags=["counts"], summary="Passes and compliance by hour, of all doors or one")
    def counts(
        start: Annotated[
            Instant | None,
            Query(alias="from", description="ISO 8601 with an offset; default: midnight today in the pages' zone."),
        ] = None,
        end: Annotated[Instant | None, Query(alias="to", description="Not included; default: now.")] = None,
        door: Annotated[
            str | None, Query(max_length=39, pattern=r"^[^\x00]*$", description="One door's name; default: all.")
        ] = None,
        by: Annotated[Grouping, Query(description="`door_hour` keeps doors apart.")] = Grouping.HOUR,
    ) -> Counts:
        now = clock()
        first = (start or day_start(now, views.zone)).astimezone(UTC)
        last = (end or now + HOUR).astimezone(UTC)
        if not timedelta(0) < last - first <= LONGEST:
            raise HTTPException(422, f"'to' must be after 'from', by at most {LONGEST.days} days")
        return views.counts(first, last, by=by, door=door)

    @api.get("/quarantine", tags=["service"], summary="Messages that broke the contract, by kind, and the newest")
    def quarantine() -> QuarantineAnswer:
        return views.quarantine()

    @api.get("/service", tags=["service"], summary="How the service itself is doing")
    def service() -> Service:
        return views.service(clock())

    @api.get(
        "/live",
        tags=["service"],
        summary="Server-sent events: `changed` whenever something changed",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "A stream that does not end."}},
    )
    async def live() -> StreamingResponse:
        return StreamingResponse(
            pulse.beats(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return api
