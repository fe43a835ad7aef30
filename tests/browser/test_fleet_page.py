"""The page of the rollout in a real Chromium; its screenshots are kept under artefacts/."""

from datetime import UTC, datetime

from selenium.webdriver import Chrome

from contract.fleet import Reported, Step
from contract.topics import Channel
from rehearsal.processes import wait_until
from tests.browser.conftest import House
from tests.browser.test_page import complaints, open_page, photograph, text


def test_a_door_that_reports_appears_on_the_fleet_page_without_a_reload(browser: Chrome, house: House) -> None:
    open_page(browser, f"{house.address}fleet")
    assert "No release yet" in text(browser, "h1")
    report = Reported(device="front", at=datetime.now(UTC), release=0, digest="a" * 64, step=Step.IDLE)
    house.send("front", Channel.REPORTED, report.encode())
    wait_until(lambda: "front" in text(browser, "#doors"), within_s=10, what="the door on the page")
    photograph(browser, "fleet")
    assert complaints(browser) == []
