"""The labeller's desk in a real Chromium, by keys and by clicks; its screenshots are kept under artefacts/."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from sqlalchemy import select

from cloud.learning.labelling import Labelling
from cloud.store.blobs import BlobFolder
from cloud.store.schema import labels
from cloud.store.schema_accounts import audit
from rehearsal.processes import wait_until
from rehearsal.scene import Scene, write_clip
from tests.browser.conftest import enter
from tests.browser.desk import Desk
from tests.browser.test_page import complaints, open_page, photograph, text
from tests.cloud.crop_kit import Sent, crops_of, store_rows


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> list[Sent]:
    """What a door would have sent of a drawn clip."""
    folder = tmp_path_factory.mktemp("crops")
    write_clip(Scene("passage", seed=77, people=6, gap_s=1.2), folder / "door.mp4")
    return crops_of(folder / "door.mp4", folder / "sent")


@pytest.fixture
def desk(tmp_path: Path, browser: Chrome) -> Iterator[Desk]:
    served = Desk(tmp_path)
    enter(browser, served.engine, served.address)
    yield served
    served.close()


def deliver(desk: Desk, crops: list[Sent]) -> None:
    blobs = BlobFolder(desk.folder.parent / "blobs")
    for _, jpeg in crops:
        blobs.put(jpeg)
    store_rows(desk.engine, crops, datetime.now(UTC))


def answers(desk: Desk) -> list[str | None]:
    with desk.engine.connect() as connection:
        return list(connection.execute(select(labels.c.answer).order_by(labels.c.at)).scalars())


def answers_of(desk: Desk, crop: str | None) -> list[str | None]:
    with desk.engine.connect() as connection:
        return list(
            connection.execute(
                select(labels.c.answer).where(labels.c.crop == UUID(crop)).order_by(labels.c.at)
            ).scalars()
        )


def press(browser: Chrome, keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def picture_shown(browser: Chrome) -> None:
    wait_until(
        lambda: browser.execute_script("return document.getElementById('picture').naturalWidth > 0")
        and bool(browser.find_element(By.CSS_SELECTOR, "#box .over").get_attribute("x")),
        within_s=10, what="the crop with its box",
    )  # fmt: skip


def test_labels_by_keys_and_by_clicks_with_undo(browser: Chrome, desk: Desk, crops: list[Sent]) -> None:
    deliver(desk, crops)
    open_page(browser, f"{desk.address}label")
    picture_shown(browser)
    width = browser.find_element(By.ID, "frame").size["width"]
    assert width >= 512
    photograph(browser, "label")
    first = browser.find_element(By.ID, "picture").get_attribute("data-crop")
    press(browser, "1")
    browser.find_element(By.CSS_SELECTOR, '[data-answer="without_mask"]').click()
    press(browser, "3")
    wait_until(lambda: len(answers(desk)) == 3, within_s=10, what="three labels saved")
    assert answers(desk) == ["with_mask", "without_mask", "mask_worn_incorrectly"]
    for expected in (4, 5, 6):
        press(browser, "z")
        wait_until(lambda expected=expected: len(answers(desk)) == expected, within_s=10, what="an undo")  # type: ignore[misc]
    wait_until(
        lambda: browser.find_element(By.ID, "picture").get_attribute("data-crop") == first, within_s=10,
        what="the first crop again",
    )  # fmt: skip
    assert Labelling(desk.engine).progress(datetime.now(UTC)).labelled == 0
    press(browser, "?" + "0" * len(crops))
    wait_until(lambda: "All done" in text(browser, "#idle-title"), within_s=10, what="the end of the crops")
    photograph(browser, "label-done")
    wait_until(
        lambda: Labelling(desk.engine).progress(datetime.now(UTC)).labelled == len(crops), within_s=10, what="all saved"
    )
    with desk.engine.connect() as connection:
        assert set(connection.execute(select(labels.c.labeller)).scalars()) == {"Ada"}
        looked = select(audit.c.about).where(audit.c.what == "picture", audit.c.who == "person Ada")
        assert sorted(connection.execute(looked).scalars()) == sorted(header.jpeg_digest for header, _ in crops)
    assert complaints(browser) == []


LATE = """
const real = window.fetch;
let came, saved;
const arrived = new Promise((done) => (came = done)), kept = new Promise((done) => (saved = done));
window.fetch = async (address, wish) => {
  if (address.includes("/labels/next")) {
    const reply = await real(address, wish);
    came();
    await kept;
    return reply;
  }
  if (address !== "/api/v1/labels") return real(address, wish);
  await arrived;
  const reply = await real(address, wish);
  saved();
  return reply;
};
"""  # crops were asked for before an answer was saved, and come after it


SLOW = """
const real = window.fetch, tried = new Set();
window.refusing = "";
window.fetch = async (address, wish) => {
  if (!address.startsWith("/api/v1/labels") || wish?.method !== "POST") return real(address, wish);
  await new Promise((done) => setTimeout(done, 150));
  if (window.refusing && wish.body.includes(window.refusing)) {
    window.refusing = "";
    return new Response('{"detail": "another labeller has this crop now"}', { status: 409 });
  }
  const reply = await real(address, wish);
  if (tried.has(wish.body)) return reply;
  tried.add(wish.body);
  throw new TypeError("the reply is lost");
};
"""  # each wish comes late, and its first reply is lost


def shown(browser: Chrome) -> str | None:
    return browser.find_element(By.ID, "picture").get_attribute("data-crop")


def test_keys_pressed_while_earlier_ones_are_on_their_way_count_once_and_in_order(
    browser: Chrome, desk: Desk, crops: list[Sent]
) -> None:
    deliver(desk, crops)
    open_page(browser, f"{desk.address}label")
    picture_shown(browser)
    browser.execute_script(SLOW)
    first = shown(browser)
    press(browser, "13zz")
    assert shown(browser) == first  # before any of it is saved
    press(browser, "2")
    wait_until(lambda: len(answers(desk)) == 5, within_s=30, what="five events saved")
    wait_until(lambda: text(browser, "#saving") == "", within_s=10, what="nothing left to save")
    assert answers(desk) == ["with_mask", "mask_worn_incorrectly", None, None, "without_mask"]
    assert answers_of(desk, first) == ["with_mask", None, "without_mask"]


def test_the_undo_of_an_answer_that_was_refused_takes_no_other_back(
    browser: Chrome, desk: Desk, crops: list[Sent]
) -> None:
    deliver(desk, crops)
    open_page(browser, f"{desk.address}label")
    picture_shown(browser)
    browser.execute_script(SLOW)
    press(browser, "1")
    refused = shown(browser)
    browser.execute_script("window.refusing = arguments[0]", refused)
    press(browser, "3z")
    wait_until(lambda: "another labeller" in text(browser, "#saving"), within_s=30, what="the refusal told")
    assert shown(browser) != refused
    press(browser, "2")
    wait_until(lambda: len(answers(desk)) == 2, within_s=30, what="the next answer saved")
    assert answers(desk) == ["with_mask", "without_mask"]


def test_an_answer_of_an_earlier_visit_can_be_taken_back(browser: Chrome, desk: Desk, crops: list[Sent]) -> None:
    deliver(desk, crops)
    open_page(browser, f"{desk.address}label")
    picture_shown(browser)
    first = shown(browser)
    press(browser, "1")
    wait_until(lambda: len(answers(desk)) == 1, within_s=10, what="the answer saved")
    open_page(browser, f"{desk.address}label")
    picture_shown(browser)
    press(browser, "zz")
    wait_until(lambda: shown(browser) == first, within_s=10, what="the first crop again")
    wait_until(lambda: "no answer of yours" in text(browser, "#saving"), within_s=10, what="the second undo's answer")
    assert answers(desk) == ["with_mask", None]


def test_crops_that_come_late_are_not_shown_twice(browser: Chrome, desk: Desk, crops: list[Sent]) -> None:
    deliver(desk, crops)
    open_page(browser, f"{desk.address}label")
    picture_shown(browser)
    browser.execute_script(LATE)
    press(browser, "0" * len(crops))
    wait_until(lambda: "All done" in text(browser, "#idle-title"), within_s=10, what="the end of the crops")
    wait_until(lambda: len(answers(desk)) == len(crops), within_s=10, what="all saved")
    assert answers(desk) == ["not_a_face"] * len(crops)
    assert complaints(browser) == []


def test_the_desk_fits_a_phone_in_the_dark(browser: Chrome, desk: Desk, crops: list[Sent]) -> None:
    deliver(desk, crops)
    open_page(browser, f"{desk.address}label", dark=True, phone=True)
    picture_shown(browser)
    photograph(browser, "label-phone-dark")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    browser.find_element(By.CSS_SELECTOR, '[data-answer="cannot_tell"]').click()
    wait_until(lambda: answers(desk) == ["cannot_tell"], within_s=10, what="the answer saved")
    assert complaints(browser) == []


def test_the_empty_desk_says_where_crops_come_from(browser: Chrome, desk: Desk) -> None:
    open_page(browser, f"{desk.address}label")
    wait_until(lambda: "nothing to label yet" in text(browser, "#idle-title"), within_s=10, what="the empty desk")
    photograph(browser, "label-empty")
    assert complaints(browser) == []
