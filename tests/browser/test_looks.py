"""What a strict eye would object to, on every page: targets for fingers, headers that wrap, titles, paper, and life without a script."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cloud.web.language import NAMES
from cloud.web.roles import Role
from rehearsal.processes import wait_until
from tests.browser.conftest import House, enter
from tests.browser.desk import Desk
from tests.browser.test_accessibility import VISITS, desk
from tests.browser.test_label_page import crops, deliver, picture_shown
from tests.browser.test_page import complaints, open_page, text
from tests.browser.test_people_pages import show
from tests.cloud.crop_kit import Sent
from tests.cloud.people_kit import new_people

__all__ = ("crops", "desk")  # fixtures
FINGER = 44  # px
# A link in the middle of a sentence is as high as its line (WCAG 2.5.8); Swagger UI is another's.
SMALL = """
return [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary, [role=button]")].filter((one) => {
  const box = one.getBoundingClientRect();
  if (!box.width || one.closest(".skip, #swagger, .unseen")) return false;
  if (getComputedStyle(one).display === "inline" && one.parentElement.textContent.trim() !== one.textContent.trim()) return false;
  const reached = one.matches("[type=checkbox], [type=radio]") ? one.closest("label") : one.querySelector(".hit") ?? one;
  return reached.getBoundingClientRect().height < arguments[0] - 0.5;
}).map((one) => `${one.tagName} ${one.name ?? ""} ${one.innerText?.slice(0, 30) ?? ""} ${one.getBoundingClientRect().height}`);
"""
OVERLAPPING = """
const all = [...document.querySelectorAll("main :is(a.button, button, input:not([type=hidden]), select, textarea)")].filter((one) => one.checkVisibility());
const boxes = all.map((one) => one.getBoundingClientRect());
const apart = (a, b) => !a.width || !b.width || a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
return all.flatMap((one, at) => all.slice(at + 1).filter((_, more) => !apart(boxes[at], boxes[at + 1 + more])).map((other) => `${one.name || one.innerText} lies on ${other.name || other.innerText}`));
"""
WIDTHS = (360, 768, 1024, 1280, 1920)


def addresses(desk: Desk) -> list[str]:
    link = new_people(desk.engine).invite("", Role.VIEWER, "a test", datetime.now(UTC))
    found = [one.format(link=link) for visits in VISITS.values() for one in visits]
    return [*found, "nothing-here", "settings/nowhere", "quarantine/forget"]


def speak(browser: Chrome, desk: Desk, code: str) -> None:
    cookie = {"name": "maskfleet-language", "value": code, "url": desk.address, "httpOnly": True}
    browser.execute_cdp_cmd("Network.setCookie", cookie)


@pytest.fixture
def spoken(browser: Chrome, desk: Desk) -> Iterator[Chrome]:
    """A browser that forgets afterwards what it was told: its language, its zone, its medium, that it has no script."""
    enter(browser, desk.engine, desk.address, role=Role.ADMIN)
    yield browser
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    browser.execute_cdp_cmd("Network.deleteCookies", {"name": "maskfleet-language", "url": desk.address})
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # pages that are not there answer 404


@pytest.mark.parametrize("code", list(NAMES))
def test_whatever_is_pressed_on_a_phone_is_as_high_as_a_finger_and_lies_on_nothing_else(
    spoken: Chrome, desk: Desk, code: str
) -> None:
    speak(spoken, desk, code)
    small = {}
    for address in addresses(desk):
        show(spoken, desk.address + address, phone=True)
        if address.startswith("settings/c"):
            spoken.find_element(By.ID, "add-line").click()
        if found := spoken.execute_script(SMALL, FINGER) + spoken.execute_script(OVERLAPPING):
            small[address] = found
    assert not small, "\n".join(f"{address}: {found}" for address, found in small.items())


@pytest.mark.parametrize("code", list(NAMES))
def test_no_page_scrolls_sideways_at_any_width_and_its_header_stays_low(spoken: Chrome, desk: Desk, code: str) -> None:
    speak(spoken, desk, code)
    faults = []
    for address in addresses(desk):
        show(spoken, desk.address + address)
        for width in WIDTHS:
            metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            spoken.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            wide, header = spoken.execute_script(
                "return [document.documentElement.scrollWidth, document.querySelector('.top').offsetHeight]"
            )
            if wide > width:
                faults.append(f"{address} at {width}: {wide} px wide")
            if header > (61 if width >= 1280 else 150):
                faults.append(f"{address} at {width}: a header of {header} px")
    assert not faults, "\n".join(faults)


def test_a_chart_that_is_still_as_wide_as_the_window_was_makes_no_page_scroll(spoken: Chrome, desk: Desk) -> None:
    for address in ("", "?span=28d"):
        show(spoken, desk.address + address, phone=True)
        wait_until(lambda: bool(spoken.find_elements(By.CSS_SELECTOR, ".plot > *")), within_s=10, what="a chart")
        wide = spoken.execute_script("""
            for (const one of document.querySelectorAll(".plot > *")) one.style.width = "1200px";
            return document.documentElement.scrollWidth
        """)
        assert wide == 390


def test_what_is_wide_scrolls_in_its_own_box_with_the_words_for_screen_readers_in_it(
    spoken: Chrome, desk: Desk
) -> None:
    show(spoken, f"{desk.address}doors", phone=True)
    wide = spoken.execute_script("""
        const box = document.createElement("div"), row = document.createElement("p");
        box.className = "scroll";
        row.style.width = "900px";
        row.style.textAlign = "right";
        row.innerHTML = 'far <span class="unseen">away</span>';
        box.append(row);
        document.getElementById("main").append(box);
        return [box.scrollWidth > box.clientWidth, document.documentElement.scrollWidth];
    """)
    assert wide == [True, 390]


def test_every_page_is_called_by_its_own_name_and_tab_first_reaches_its_main_part(spoken: Chrome, desk: Desk) -> None:
    titles: dict[str, str] = {}
    for page, visits in VISITS.items():
        show(spoken, desk.address + visits[0].format(link="gone"))
        titles[page] = str(spoken.title)
        assert spoken.title.endswith(" \N{EN DASH} maskfleet"), page
        spoken.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
        first = "const one = document.activeElement; return [one.className, one.getBoundingClientRect().left >= 0]"
        assert spoken.execute_script(first) == ["skip", True], page
        spoken.switch_to.active_element.send_keys(Keys.ENTER)
        assert spoken.execute_script("return document.activeElement.id") == "main", page
    assert len(set(titles.values())) == len(titles), titles


def test_on_paper_there_is_no_navigation_and_dark_charts_are_drawn_light(spoken: Chrome, desk: Desk) -> None:
    show(spoken, f"{desk.address}?span=28d", dark=True)
    wait_until(lambda: spoken.find_elements(By.CSS_SELECTOR, ".plot canvas") != [], within_s=10, what="the chart")
    paper = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    spoken.execute_cdp_cmd("Emulation.setEmulatedMedia", paper)
    metrics = {"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    spoken.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    shown = "return [...document.querySelectorAll(arguments[0])].filter((one) => one.getClientRects().length).length"
    assert spoken.execute_script(shown, ".top nav, .top .live, main .choices, .tongue button, details") == 0
    assert spoken.execute_script(shown, "h1, .huge, .plot canvas, table.doors") >= 5
    assert spoken.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert spoken.execute_script("return document.documentElement.scrollWidth") <= 700


def test_without_a_script_the_numbers_are_there_and_what_needs_one_says_so(spoken: Chrome, desk: Desk) -> None:
    spoken.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    said = {}
    for page in ("", "doors/canteen", "doors", "label", "settings", "settings/canteen"):
        show(spoken, desk.address + page)
        said[page] = spoken.find_element(By.TAG_NAME, "main").text
        assert not [one for one in spoken.find_elements(By.CSS_SELECTOR, ".live, .reach") if one.is_displayed()], page
    assert "Passes" in said[""]
    assert "Canteen" in said["doors"]
    assert said["label"] == "Labelling needs JavaScript."
    assert all(
        "Nothing can be changed here without JavaScript." in said[page] for page in ("settings", "settings/canteen")
    )


def test_the_label_page_tells_the_time_of_the_site_wherever_the_labeller_is(
    spoken: Chrome, desk: Desk, crops: list[Sent]
) -> None:
    at = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    deliver(desk, [(header.model_copy(update={"at": at}), jpeg) for header, jpeg in crops[:1]])
    spoken.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    open_page(spoken, f"{desk.address}label")
    picture_shown(spoken)
    assert text(spoken, "#where").endswith("4 Mar 2026, 05:06")
    assert "Times are those of UTC." in text(spoken, ".zone")


def newest(house: House, number: int) -> list[dict[str, Any]]:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return [{"at": now, "label": "with_mask", "direction": "in"} for _ in range(number)]


def test_a_door_that_counted_nobody_says_what_to_do_until_its_first_pass(browser: Chrome, house: House) -> None:
    house.heartbeat("front", release=1, accelerator="edgetpu", fps=14.0)
    wait_until(lambda: house.api("/doors") != [], within_s=10, what="the door stored")
    open_page(browser, f"{house.address}doors/front")
    assert "agent commission" in text(browser, "#first-pass")
    assert browser.find_elements(By.CSS_SELECTOR, ".plot canvas") == []
    house.passes("front", newest(house, 30))
    wait_until(lambda: text(browser, "#first-pass").strip() == "", within_s=10, what="the advice gone")
    wait_until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".plot canvas")) == 3, within_s=10, what="the charts")
    assert complaints(browser) == []


def test_a_page_that_follows_the_day_keeps_the_focus_and_does_not_read_it_all_out(
    browser: Chrome, house: House
) -> None:
    house.passes("front", newest(house, 30))
    wait_until(lambda: house.api("/doors") != [], within_s=10, what="the door stored")
    open_page(browser, house.address)
    link = "#doors tbody th a"
    browser.execute_script("document.querySelector(arguments[0]).focus()", link)
    before = text(browser, "#doors tbody")
    house.passes("front", newest(house, 1))
    wait_until(lambda: text(browser, "#doors tbody") != before, within_s=10, what="the new pass in the table")
    assert browser.execute_script("return document.activeElement === document.querySelector(arguments[0])", link)
    readout = browser.find_element(By.CSS_SELECTOR, "#chart-readout")
    assert readout.get_attribute("aria-live") == "off"
    browser.find_element(By.CSS_SELECTOR, "#chart .reach").send_keys(Keys.END)
    assert readout.get_attribute("aria-live") == "polite"
    assert complaints(browser) == []
