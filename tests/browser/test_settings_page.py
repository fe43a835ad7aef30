"""The pages of settings in a real Chromium: a line is drawn by pointer, by key and by number, and reaches the door's row."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from cloud.fleet import doors
from cloud.fleet.doors import DoorSettings
from cloud.store import fleet
from contract.fleet import Desired
from rehearsal.processes import wait_until
from tests.browser.conftest import enter
from tests.browser.desk import Desk
from tests.browser.test_page import complaints, open_page, photograph, text


@pytest.fixture
def desk(tmp_path: Path, browser: Chrome) -> Iterator[Desk]:
    served = Desk(tmp_path)
    enter(browser, served.engine, served.address)
    for name in ("canteen", "main-entrance", "north-gate"):
        served.report(name, 0)
    yield served
    served.close()


def fill(scope: Chrome | WebElement, selector: str, words: str) -> None:
    field = scope.find_element(By.CSS_SELECTOR, selector)
    field.clear()
    field.send_keys(words)


def make_site(browser: Chrome, desk: Desk) -> None:
    open_page(browser, f"{desk.address}settings")
    form = browser.find_element(By.CSS_SELECTOR, "#new-site form")
    fill(form, "[name=slug]", "town-hall")
    fill(form, "[name=name]", "Town hall")
    fill(form, "[name=time_zone]", "Europe/Paris")
    for day in form.find_elements(By.CSS_SELECTOR, "[name=week]")[:5]:
        day.send_keys("8:00-12:00,14:00-18:00")
    fill(form, "[name=closed]", "2026-12-25\n2027-01-01")
    form.find_element(By.CSS_SELECTOR, "button.main").click()
    wait_until(lambda: "Town hall" in text(browser, "main"), within_s=10, what="the new site on the page")


def wishes(desk: Desk) -> dict[str, Desired]:
    with desk.engine.connect() as connection:
        return {one.device: one for one in fleet.read_waiting(connection)}


def save(browser: Chrome) -> str:
    browser.execute_script("document.querySelector('.sections > .answer').textContent = ''")
    browser.find_element(By.CSS_SELECTOR, ".last .main").click()
    wait_until(lambda: bool(text(browser, ".sections > .answer")), within_s=10, what="an answer beside the button")
    return text(browser, ".sections > .answer")


def test_a_line_is_drawn_by_pointer_key_and_number_and_sent(browser: Chrome, desk: Desk) -> None:
    make_site(browser, desk)
    open_page(browser, f"{desk.address}settings/main-entrance")
    browser.find_element(By.ID, "add-line").click()
    start, end = browser.find_elements(By.CSS_SELECTOR, ".plan .handle")
    ActionChains(browser).drag_and_drop_by_offset(start, 0, 88).perform()
    end.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    fill(browser, ".row label:nth-of-type(4) input", "0.8")  # to x
    fill(browser, "[name=title]", "Main entrance")
    browser.find_element(By.CSS_SELECTOR, "[name=site] option[value=town-hall]").click()
    fill(browser, "[name=budget]", "12")
    fill(browser, "[name=window_min]", "90")
    assert save(browser) == "Saved."
    wish = wishes(desk)["main-entrance"]
    assert wish.door
    x0, y0, x1, y1 = wish.door.lines[0].line
    assert (x0, x1, y1) == (0.1, 0.8, 0.52)
    assert y0 == pytest.approx(0.7, abs=0.02)
    assert wish.sampling
    assert (wish.sampling.budget, wish.sampling.window_s) == (12, 5400)
    assert wish.opening
    assert wish.opening.open == ("mon-fri 08:00-12:00", "mon-fri 14:00-18:00")
    wait_until(lambda: "on its way" in text(browser, "#stage"), within_s=10, what="the stage on the page")
    browser.find_element(By.XPATH, "//button[text()='Turn round']").click()
    assert save(browser) == "Saved."
    turned = wishes(desk)["main-entrance"].door
    assert turned
    assert turned.lines[0].line == (x1, y1, x0, y0)
    browser.find_element(By.ID, "add-line").click()
    fill(browser, ".row:nth-child(2) .named input", "line-1")
    assert "two lines are called 'line-1'" in save(browser)
    assert [one for one in complaints(browser) if "422" not in one] == []


def test_settings_that_were_sent_are_shown_again_and_can_be_forgotten(browser: Chrome, desk: Desk) -> None:
    make_site(browser, desk)
    open_page(browser, f"{desk.address}settings/canteen")
    browser.find_element(By.ID, "add-line").click()
    browser.find_element(By.ID, "add-corner").click()
    assert save(browser) == "Saved."
    open_page(browser, f"{desk.address}settings/canteen")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".plan .handle")) == 6
    browser.find_element(By.CSS_SELECTOR, ".last .grave").click()
    browser.find_element(By.ID, "confirm-yes").click()
    wait_until(lambda: wishes(desk)["canteen"].door is None, within_s=10, what="the settings forgotten")
    assert complaints(browser) == []


def test_who_saves_after_somebody_else_did_is_told_and_overwrites_nothing(browser: Chrome, desk: Desk) -> None:
    make_site(browser, desk)
    open_page(browser, f"{desk.address}settings/canteen")
    doors.save_door(desk.engine, "canteen", DoorSettings(title="Canteen, first floor"), datetime.now(UTC))
    fill(browser, "[name=title]", "Canteen")
    assert save(browser).startswith("Not saved: somebody else changed it meanwhile")
    open_page(browser, f"{desk.address}settings/canteen")
    assert browser.find_element(By.NAME, "title").get_attribute("value") == "Canteen, first floor"
    fill(browser, "[name=title]", "Canteen")
    assert [save(browser), save(browser)] == ["Saved."] * 2
    open_page(browser, f"{desk.address}settings")
    form = browser.find_element(By.CSS_SELECTOR, "#new-site form")
    browser.find_element(By.CSS_SELECTOR, "#new-site summary").click()
    fill(form, "[name=slug]", "town-hall")
    fill(form, "[name=name]", "Another hall")
    form.find_element(By.CSS_SELECTOR, "button.main").click()
    answer = "#new-site .answer"
    wait_until(lambda: bool(text(browser, answer)), within_s=10, what="an answer beside the button")
    assert text(browser, answer) == "Not saved: there is one of this name already."
    assert [one for one in complaints(browser) if "412" not in one] == []


def test_the_pages_of_settings_are_whole_everywhere(browser: Chrome, desk: Desk) -> None:
    make_site(browser, desk)
    open_page(browser, f"{desk.address}settings/main-entrance")
    for _ in range(2):
        browser.find_element(By.ID, "add-line").click()
    browser.find_element(By.ID, "add-corner").click()
    browser.find_element(By.CSS_SELECTOR, "[name=site] option[value=town-hall]").click()
    assert save(browser) == "Saved."
    with desk.engine.begin() as connection:
        fleet.mark_published(connection, "main-entrance", 1, datetime.now(UTC))
    for page, where in (("settings", "settings"), ("settings-door", "settings/main-entrance")):
        for name, dark, phone in (
            ("light", False, False),
            ("dark", True, False),
            ("phone", False, True),
            ("phone-dark", True, True),
        ):
            open_page(browser, f"{desk.address}{where}", dark=dark, phone=phone)
            photograph(browser, f"{page}-{name}")
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= (390 if phone else 1280), f"{page}-{name} scrolls sideways"
    assert complaints(browser) == []
