"""The page of alerts and the header's badge in a real Chromium."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from selenium.webdriver import Chrome

from cloud.fleet.alerts import Change, Finding, Kind, What
from cloud.store import alerts, writing
from rehearsal.processes import wait_until
from tests.browser.conftest import enter
from tests.browser.desk import Desk
from tests.browser.test_page import complaints, open_page, photograph, text

LONG = "12 of the last 30 minutes of today's opening hours were looked at; at least 80 % should be"


@pytest.fixture
def desk(tmp_path: Path, browser: Chrome) -> Iterator[Desk]:
    served = Desk(tmp_path)
    enter(browser, served.engine, served.address)
    for name in ("canteen", "main-entrance"):
        served.report(name, 0)
    yield served
    served.close()


def change(
    desk: Desk, what: What, kind: Kind, subject: str, reason: str = "", *, ago_h: float = 0, error: str = ""
) -> None:
    """As the watchman writes it, with two messages about it."""
    now = datetime.now(UTC) - timedelta(hours=ago_h)
    door = subject if kind in (Kind.CAMERA, Kind.COVERAGE_LOW, Kind.DOOR_SILENT) else None
    with desk.engine.begin() as connection:
        finding = Finding(kind, subject, what is not What.CLOSED, reason, door)
        alert = alerts.write_change(connection, Change(what, finding), uuid4(), now)
        row = {"alert": alert, "channel": "webhook", "body": {}, "made_at": now, "next_at": now}
        ids = [uuid4(), uuid4()]
        alerts.queue(connection, [{**row, "id": one, "target": f"https://example.org/{one}"} for one in ids])
        alerts.mark_sent(connection, ids[0], now)
        alerts.mark_failed(connection, ids[1], error, now) if error else alerts.mark_sent(connection, ids[1], now)
        writing.mark_change(connection)


def test_an_alert_appears_on_the_page_and_in_the_header_without_a_reload_and_goes(browser: Chrome, desk: Desk) -> None:
    open_page(browser, f"{desk.address}alerts")
    assert text(browser, "h1") == "All is well"
    assert text(browser, "#alert-badge") == "No alerts"
    photograph(browser, "alerts-none")
    change(desk, What.OPENED, Kind.DOOR_SILENT, "canteen", "it says nothing")
    wait_until(lambda: "1\u00a0alert is open" in text(browser, "h1"), within_s=10, what="the alert on the page")
    assert text(browser, "#alert-badge") == "1\u00a0alert"
    change(desk, What.CLOSED, Kind.DOOR_SILENT, "canteen")
    wait_until(lambda: text(browser, "h1") == "All is well", within_s=10, what="the alert gone")
    assert "door silent" in text(browser, "#past-alerts")
    assert complaints(browser) == []


def test_the_page_of_alerts_is_whole_everywhere(browser: Chrome, desk: Desk) -> None:
    change(desk, What.OPENED, Kind.DOOR_SILENT, "canteen", "it says nothing", ago_h=30)
    change(desk, What.CLOSED, Kind.DOOR_SILENT, "canteen", ago_h=29)
    change(
        desk, What.OPENED, Kind.CAMERA, "main-entrance", "the picture is black: is the lens covered, or the light off?"
    )
    change(desk, What.OPENED, Kind.COVERAGE_LOW, "canteen", LONG, error="example.org answers 503")
    change(
        desk, What.OPENED, Kind.CERTIFICATE_ENDING, "the web server's certificate", "it ends on 2026-12-05", ago_h=50
    )
    for name, dark, phone in (
        ("light", False, False),
        ("dark", True, False),
        ("phone", False, True),
        ("phone-dark", True, True),
    ):
        open_page(browser, f"{desk.address}alerts", dark=dark, phone=phone)
        photograph(browser, f"alerts-{name}")
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= (390 if phone else 1280), f"alerts-{name} scrolls sideways"
    assert complaints(browser) == []
