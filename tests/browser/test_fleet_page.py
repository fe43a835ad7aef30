"""The page of the rollout in a real Chromium; its screenshots are kept under artefacts/."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from sqlalchemy import update

from cloud.store import writing
from cloud.store.schema import doors_desired, reported
from contract.fleet import Reported, Step
from contract.jobs import JobKind, JobState, Outcome
from contract.topics import Channel
from rehearsal.processes import wait_until
from tests.browser.conftest import House, enter
from tests.browser.desk import Desk
from tests.browser.test_page import complaints, open_page, photograph, text

DOORS = ("canteen", "east-wing", "garage", "library", "loading-dock", "main-entrance", "north-gate", "reception")
WHY = "golden frames: 3 of 24 differ by more than is allowed on this accelerator"


@pytest.fixture
def desk(tmp_path: Path, browser: Chrome) -> Iterator[Desk]:
    served = Desk(tmp_path)
    enter(browser, served.engine, served.address)
    yield served
    served.close()


def everywhere(desk: Desk, number: int) -> None:
    """Make release `number` in a job, publish it, and let all doors run it."""
    now = datetime.now(UTC)
    desk.jobs.add(JobKind.RETRAIN, "312 new labels", now, snapshot="c" * 64)
    job = desk.claim()
    assert job.release == number
    desk.publish(number)
    desk.end(job, Outcome(lease=job.lease, state=JobState.PUBLISHED))
    desk.turn()
    for name in DOORS:
        desk.report(name, number, Step.CONFIRMED, number)
    desk.turn(4)


def halfway(desk: Desk) -> None:
    """Release 1 is on all doors, release 2 on its way to them."""
    for name in DOORS:
        desk.report(name, 0)
    everywhere(desk, 1)
    desk.publish(2)
    desk.turn()


def asked(desk: Desk, number: int) -> list[str]:
    with desk.engine.connect() as connection:
        rows = connection.execute(doors_desired.select().where(doors_desired.c.release == number)).mappings()
        return sorted(row["device"] for row in rows)


def troubled(desk: Desk) -> None:
    """The first doors run release 2; of the others one refused it and one fell silent."""
    for name in asked(desk, 2):
        desk.report(name, 2, Step.CONFIRMED, 2)
    first = set(asked(desk, 2))
    desk.turn(3)
    refuses, silent, *others = sorted(set(DOORS) - first)
    desk.report(refuses, 1, Step.ROLLED_BACK, 2, WHY)
    for name in others[:2]:
        desk.report(name, 2, Step.CONFIRMED, 2)
    with desk.engine.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        connection.execute(update(doors_desired).where(doors_desired.c.device == silent).values(since=long_ago))
        connection.execute(update(reported).where(reported.c.device == silent).values(received_at=long_ago))
        writing.mark_change(connection)
    desk.turn()


def click(browser: Chrome, selector: str) -> None:
    browser.find_element(By.CSS_SELECTOR, selector).click()


def becomes(browser: Chrome, words: str) -> None:
    wait_until(lambda: text(browser, "h1") == words, within_s=10, what=f"'{words}' on the page")


def test_a_door_that_reports_appears_on_the_fleet_page_without_a_reload(browser: Chrome, house: House) -> None:
    open_page(browser, f"{house.address}fleet")
    assert "No release yet" in text(browser, "h1")
    photograph(browser, "fleet-empty")
    report = Reported(device="front", at=datetime.now(UTC), release=0, digest="a" * 64, step=Step.IDLE)
    house.send("front", Channel.REPORTED, report.encode())
    wait_until(lambda: "front" in text(browser, "#doors"), within_s=10, what="the door on the page")
    assert complaints(browser) == []


def test_a_rollout_is_paused_resumed_and_after_a_question_reverted_by_clicks(browser: Chrome, desk: Desk) -> None:
    halfway(desk)
    open_page(browser, f"{desk.address}fleet")
    becomes(browser, "Release 2 is running")
    click(browser, "button[data-post$=pause]")
    becomes(browser, "Release 2 is paused")
    assert "no further door is asked" in text(browser, "#answer")
    click(browser, "button[data-post$=resume]")
    becomes(browser, "Release 2 is running")
    click(browser, "button[data-post$=revert]")
    assert "Take release 2 back?" in text(browser, "#confirm")
    photograph(browser, "fleet-question")
    click(browser, "#confirm button[data-close=no]")
    assert text(browser, "h1") == "Release 2 is running"
    click(browser, "button[data-post$=revert]")
    click(browser, "#confirm-yes")
    becomes(browser, "Release 2 is reverted")
    job = desk.claim()
    assert (job.kind, job.again) == (JobKind.REPUBLISH, 1)
    desk.publish(job.release)
    becomes(browser, f"Release {job.release} is running")
    assert "brings back release 1" in text(browser, "#releases")
    click(browser, "#releases tbody tr:last-child a")
    wait_until(lambda: "from asking to end" in text(browser, "details:target"), within_s=10, what="its job, opened")
    assert complaints(browser) == []


def test_the_fleet_page_is_whole_everywhere_and_says_what_became_of_each_door(browser: Chrome, desk: Desk) -> None:
    halfway(desk)
    troubled(desk)
    for name, dark, phone in (
        ("fleet-light", False, False), ("fleet-dark", True, False), ("fleet-phone", False, True),
        ("fleet-phone-dark", True, True),
    ):  # fmt: skip
        open_page(browser, f"{desk.address}fleet", dark=dark, phone=phone)
        photograph(browser, name)
        wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen, f"{name} scrolls sideways"
    assert text(browser, "h1") == "Release 2 is halted"
    others = text(browser, ".goal:nth-child(2) .legend")
    assert ["2 ok" in others, "1 failed" in others, "1 silent" in others] == [True] * 3
    assert WHY in text(browser, "#doors")
    assert complaints(browser) == []


@pytest.mark.parametrize("path", ["", "doors", "fleet", "learning", "label", "settings", "docs"])
def test_every_page_has_the_same_navigation_that_fits_a_narrow_phone(browser: Chrome, desk: Desk, path: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    browser.get(f"{desk.address}{path}")
    links = browser.find_elements(By.CSS_SELECTOR, "nav[aria-label=Site] a")
    assert [link.text for link in links] == ["Overview", "Doors", "Releases", "Learning", "Label", "Settings", "API"]
    (here,) = (link.get_attribute("href") for link in links if link.get_attribute("aria-current") == "page")
    assert here == f"{desk.address}{path}"
    assert all(link.rect["x"] >= 0 and link.rect["x"] + link.rect["width"] <= 360 for link in links)
    assert len({link.rect["y"] for link in links}) <= 2
