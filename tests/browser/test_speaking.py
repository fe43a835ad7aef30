"""The switch of the language in a real Chromium, and that the scripts speak it as well."""

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from rehearsal.processes import wait_until
from tests.browser.conftest import House
from tests.browser.test_page import complaints, open_page, text


def test_the_language_is_switched_by_keyboard_and_the_page_with_its_filter_stays(browser: Chrome, house: House) -> None:
    house.heartbeat("front", release=1, accelerator="cpu")
    address = f"{house.address}doors?state=on_cpu"
    open_page(browser, address)
    wait_until(lambda: "front" in text(browser, "#door-rows"), within_s=10, what="the door on the filtered page")
    browser.find_element(By.CSS_SELECTOR, "button[name=language][value=de]").send_keys(Keys.ENTER)
    wait_until(lambda: text(browser, "h1") == "Türen", within_s=10, what="the page in German")
    assert browser.current_url == address
    assert "zählt auf der CPU" in text(browser, "#door-rows")
    browser.get(f"{house.address}label")
    wait_until(
        lambda: text(browser, "#idle-title") == "Noch ist nichts zu beschriften", within_s=10, what="the script's words"
    )
    browser.find_element(By.CSS_SELECTOR, "button[name=language][value=en]").click()
    wait_until(lambda: text(browser, "h1") == "What does the box show?", within_s=10, what="English again")
    browser.execute_cdp_cmd("Network.deleteCookies", {"name": "maskfleet-language", "url": house.address})
    assert complaints(browser) == []


def test_a_filtered_page_of_doors_follows_what_happens_without_a_reload(browser: Chrome, house: House) -> None:
    house.heartbeat("front", release=1, accelerator="edgetpu")
    open_page(browser, f"{house.address}doors?state=on_cpu")
    assert "front" not in text(browser, "#door-rows")
    house.heartbeat("front", release=1, accelerator="cpu")
    wait_until(lambda: "front" in text(browser, "#door-rows"), within_s=10, what="the door that lost its Edge TPU")
    assert complaints(browser) == []
