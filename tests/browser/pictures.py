"""Makes the documents' pictures of the pages anew, with drawn people only: `python -m tests.browser.pictures` (minutes)."""

import base64
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from uuid import uuid4

from selenium.webdriver import Chrome
from sqlalchemy import insert, update

from cloud.learning.retraining import Labels
from cloud.store import writing
from cloud.store.blobs import BlobFolder
from cloud.store.schema import consumers, devices
from cloud.store.schema_doors import alerts
from contract.jobs import JobKind
from rehearsal.history import furnish, write_history
from rehearsal.processes import wait_until
from rehearsal.scene import Scene, write_clip
from rehearsal.town import Town
from tests.browser.conftest import enter, new_window
from tests.browser.desk import Desk
from tests.browser.test_fleet_page import halfway, troubled
from tests.browser.test_label_page import picture_shown
from tests.browser.test_learning_page import history
from tests.browser.test_page import open_page
from tests.cloud.crop_kit import crops_of, store_rows

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DAYS = 28
Stage = Callable[[Desk, Path], str]


def town(desk: Desk, _folder: Path) -> str:
    """Four weeks of eight doors, one of which saw too little; the overview of them."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    drawn = Town(1, start=end - timedelta(days=DAYS), end=end)
    write_history(desk.engine, _blobs(desk), drawn.messages(), random=Random(1))
    furnish(desk.engine, drawn, end)
    now = datetime.now(UTC)  # it took its time
    with desk.engine.begin() as connection:
        connection.execute(insert(consumers).values(name="cloud", connected=True, since=now, alive_at=now))
        connection.execute(update(devices).values(last_seen=now))
        door = {"subject": "library-south", "door": "library-south", "kind": "coverage_low"}
        since = {"opened_at": now - timedelta(hours=2), "reminded_at": now, "open": True, "reason": ""}
        connection.execute(insert(alerts).values(id=uuid4(), **door, **since))
        writing.mark_change(connection)
    return "?span=28d"


def crops(desk: Desk, folder: Path) -> str:
    """What a door sent of a drawn clip, to be labelled."""
    write_clip(Scene("passage", seed=77, people=6, gap_s=1.2), folder / "door.mp4")
    now = datetime.now(UTC)
    sent = [
        (header.model_copy(update={"device": "north-gate", "at": now - timedelta(hours=2)}), jpeg)
        for header, jpeg in crops_of(folder / "door.mp4", folder / "sent")
    ]
    for _, jpeg in sent:
        _blobs(desk).put(jpeg)
    store_rows(desk.engine, sent, now)
    return "label"


def training(desk: Desk, _folder: Path) -> str:
    """A training under way, after one that failed, one that shipped and one that the gate refused."""
    desk.labels = Labels(1_412, 187, 12, datetime.now(UTC) - timedelta(days=3))
    history(desk)
    desk.jobs.add(JobKind.RETRAIN, "412 new labels", datetime.now(UTC), snapshot="c" * 64)
    desk.train(desk.claim(), 17, done=0.42, ago=timedelta(seconds=9))
    return "learning"


def rollout(desk: Desk, _folder: Path) -> str:
    """A release that was halted: one door refused it and one fell silent."""
    halfway(desk)
    troubled(desk)
    return "fleet"


STAGES: dict[str, Stage] = {"page": town, "label": crops, "learning": training, "fleet": rollout}


def main(names: list[str]) -> int:
    """Make the named pictures, all of them without a name; returns 1 where there is no Chromium or no such picture."""
    if strange := set(names) - set(STAGES):
        print(f"there is no picture {', '.join(sorted(strange))}; there are {', '.join(STAGES)}", file=sys.stderr)
        return 1
    with TemporaryDirectory() as folder:
        window = new_window(Path(folder) / "chromium")
        if window is None:
            print("Chromium is not installed: apt-get install chromium chromium-driver", file=sys.stderr)
            return 1
        for name in names or STAGES:
            here = Path(folder) / name
            here.mkdir()
            desk = Desk(here)
            try:
                _photograph(window, desk, STAGES[name](desk, here), IMAGES / f"{name}.png")
            finally:
                window.get("about:blank")
                desk.close()
            print(f"wrote docs/images/{name}.png")
        window.quit()
    return 0


def _photograph(window: Chrome, desk: Desk, page: str, path: Path) -> None:
    enter(window, desk.engine, desk.address)
    open_page(window, f"{desk.address}{page}")
    if page == "label":
        picture_shown(window)
    if page.startswith("?"):
        drawn = "return document.querySelectorAll('.plot canvas').length"
        wait_until(lambda: window.execute_script(drawn) == 2, within_s=10, what="the charts")
    shot = window.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
    path.write_bytes(base64.b64decode(shot["data"]))


def _blobs(desk: Desk) -> BlobFolder:
    return BlobFolder(desk.folder.parent / "blobs")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
