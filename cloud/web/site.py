"""One site: API, pages, documentation, health."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cloud.config import CloudSettings
from cloud.fleet.rollout import Rules
from cloud.fleet.steward import record_releases
from cloud.loop import Loop, new_loop
from cloud.store.store import Store
from cloud.web.answers import Service
from cloud.web.api import new_api
from cloud.web.headers import SecurityHeaders
from cloud.web.jobs import new_job_api
from cloud.web.labels import new_label_api
from cloud.web.live import Pulse
from cloud.web.origin import new_require_person
from cloud.web.pages import Pages
from cloud.web.rollouts import new_rollout_api, rollout_view
from cloud.web.tokens import new_require_machine
from cloud.web.tuf import new_release_api, new_tuf_files
from cloud.web.views import Views
from contract.jobs import JobKind

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/fleet", "/learning", "/label")  # for people: they get words, not JSON
LAST_JOBS = 12
ABOUT = (
    "Face-mask counts from every door. Shares carry their sampling error only; the detector's own is not corrected yet."
)


def _now() -> datetime:
    return datetime.now(UTC)


def new_site(
    store: Store,
    settings: CloudSettings,
    closing: threading.Event,
    clock: Callable[[], datetime] = _now,
    loop: Loop | None = None,
) -> FastAPI:
    """The application; `closing` ends its streams."""
    views = Views(store, zone=settings.zone, silent_after=timedelta(seconds=settings.silent_after_s))
    pages = Pages(views, settings)
    site = FastAPI(
        title="maskfleet", version=_version(), description=ABOUT, docs_url=None, redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )  # fmt: skip
    site.add_middleware(SecurityHeaders)
    site.include_router(new_api(views, Pulse(views.change_number, closing), clock))
    loop = loop or new_loop(settings, store.engine)
    require_machine = new_require_machine(store.engine)
    site.include_router(new_job_api(loop.jobs, loop.retraining, require_machine, clock))
    site.include_router(
        new_label_api(
            loop.labelling, loop.snapshots, loop.blobs, require_person=new_require_person(require_machine),
            require_machine=require_machine, clock=clock,
        )
    )  # fmt: skip
    rules = Rules(silent_after_s=settings.answer_within_s, canary_soak_s=settings.canary_soak_s)

    def rollout() -> dict[str, Any]:
        return rollout_view(store.engine, clock(), rules, settings.silent_after_s)

    def republish(connection: Connection, release: int) -> object:
        reason = f"release {release} again, asked for by hand"
        return loop.jobs.add_within(connection, JobKind.REPUBLISH, reason, clock(), again=release)

    site.include_router(new_rollout_api(store.engine, rollout, republish))
    site.include_router(new_tuf_files(loop.repository))
    site.include_router(
        new_release_api(
            loop.repository, require_machine, clock=clock,
            published=lambda now: record_releases(store.engine, loop.repository, now),
        )
    )  # fmt: skip
    site.mount("/static", StaticFiles(directory=STATIC), name="static")

    @site.get("/", include_in_schema=False)
    def home() -> HTMLResponse:
        return pages.home(clock())

    @site.get("/fleet", include_in_schema=False)
    def fleet() -> HTMLResponse:
        return pages.fleet(rollout(), clock())

    @site.get("/learning", include_in_schema=False)
    def learning() -> HTMLResponse:
        now = clock()
        labelled = loop.labelling.progress(now)
        return pages.learning(loop.retraining.outlook(now), labelled, loop.jobs.latest(LAST_JOBS), now)

    @site.get("/label", include_in_schema=False)
    def label() -> HTMLResponse:
        return pages.label()

    @site.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return pages.docs()

    @site.get("/healthz", tags=["service"], summary="For supervisors: 200 while the database answers")
    def healthz() -> Service:
        return views.service(clock())

    @site.exception_handler(SQLAlchemyError)
    def no_database(request: Request, _error: Exception) -> Response:
        if request.url.path in PAGES:
            return pages.away(request.url.path)
        return JSONResponse({"detail": "the database does not answer; try again"}, 503, {"Retry-After": "5"})

    return site


def _version() -> str:
    try:
        return version("maskfleet")
    except PackageNotFoundError:
        return "0"
