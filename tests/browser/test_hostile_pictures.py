"""What passes the cloud's gate is no bomb to the labellers' browser either."""

from base64 import b64encode
from pathlib import Path

from selenium.webdriver import Chrome

from rehearsal.processes import wait_until
from tests.cloud.jpeg_fuzz import mutants, passed

SHOWN = 400


def test_mutants_that_pass_the_gate_are_shown_or_not_and_are_never_large(browser: Chrome, tmp_path: Path) -> None:
    """Fault 76, in Chromium."""
    through = passed(mutants(1_500, seed=3))[:SHOWN]
    assert len(through) == SHOWN
    shown = "".join(f'<img src="data:image/jpeg;base64,{b64encode(one).decode()}">' for one in through)
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>pictures</title>{shown}")
    browser.get(page.as_uri())
    count = "return [...document.images].filter(one => one.complete).length"
    wait_until(lambda: browser.execute_script(count) == SHOWN, within_s=30, what="every picture tried")
    sizes = browser.execute_script("return [...document.images].map(one => [one.naturalWidth, one.naturalHeight])")
    drawn = [size for size in sizes if size != [0, 0]]
    assert len(drawn) > SHOWN / 2
    assert all(8 <= side <= 512 for size in drawn for side in size)
    assert browser.title == "pictures"
