"""The pages that show counts: the overview and each door's."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from cloud.store.store import Store
from cloud.web.alerts import Alerts
from cloud.web.door import DoorPages
from cloud.web.estimates import ByZone
from cloud.web.overview import Overviews
from cloud.web.pages import Pages
from cloud.web.views import Views


def new_count_pages(
    store: Store, views: Views, alerts: Alerts, pages: Pages, clock: Callable[[], datetime]
) -> APIRouter:
    """`/` and `/doors/NAME`."""
    routes = APIRouter(include_in_schema=False)
    estimates = ByZone(store.engine)
    overviews = Overviews(store, views, alerts, estimates)
    doors = DoorPages(store, views, alerts, estimates)

    @routes.get("/")
    def overview(span: str = "", site: str = "") -> HTMLResponse:
        now = clock()
        return pages.overview(overviews.overview(span, site, now), now)

    @routes.get("/doors/{name}")
    def door(name: str) -> HTMLResponse:
        now = clock()
        view = doors.page(name, now)
        return pages.door(view, now) if view else pages.no_door(name, now)

    return routes
