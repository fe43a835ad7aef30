"""Signing in, the account, people and the audit log in a real Chromium; screenshots are kept under artefacts/."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from cloud.config import CloudSettings
from cloud.store import audit
from cloud.store.store import Store
from cloud.web.cookies import PLAIN, SECURE
from cloud.web.roles import Role
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from provisioning.ca import Role as Service
from provisioning.office import found_office, open_office
from rehearsal.processes import wait_until
from tests.browser.conftest import enter
from tests.browser.desk import Desk
from tests.browser.test_page import complaints, open_page, photograph, text
from tests.cloud.people_kit import HERE, PASSWORD, add_person, new_people

NOW = datetime.now(UTC)


@pytest.fixture
def desk(tmp_path: Path, browser: Chrome) -> Iterator[Desk]:
    """A site where nobody is signed in yet."""
    served = Desk(tmp_path)
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    yield served
    served.close()


def show(browser: Chrome, address: str, *, dark: bool = False, phone: bool = False) -> None:
    """A page that does not live: no waiting for its stream."""
    width, height = (390, 844) if phone else (1280, 900)
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(address)


def fill(browser: Chrome, **fields: str) -> None:
    for name, value in fields.items():
        browser.find_element(By.NAME, name).send_keys(value)


def click(browser: Chrome, selector: str) -> None:
    browser.find_element(By.CSS_SELECTOR, selector).click()


def arrives(browser: Chrome, address: str) -> None:
    wait_until(lambda: browser.current_url == address, within_s=10, what=f"the browser at {address}")


def session_cookie(browser: Chrome) -> dict[str, Any] | None:
    cookies = browser.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
    return next((one for one in cookies if one["name"] == PLAIN), None)


def whole(browser: Chrome, name: str) -> None:
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= seen, f"{name} scrolls sideways"


LOOKS = (("light", False, False), ("dark", True, False), ("phone", False, True), ("phone-dark", True, True))


def test_from_the_first_link_to_signing_out_and_in_again(browser: Chrome, desk: Desk) -> None:
    token = new_people(desk.engine).first_link(NOW)
    show(browser, f"{desk.address}welcome/{token}")
    fill(browser, name="Ada", password=PASSWORD, again=PASSWORD)
    click(browser, "button.main")
    arrives(browser, desk.address)
    wait_until(lambda: text(browser, "#live-text") == "Live", within_s=15, what="the page being live")
    assert "Ada" in text(browser, ".me")
    cookie = session_cookie(browser)
    assert cookie is not None
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["secure"]) == (True, "Lax", "/", False)
    assert browser.execute_script("return document.cookie") == ""
    click(browser, ".me")
    arrives(browser, f"{desk.address}account")
    click(browser, 'form[action="/sign-out"] button')
    arrives(browser, f"{desk.address}sign-in")
    assert session_cookie(browser) is None
    browser.get(f"{desk.address}fleet")
    arrives(browser, f"{desk.address}sign-in?next=/fleet")
    fill(browser, name="ada", password="not it, not it")
    click(browser, "button.main")
    wait_until(lambda: "not right" in text(browser, "[role=alert]"), within_s=10, what="the refusal")
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # the console names the refused request
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    click(browser, "button.main")
    arrives(browser, f"{desk.address}fleet")
    wait_until(lambda: text(browser, "#live-text") == "Live", within_s=15, what="the page being live")
    assert complaints(browser) == []


@pytest.fixture
def secure(desk: Desk, browser: Chrome, tmp_path: Path) -> Iterator[str]:
    """The address of the same site by TLS, whose certificate the browser takes."""
    found_office(tmp_path / "ca", "test CA", now=NOW)
    with open_office(tmp_path / "ca") as office:
        office.certify_service(Service.WEB, tmp_path / "web", now=NOW, hosts=["localhost"])
    door = listen("127.0.0.1", 0)
    settings = CloudSettings.load(None, {"data": str(tmp_path)})
    server = WebServer(partial(new_site, Store(desk.engine), settings), door, identity=tmp_path / "web")
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving by TLS")
    browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
    yield f"https://localhost:{door.getsockname()[1]}/"
    browser.get("about:blank")
    browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": False})
    server.stop()
    thread.join(10)


def test_over_https_the_browser_keeps_a_cookie_for_this_host_alone(browser: Chrome, desk: Desk, secure: str) -> None:
    add_person(desk.engine)
    show(browser, f"{secure}sign-in")
    fill(browser, name="Ada", password=PASSWORD)
    click(browser, "button.main")
    arrives(browser, secure)
    (cookie,) = browser.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
        SECURE, True, True, "Lax", "/",
    )  # fmt: skip
    show(browser, f"{secure}account")
    click(browser, 'form[action="/sign-out"] button')
    arrives(browser, f"{secure}sign-in")
    assert browser.execute_cdp_cmd("Network.getAllCookies", {})["cookies"] == []


def test_a_page_that_is_open_when_its_session_ends_asks_to_sign_in_again(browser: Chrome, desk: Desk) -> None:
    enter(browser, desk.engine, desk.address, "Bob", Role.VIEWER)
    open_page(browser, f"{desk.address}fleet")
    add_person(desk.engine)
    new_people(desk.engine).disable("Bob", "a test", NOW)
    desk.report("front", 0)
    wait_until(lambda: "/sign-in" in browser.current_url, within_s=10, what="the form to sign in")


def test_a_click_after_signing_in_anew_in_another_tab_still_counts(browser: Chrome, desk: Desk) -> None:
    desk.report("front", 0)
    desk.publish(1)
    enter(browser, desk.engine, desk.address, "Ola", Role.OPERATOR)
    open_page(browser, f"{desk.address}fleet")
    enter(browser, desk.engine, desk.address, "Ola", Role.OPERATOR)  # a session of its own, with a token of its own
    click(browser, "button[data-post$=pause]")
    wait_until(lambda: text(browser, "h1") == "Release 1 is paused", within_s=10, what="the rollout paused")


def test_a_viewer_sees_no_button_and_no_page_that_is_not_theirs(browser: Chrome, desk: Desk) -> None:
    desk.report("front", 0)
    desk.publish(1)
    enter(browser, desk.engine, desk.address, "Vera", Role.VIEWER)
    for path in ("fleet", "learning"):
        open_page(browser, f"{desk.address}{path}")
        assert browser.find_elements(By.CSS_SELECTOR, "button[data-post], a.button") == []
    links = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "nav[aria-label=Site] a")]
    assert links == ["Overview", "Doors", "Releases", "Learning", "API"]
    show(browser, f"{desk.address}users")
    assert "That is not for you" in text(browser, "h1")
    photograph(browser, "refused")


def test_the_password_is_changed_on_the_account_page(browser: Chrome, desk: Desk) -> None:
    ada = add_person(desk.engine)
    enter(browser, desk.engine, desk.address)
    show(browser, f"{desk.address}account")
    before = session_cookie(browser)
    fill(browser, old=PASSWORD, password="a new and quiet lamp", again="a new and quiet lamp")
    click(browser, "form[action='/account/password'] button")
    arrives(browser, f"{desk.address}account?done=password")
    assert "password is changed" in text(browser, "[role=status]")
    after = session_cookie(browser)
    assert before is not None
    assert after is not None
    assert before["value"] != after["value"]
    assert len(new_people(desk.engine).sessions(ada.id, datetime.now(UTC))) == 1
    assert complaints(browser) == []


def test_an_admin_invites_changes_a_role_and_reads_about_it(browser: Chrome, desk: Desk) -> None:
    add_person(desk.engine, "Bob", Role.VIEWER)
    enter(browser, desk.engine, desk.address)
    show(browser, f"{desk.address}users")
    fill(browser, name="Zoë <b>")
    click(browser, "form[action='/users/invite'] button")
    wait_until(lambda: "a name is" in text(browser, "[role=alert]").lower(), within_s=10, what="the refusal")
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    fill(browser, name="Zoë")
    click(browser, "form[action='/users/invite'] button")
    wait_until(lambda: "/welcome/" in text(browser, "#link"), within_s=10, what="the link")
    photograph(browser, "users-link")
    browser.find_element(By.CSS_SELECTOR, "tr:nth-child(2) select option[value=operator]").click()
    click(browser, "tr:nth-child(2) form[action$='/role'] button")
    wait_until(lambda: "Bob is operator now" in text(browser, "[role=status]"), within_s=10, what="the new role")
    show(browser, f"{desk.address}audit")
    assert "role changed" in text(browser, ".log")
    assert complaints(browser) == []


def test_the_pages_of_people_are_whole_everywhere(browser: Chrome, desk: Desk) -> None:
    people = new_people(desk.engine)
    add_person(desk.engine, "Bartholomew Featherstonehaugh-Cholmondeley", Role.OPERATOR)
    add_person(desk.engine, "Cem", Role.LABELLER)
    token = people.invite("", Role.VIEWER, "person Ada", NOW)
    people.invite("Dot", Role.LABELLER, "person Ada", NOW)
    people.reset("Cem", "person Ada", NOW)
    ada = add_person(desk.engine)
    with desk.engine.begin() as connection:
        people.begin(connection, ada, HERE, NOW - timedelta(hours=2), how="password")
        for number in range(70):
            at = NOW - timedelta(minutes=70 - number)
            audit.write(connection, at, "person Cem", "picture", f"{number:064x}")
            audit.write(connection, at, "machine gpu-box", "snapshot", "/api/v1/snapshots/" + "a" * 64)
            audit.write(connection, at, "person Cem", "label", "018bcfe5-6800-7000", answer="with_mask", labeller="Cem")
    for name, dark, phone in LOOKS:
        browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
        for page in ("sign-in", f"welcome/{token}", "welcome/none"):
            show(browser, f"{desk.address}{page}", dark=dark, phone=phone)
            photograph(browser, f"{page.replace(token, 'link').replace('/', '-')}-{name}")
            whole(browser, page)
        browser.get_log("browser")  # type: ignore[no-untyped-call]  # the link that is gone answers 404
        enter(browser, desk.engine, desk.address)
        for page in ("account", "users", "audit"):
            show(browser, f"{desk.address}{page}", dark=dark, phone=phone)
            photograph(browser, f"{page}-{name}")
            whole(browser, page)
        assert complaints(browser) == []
