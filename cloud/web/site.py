"""One site: API, pages, documentation, health."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Connection

from cloud.config import CloudSettings
from cloud.counts.periods import day_start
from cloud.fleet.care import Lines
from cloud.fleet.rollout import Rules
from cloud.fleet.steward import record_releases
from cloud.loop import Loop, new_loop
from cloud.store.store import Store
from cloud.web.access import ROUTES
from cloud.web.account import new_account
from cloud.web.alerts import Alerts, new_alert_api
from cloud.web.answers import FaultAnswer, Service
from cloud.web.api import new_api
from cloud.web.asking import require_machine
from cloud.web.compliance import new_compliance_api
from cloud.web.counting import new_count_pages
from cloud.web.doors import Ward, new_doors
from cloud.web.errors import answer_errors
from cloud.web.estimates import Estimates
from cloud.web.exports import new_export_api
from cloud.web.gate import Gate, require_same_line, wants_page
from cloud.web.headers import SecurityHeaders
from cloud.web.jobs import new_job_api
from cloud.web.keeping import keeping_view, new_keeping_api
from cloud.web.labels import new_label_api
from cloud.web.live import Pulse
from cloud.web.metrics import new_metrics_api
from cloud.web.oidc import Provider, new_oidc
from cloud.web.pages import Pages
from cloud.web.passwords import Passwords
from cloud.web.people import People
from cloud.web.quarantine import new_quarantine
from cloud.web.rollouts import new_rollout_api, rollout_view
from cloud.web.settings import Sites, new_settings_api
from cloud.web.signing import new_signing
from cloud.web.speaking import new_speaking
from cloud.web.tokens import find_machine
from cloud.web.tuf import new_release_api, new_tuf_files
from cloud.web.users import new_users
from cloud.web.views import Views
from contract.errors import ContractError
from contract.jobs import JobKind

STATIC = Path(__file__).parent / "static"
PAGES = (
    "/",
    "/doors",
    "/fleet",
    "/quarantine",
    "/learning",
    "/label",
    "/alerts",
    "/settings",
    "/docs",
    "/account",
    "/users",
    "/audit",
    "/sign-in",
)  # for people: they get words, not JSON
LAST_JOBS = 12
REFUSALS: dict[int | str, dict[str, Any]] = {  # of every route, in the API's description
    400: {"description": "No such request can be understood."},
    401: {"description": "Nobody is signed in, or the token is not known."},
    403: {"description": "That is not yours to do, or another site's page sent it."},
    404: {"description": "There is nothing of this name."},
    409: {"description": "Not as things stand now."},
    413: {"description": "Too many bytes."},
    422: {"description": "What is asked for makes no sense.", "model": FaultAnswer},
    503: {"description": "Not now: try again."},
}
ABOUT = (
    "Face-mask counts from every door. `/api/v1/compliance` corrects them for the detector's own errors, where people have "
    "labelled enough; other shares are as the model called them, with their sampling error only."
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
    alerts = Alerts(store.engine)
    pages = Pages(views, settings, alerts.count)
    site = FastAPI(
        title="maskfleet", version=_version(), description=ABOUT, docs_url=None, redoc_url=None,
        openapi_url="/api/v1/openapi.json", dependencies=[Depends(require_same_line)],
        responses=REFUSALS,
    )  # fmt: skip
    people = People(store.engine, settings.accounts, Passwords())

    def no_database(request: Request) -> Response:
        path = request.url.path
        if wants_page(request) or path in PAGES or path.startswith(("/settings/", "/doors/")):
            return pages.away(request.url.path)
        return JSONResponse({"detail": "the database does not answer; try again"}, 503, {"Retry-After": "5"})

    site.add_middleware(
        Gate, table=ROUTES, routes=site.router.routes, engine=store.engine, clock=clock,
        person=lambda token: people.whose(token, clock()),
        machine=lambda given: find_machine(store.engine, given, clock()),
        public_counts=settings.accounts.public_counts, refusal=pages.refusal, away=no_database,
    )  # fmt: skip
    site.add_middleware(SecurityHeaders)
    site.include_router(new_api(views, Pulse(views.change_number, closing), clock))
    estimates = Estimates(store.engine, settings.zone)
    site.include_router(new_compliance_api(estimates.answer, lambda now: day_start(now, settings.zone), clock))
    site.include_router(new_export_api(store.engine, settings.zone, clock))
    loop = loop or new_loop(settings, store.engine)
    site.include_router(new_job_api(loop.jobs, loop.retraining, require_machine, clock))
    site.include_router(
        new_label_api(
            loop.labelling, loop.snapshots, loop.blobs, require_machine=require_machine, clock=clock,
        )
    )  # fmt: skip
    rules = Rules(silent_after_s=settings.answer_within_s, canary_soak_s=settings.canary_soak_s)

    def rollout() -> dict[str, Any]:
        return rollout_view(store.engine, clock(), rules, settings.silent_after_s)

    def republish(connection: Connection, release: int) -> object:
        reason = f"release {release} again, asked for by hand"
        return loop.jobs.add_within(connection, JobKind.REPUBLISH, reason, clock(), again=release)

    site.include_router(new_rollout_api(store.engine, rollout, republish))
    site.include_router(new_keeping_api(lambda: keeping_view(store.engine, settings.retention)))
    site.include_router(new_tuf_files(loop.repository))
    site.include_router(
        new_release_api(
            loop.repository, require_machine, clock=clock,
            published=lambda now: record_releases(store.engine, loop.repository, now),
        )
    )  # fmt: skip
    session_s, button = settings.accounts.session_s, settings.oidc.button if settings.oidc.issuer else ""
    site.include_router(new_signing(people, pages, session_s=session_s, oidc_button=button, clock=clock))
    site.include_router(
        new_oidc(people, pages, _provider(settings), roles=settings.oidc.roles, session_s=session_s, clock=clock)
    )
    site.include_router(new_speaking())
    site.include_router(new_account(people, pages, session_s=session_s, clock=clock))
    site.include_router(new_users(people, pages, address=settings.accounts.address, clock=clock))
    sites = Sites(store.engine)
    site.include_router(new_settings_api(store.engine, sites, clock=clock))
    lines = Lines(settings.alerts.coverage_line, timedelta(days=settings.alerts.certificate_days))
    ward = Ward(store, zone=settings.zone, silent_after=timedelta(seconds=settings.silent_after_s), lines=lines)
    site.include_router(new_doors(ward, pages, clock))
    site.include_router(new_quarantine(store, pages, days=settings.retention.quarantine_days, clock=clock))
    site.include_router(new_alert_api(alerts))
    site.include_router(new_metrics_api(store, views, clock))
    site.include_router(new_count_pages(store, views, alerts, pages, clock))
    site.mount("/static", StaticFiles(directory=STATIC), name="static")

    @site.get("/fleet", include_in_schema=False)
    def fleet() -> HTMLResponse:
        return pages.fleet(rollout(), clock())

    @site.get("/learning", include_in_schema=False)
    def learning() -> HTMLResponse:
        now = clock()
        labelled = loop.labelling.progress(now)
        kept = keeping_view(store.engine, settings.retention)
        return pages.learning(loop.retraining.outlook(now), labelled, loop.jobs.latest(LAST_JOBS), kept, now)

    @site.get("/label", include_in_schema=False)
    def label() -> HTMLResponse:
        return pages.label()

    @site.get("/alerts", include_in_schema=False)
    def alerts_page() -> HTMLResponse:
        return pages.alerts(alerts.latest(), clock())

    @site.get("/settings", include_in_schema=False)
    def settings_page() -> HTMLResponse:
        return pages.settings(sites.sites(), sites.doors())

    @site.get("/settings/{device}", include_in_schema=False)
    def door_settings(device: str) -> HTMLResponse:
        door = sites.door(device)
        if door is None:
            raise HTTPException(404, f"no device {device[:60]!r} ever spoke here")
        return pages.door_settings(door, sites.sites())

    @site.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return pages.docs()

    @site.get("/healthz", tags=["service"], summary="For supervisors: 200 while the database answers")
    def healthz() -> Service:
        return views.service(clock())

    answer_errors(site, pages, no_database)
    return site


def _provider(settings: CloudSettings) -> Provider | None:
    if not settings.oidc.issuer:
        return None
    try:
        from cloud.web.provider import open_provider  # Authlib is an extra
    except ImportError as error:
        raise ContractError("oidc needs Authlib: install maskfleet[cloud-oidc]") from error
    return open_provider(settings.oidc, settings.accounts.address)


def _version() -> str:
    try:
        return version("maskfleet")
    except PackageNotFoundError:
        return "0"
