"""Every page, looked at by axe-core: in light and dark, on a desk and a phone, in every language."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from sqlalchemy import insert

from cloud.store import writing
from cloud.store.schema import coverage, devices, quarantine
from cloud.store.schema_doors import alerts, doors, sites
from cloud.web.access import ROUTES
from cloud.web.language import NAMES
from cloud.web.roles import Role
from contract.fleet import Step
from contract.jobs import JobKind, JobState, Outcome
from tests.browser.conftest import enter
from tests.browser.desk import Desk, comparison
from tests.browser.test_people_pages import show
from tests.cloud.people_kit import new_people

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
NO_PAGES = re.compile(r"GET (/static/|/healthz|/tuf/|/api/|/metrics|/sign-in/oidc|.*\.csv$)")
VISITS = {  # page -> addresses to look at
    "/": ("", "?span=28d"),
    "/doors/{name}": ("doors/canteen", "doors/nowhere"),
    "/doors": ("doors", "doors?state=trouble&sort=state&down=1", "doors?text=nobody"),
    "/quarantine": ("quarantine", "quarantine?kind=conflict"),
    "/quarantine/forget": ("quarantine/forget?until=2030-01-01T00:00:00%2B00:00",),
    "/fleet": ("fleet",),
    "/learning": ("learning",),
    "/label": ("label",),
    "/alerts": ("alerts",),
    "/settings": ("settings",),
    "/settings/{device}": ("settings/canteen",),
    "/docs": ("docs",),
    "/account": ("account",),
    "/users": ("users",),
    "/audit": ("audit", "audit?who=nobody"),
    "/sign-in": ("sign-in",),
    "/welcome/{token}": ("welcome/{link}", "welcome/gone"),
}
RUN = """
const done = arguments[arguments.length - 1];
axe.run({ exclude: [["#swagger"]] }, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] })
  .then((found) => done(found.violations.map((one) => [one.impact, one.id, one.nodes.map((node) => node.target.join(" ") + ": " + node.failureSummary.split("\\n")[1].trim()).slice(0, 4)])));
"""  # the content of #swagger is Swagger UI's own
GRAVE = ("serious", "critical")


def fill(desk: Desk) -> None:
    """Doors in every state, alerts, a refused training, a running rollout and something in quarantine."""
    now = datetime.now(UTC)
    for name in ("canteen", "front", "gate"):
        desk.report(name, 0)
    desk.publish(1)
    desk.report("gate", 0, Step.ROLLED_BACK, 1, "golden frames differ")
    desk.turn()
    desk.jobs.add(JobKind.RETRAIN, "312 new labels", now, snapshot="c" * 64)
    job = desk.claim()
    desk.train(job, 12, done=0.4)
    told = Outcome(
        lease=job.lease, state=JobState.REFUSED, objections=("worse on people in a hurry",),
        comparisons=(comparison("validation", -0.02),),
    )  # fmt: skip
    desk.end(job, told)
    desk.jobs.add(JobKind.RETRAIN, "300 new labels", now, snapshot="d" * 64)
    desk.train(desk.claim(), 12, done=0.4)
    with desk.engine.begin() as connection:
        connection.execute(
            insert(sites).values(slug="hall", name="Town hall", time_zone="Europe/Paris", week=[""] * 7, closed=[])
        )
        connection.execute(insert(doors).values(device="canteen", title="Canteen", site="hall", note=""))
        connection.execute(
            devices.update()
            .where(devices.c.name == "canteen")
            .values(release=1, accelerator="cpu", fps=6.1, trouble=["the picture is black"], drift=0.001)
        )
        connection.execute(devices.update().where(devices.c.name == "gate").values(state="offline"))
        hour = now.replace(minute=0, second=0, microsecond=0)
        for back in range(20):
            seen = {"open_minutes": 60, "seen_minutes": 40, "clock_synchronised": True}
            connection.execute(insert(coverage).values(device="canteen", hour=hour - timedelta(hours=back), **seen))
        for kind, closed_at in (("camera", None), ("door_silent", now)):
            alert = {"kind": kind, "open": None if closed_at else True, "reason": "the picture is black"}
            connection.execute(
                insert(alerts).values(
                    id=uuid4(), subject="canteen", door="canteen", opened_at=now, reminded_at=now, closed_at=closed_at, **alert
                )
            )  # fmt: skip
        row = {
            "digest": b"d" * 32, "topic": "mf/v1/0/canteen/events", "device": "canteen", "kind": "malformed",
            "reason": "not JSON", "deliveries": 2, "things": 1, "size": 9, "head": b"{not json",
        }  # fmt: skip
        connection.execute(insert(quarantine).values(received_at=now, last_received_at=now, **row))
        writing.mark_change(connection)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    served = Desk(tmp_path_factory.mktemp("desk"))
    fill(served)
    yield served
    served.close()


def violations(browser: Chrome) -> list[Any]:
    """What axe-core finds that keeps somebody out. The script comes by the debugger: the content policy allows no other way."""
    browser.execute_script(AXE)
    found = browser.execute_async_script(RUN)
    return [(rule, where) for impact, rule, where in found if impact in GRAVE]


def test_every_page_is_visited() -> None:
    pages = {line.removeprefix("GET ") for line in ROUTES if line.startswith("GET ") and not NO_PAGES.match(line)}
    assert pages == set(VISITS), "a page that is new or gone: give it a visit in VISITS, or take that away"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("code", list(NAMES))
def test_no_page_keeps_anybody_out(browser: Chrome, desk: Desk, code: str, dark: bool, phone: bool) -> None:
    enter(browser, desk.engine, desk.address, role=Role.ADMIN)
    browser.execute_cdp_cmd(
        "Network.setCookie", {"name": "maskfleet-language", "value": code, "url": desk.address, "httpOnly": True}
    )
    link = new_people(desk.engine).invite("", Role.VIEWER, "a test", datetime.now(UTC))
    faults = {}
    for address in (one for visits in VISITS.values() for one in visits):
        show(browser, desk.address + address.format(link=link), dark=dark, phone=phone)
        assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == code, address
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        if wide > (390 if phone else 1280):
            faults[address] = [("scrolls sideways", wide)]
        elif found := violations(browser):
            faults[address] = found
    browser.execute_cdp_cmd("Network.deleteCookies", {"name": "maskfleet-language", "url": desk.address})
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # the link that is gone answers 404
    assert not faults, "\n".join(f"{address}: {fault}" for address, found in faults.items() for fault in found)
