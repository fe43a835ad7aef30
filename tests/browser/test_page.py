"""The first page as a person sees it, in a real Chromium; its screenshots are kept under artefacts/."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from contract.topics import Channel
from rehearsal.processes import wait_until
from tests.browser.conftest import ARTEFACTS, House


def open_page(browser: Chrome, address: str, *, dark: bool = False, phone: bool = False) -> None:
    width, height = (390, 844) if phone else (1280, 900)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(address)
    wait_until(lambda: text(browser, "#live-text") == "Live", within_s=15, what="the page being live")


def text(browser: Chrome, selector: str) -> str:
    """What a person reads there; asked in one step, as the page may swap its parts at any time."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def number(browser: Chrome, selector: str) -> int:
    return int("".join(sign for sign in text(browser, selector) if sign.isdigit()))


def painted(browser: Chrome, place: str, colour: str) -> int:
    """How many pixels of a plot have exactly the colour of a variable of the style sheet."""
    return int(
        browser.execute_script(
            "const canvas = document.querySelector(`[data-plot=${arguments[0]}] canvas`);"
            "const pen = document.createElement('canvas').getContext('2d');"
            "pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(arguments[1]).trim(); pen.fillRect(0, 0, 1, 1);"
            "const [r, g, b] = pen.getImageData(0, 0, 1, 1).data; let found = 0;"
            "const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
            "for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) found += 1;"
            "return found",
            place,
            colour,
        )
    )


def complaints(browser: Chrome) -> list[str]:
    """What the console says that is worse than a remark, content policy violations included."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def photograph(browser: Chrome, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
    (ARTEFACTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def test_the_page_shows_the_day_and_follows_it_without_a_reload(browser: Chrome, house: House) -> None:
    house.busy_day()
    open_page(browser, house.address)
    before = number(browser, "#passes")
    assert before == house.api("/counts")["total"]["passes"] > 100
    assert number(browser, "#passes-in") + number(browser, "#passes-out") == before
    browser.execute_script("window.stayed = true")
    photograph(browser, "page-light")

    now = datetime.now(UTC).replace(second=0, microsecond=0)
    house.passes("main-entrance", [{"at": now, "label": "without_mask", "direction": "in"}])
    wait_until(lambda: number(browser, "#passes") == before + 1, within_s=10, what="the new pass on the page")
    assert browser.execute_script("return window.stayed") is True
    house.passes("side-door", [{"at": now, "label": "with_mask", "direction": "in"}])
    wait_until(lambda: "side-door" in text(browser, "#doors"), within_s=10, what="the new door on the page")
    assert complaints(browser) == []


def test_the_chart_shows_every_hour_and_says_where_it_knows_too_little(browser: Chrome, house: House) -> None:
    house.busy_day()
    open_page(browser, house.address)
    wait_until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#chart canvas")) == 2, within_s=10, what="two plots")
    for summary in browser.find_elements(By.CSS_SELECTOR, "#same summary"):
        summary.click()
    rows = browser.execute_script("return [...document.querySelectorAll('#bins tbody tr')].map((row) => row.innerText)")
    assert 12 <= len(rows) <= 24  # since midnight; it is afternoon
    coming = browser.find_element(By.ID, "bins").get_attribute("data-coming") or ""
    assert 23 <= len(rows) + len(coming.split()) <= 25  # its axis goes on to midnight
    assert any("too few" in row for row in rows)
    assert any("%" in row for row in rows)
    assert painted(browser, "rate", "--band") > 500  # nobody labelled: the grey of what is not corrected
    assert painted(browser, "passes", "--with") > 500
    latest = text(browser, "#chart-readout")
    assert "passes" in latest
    plot = browser.find_element(By.CSS_SELECTOR, "#chart [data-plot=rate] .u-over")
    ActionChains(browser).move_to_element_with_offset(plot, -200, 0).perform()
    wait_until(lambda: text(browser, "#chart-readout") != latest, within_s=20, what="the pointed-at hour in words")
    assert text(browser, "#chart-readout")
    reach = browser.find_element(By.CSS_SELECTOR, "#chart .reach")
    reach.send_keys(Keys.HOME)
    assert text(browser, "#chart-readout").startswith("00:00")
    reach.send_keys(Keys.ARROW_RIGHT)
    assert text(browser, "#chart-readout").startswith("01:00")
    assert complaints(browser) == []


def test_a_page_that_stays_open_over_midnight_goes_on_with_the_next_days_axis(browser: Chrome, house: House) -> None:
    house.busy_day()
    open_page(browser, house.address)
    wait_until(lambda: painted(browser, "passes", "--with") > 500, within_s=10, what="the bars")
    before = painted(browser, "passes", "--with")
    browser.execute_script("""
        const real = window.fetch, later = (_, words, second) => `${words}${Number(second) + 86400}`;
        window.fetch = async (...asked) => { // the same passes, said to be a day later
          const page = await (await real(...asked)).text();
          return new Response(page.replace(/(data-(?:from|to)=")(\\d+)/g, later).replace(/((?:data-coming="| ))(\\d{10})(?==)/g, later));
        };
    """)
    first = "return Number(document.querySelector('#bins tr[data-from]').dataset.from)"
    yesterday = browser.execute_script(first)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    house.passes("main-entrance", [{"at": now, "label": "without_mask", "direction": "in"}])
    wait_until(lambda: browser.execute_script(first) == yesterday + 86_400, within_s=10, what="the next day")
    assert painted(browser, "passes", "--with") == pytest.approx(before, rel=0.1)  # not squeezed beside an empty day


def test_the_page_is_whole_in_the_dark_and_on_a_phone(browser: Chrome, house: House) -> None:
    house.busy_day()
    for name, dark, phone in (("page-dark", True, False), ("page-phone", False, True), ("page-phone-dark", True, True)):
        open_page(browser, house.address, dark=dark, phone=phone)
        wait_until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, "#chart canvas")), within_s=10, what="the chart")
        photograph(browser, name)
        wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen, f"{name} scrolls sideways"
    assert complaints(browser) == []


@pytest.fixture
def plain_browser(browser: Chrome) -> Iterator[Chrome]:
    """It forgets afterwards which language it was told to prefer."""
    yield browser
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})


def test_the_door_page_is_drawn_and_followed_in_both_languages_and_on_a_phone(
    plain_browser: Chrome, house: House
) -> None:
    browser = plain_browser
    house.busy_day()
    for name, language, phone in (("door", "en", False), ("door-phone-de", "de", True)):
        browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": language}})
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390 if phone else 1280, "height": 900, "deviceScaleFactor": 1, "mobile": phone},
        )
        browser.get(f"{house.address}doors/main-entrance")
        wait_until(lambda: text(browser, "#live-text") == "Live", within_s=15, what="the page being live")
        assert browser.execute_script("return document.documentElement.lang") == language
        assert painted(browser, "usual", "--with") > 300
        assert painted(browser, "rate", "--band") > 20  # a day of twenty-eight
        assert painted(browser, "passes", "--with") > 100
        photograph(browser, name)
        wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen, f"{name} scrolls sideways"
    house.heartbeat("main-entrance", release=5, accelerator="cpu", fps=6.0)
    wait_until(lambda: "Version 5" in text(browser, "#door-head"), within_s=10, what="the new release on the page")
    assert complaints(browser) == []


def test_quarantine_is_announced_and_opens_by_keyboard_alone(browser: Chrome, house: House) -> None:
    house.busy_day()
    open_page(browser, house.address)
    assert "2 messages in quarantine" in text(browser, "#quarantine summary").replace("\N{NO-BREAK SPACE}", " ")
    browser.find_element(By.CSS_SELECTOR, "#quarantine summary").send_keys(Keys.ENTER)
    assert "not JSON" in text(browser, "#quarantine table")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    before = number(browser, "#passes")
    house.passes("canteen", [{"at": now, "label": "with_mask", "direction": "in"}])
    wait_until(lambda: number(browser, "#passes") == before + 1, within_s=10, what="the new pass on the page")
    house.send("canteen", Channel.EVENTS, b"more of it")
    wait_until(lambda: "3" in text(browser, "#quarantine summary"), within_s=10, what="the third message on the page")
    assert "not JSON" in text(browser, "#quarantine table"), "it stays open when its content changes"
    assert browser.execute_script("return document.activeElement.closest('details')?.id") == "quarantine"


def test_an_empty_house_is_told_how_to_get_its_first_door(browser: Chrome, house: House) -> None:
    open_page(browser, house.address)
    assert "No door has reported yet" in text(browser, "#doors")
    wait_until(
        lambda: not browser.find_elements(By.CSS_SELECTOR, ".notice.bad"), within_s=10, what="the consumer being known"
    )
    photograph(browser, "page-empty")
    house.heartbeat("new-door", release=1, fps=12.0)
    wait_until(lambda: "new-door" in text(browser, "#doors"), within_s=10, what="the first door on the page")
    assert "No door has reported yet" not in text(browser, "#doors")
    assert complaints(browser) == []


def test_the_api_documentation_works_without_any_outside_host(browser: Chrome, house: House) -> None:
    browser.get(f"{house.address}docs")
    wait_until(
        lambda: len(browser.find_elements(By.CSS_SELECTOR, ".opblock")) >= 6, within_s=15, what="the routes in the docs"
    )
    photograph(browser, "docs")
    assert complaints(browser) == []
