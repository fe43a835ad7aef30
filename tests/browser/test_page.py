"""The first page as a person sees it, in a real Chromium; its screenshots are kept under artefacts/."""

import base64
from datetime import UTC, datetime

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
    for summary in browser.find_elements(By.CSS_SELECTOR, "#chart summary"):
        summary.click()
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#hours tr")]
    assert len(rows) == 24
    assert any("too few" in row for row in rows)
    assert any("%" in row for row in rows)
    latest = text(browser, "#readout")
    assert "passes" in latest
    plot = browser.find_element(By.CSS_SELECTOR, "#rate-plot .u-over")
    ActionChains(browser).move_to_element_with_offset(plot, 300, 0).perform()
    wait_until(lambda: text(browser, "#readout") != latest, within_s=5, what="the pointed-at hour in words")
    assert "properly worn, interval" in text(browser, "#readout")
    assert complaints(browser) == []


def test_the_page_is_whole_in_the_dark_and_on_a_phone(browser: Chrome, house: House) -> None:
    house.busy_day()
    for name, dark, phone in (("page-dark", True, False), ("page-phone", False, True), ("page-phone-dark", True, True)):
        open_page(browser, house.address, dark=dark, phone=phone)
        wait_until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, "#chart canvas")), within_s=10, what="the chart")
        photograph(browser, name)
        wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen, f"{name} scrolls sideways"
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
