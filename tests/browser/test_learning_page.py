"""The learning page in a real Chromium; its screenshots are kept under artefacts/."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from cloud.learning.retraining import Labels
from contract.jobs import JobKind, JobState, Outcome
from rehearsal.processes import wait_until
from tests.browser.conftest import enter
from tests.browser.desk import Desk, comparison
from tests.browser.test_page import complaints, open_page, photograph, text
from tests.cloud.crop_kit import store_rows
from tests.cloud.keeping_kit import crop

SPLITS = ("own crops, control half", "public set, --min-box 0.05")
OBJECTIONS = (
    "own crops, control half: it is worse by 1.3 points mAP50-95",
    "own crops, control half: it finds 66.1 % of mask_worn_incorrectly instead of 72.4 %; at most 5 points fewer are allowed",
)
NOTES = ("data: 1348 public pictures, 412 crops to learn from, 96 to judge", "train: 40 epochs in 11 min on one GPU")


@pytest.fixture
def desk(tmp_path: Path, browser: Chrome) -> Iterator[Desk]:
    served = Desk(tmp_path)
    enter(browser, served.engine, served.address)
    yield served
    served.close()


def history(desk: Desk) -> None:
    """One failed, one shipped, one refused."""
    for state, objections, gain in (
        (JobState.FAILED, ("gpu-box fell silent in the stage 'export', the last of 3 attempts",), None),
        (JobState.PUBLISHED, (), 0.031),
        (JobState.REFUSED, OBJECTIONS, -0.026),
    ):
        desk.jobs.add(JobKind.RETRAIN, "312 new labels", datetime.now(UTC) - timedelta(minutes=14), snapshot="c" * 64)
        job = desk.claim()
        desk.train(job, 40, done=1)
        comparisons = () if gain is None else (comparison(SPLITS[0], gain), comparison(SPLITS[1], gain / 3))
        outcome = Outcome(
            lease=job.lease, state=state, objections=objections, comparisons=comparisons,
            notes=() if gain is None else NOTES,
        )  # fmt: skip
        desk.end(job, outcome)


def click(browser: Chrome, selector: str) -> None:
    browser.find_element(By.CSS_SELECTOR, selector).click()


def test_a_training_is_asked_for_by_a_click_and_followed_without_a_reload(browser: Chrome, desk: Desk) -> None:
    desk.labels = Labels(412, 187, 12, datetime.now(UTC) - timedelta(days=3))
    open_page(browser, f"{desk.address}learning")
    assert text(browser, "h1").replace("\N{NO-BREAK SPACE}", " ") == "113 more labels until the next training"
    click(browser, "button[data-post]")
    wait_until(lambda: "the next free trainer takes it" in text(browser, "#answer"), within_s=10, what="the answer")
    wait_until(lambda: "waiting for a trainer" in text(browser, "#running"), within_s=10, what="the job on the page")
    assert not browser.find_element(By.CSS_SELECTOR, "button[data-post]").is_enabled()
    job = desk.claim()
    desk.train(job, 12, done=0.3)
    wait_until(lambda: "30" in text(browser, "#running .stage"), within_s=10, what="how far it is")
    assert "gpu-box" in text(browser, "#running")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#running .curve path.line")) == 2
    desk.end(job, Outcome(lease=job.lease, state=JobState.REFUSED, objections=OBJECTIONS))
    wait_until(lambda: "not shipped" in text(browser, "#past"), within_s=10, what="how it ended")
    assert OBJECTIONS[1] in text(browser, "#past .objections")
    assert text(browser, "#running").strip() == ""
    assert complaints(browser) == []


def test_the_learning_page_is_whole_everywhere(browser: Chrome, desk: Desk) -> None:
    open_page(browser, f"{desk.address}learning")
    assert text(browser, "h1") == "Nothing is labelled yet"
    photograph(browser, "learning-empty")
    desk.labels = Labels(1_412, 187, 12, datetime.now(UTC) - timedelta(days=3))
    history(desk)
    came = datetime.now(UTC) - timedelta(days=9, hours=3)
    store_rows(desk.engine, [(one.header, one.jpeg) for one in (crop(came, seed=number) for number in range(3))], came)
    open_page(browser, f"{desk.address}learning")
    said = " ".join(text(browser, "#next").split())
    assert "3 pictures are kept here, the oldest for 9 d" in said
    assert "deleted after 14 days, with one after 30 days" in said
    photograph(browser, "learning-between")
    desk.jobs.add(JobKind.RETRAIN, "412 new labels", datetime.now(UTC), snapshot="c" * 64)
    desk.train(desk.claim(), 17, done=0.42, ago=timedelta(seconds=9))
    for name, dark, phone in (
        ("learning-light", False, False), ("learning-dark", True, False), ("learning-phone", False, True),
        ("learning-phone-dark", True, True),
    ):  # fmt: skip
        open_page(browser, f"{desk.address}learning", dark=dark, phone=phone)
        photograph(browser, name)
        wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen, f"{name} scrolls sideways"
    assert complaints(browser) == []
