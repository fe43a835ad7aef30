"""A real Chromium before a real cloud that really ingested what its doors sent."""

import random
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from sqlalchemy import Engine

from cloud.store.database import open_database
from cloud.web.cookies import PLAIN
from cloud.web.roles import Role, Scope
from contract.events import Accelerator, EventBatch, PassEvent
from contract.health import Heartbeat
from contract.topics import Channel, Topic
from rehearsal.processes import Child, Mosquitto, wait_until
from tests.cloud.people_kit import machine_headers, session_token
from tests.zones import afternoon

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,900",
)  # fmt: skip
BY_HOUR = (
    0,
    0,
    3,
    0,
    0,
    6,
    24,
    70,
    140,
    110,
    60,
    64,
    120,
    110,
    70,
    62,
    80,
    130,
    120,
    66,
    40,
    22,
    9,
    0,
)  # passes at a door


def new_window(profile: Path) -> Chrome | None:
    """A Chromium that keeps its things in the folder `profile`; None where it is not installed."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        return None
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(driver))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    window = new_window(tmp_path_factory.mktemp("chromium"))
    if window is None:
        pytest.skip("Chromium is not installed (apt-get install chromium chromium-driver)")
    yield window
    window.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """One window for all tests; a test's page is left before it can complain that its server is gone."""
    yield chromium
    chromium.get("about:blank")
    chromium.get_log("browser")  # type: ignore[no-untyped-call]


class House:
    """A served cloud and the doors that report to it."""

    def __init__(self, broker: Mosquitto, folder: Path) -> None:
        self.zone = ZoneInfo(afternoon())
        settings = {"broker": broker.url, "data": folder / "data", "port": 0, "time_zone": self.zone.key}
        options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        self._child = Child("cloud", [sys.executable, "-m", "cloud", "all", *options], log=folder / "cloud.log")
        wait_until(lambda: "connected to the broker" in self._log(), within_s=20, what="the cloud connecting")
        self.address = self._log().split("the page is at ")[1].split()[0]
        self.engine = open_database(f"sqlite:///{folder / 'data' / 'maskfleet.sqlite'}")
        self._reader = machine_headers(self.engine, Scope.READ, name="tests")
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._boots: dict[str, Any] = {}
        self._sequences: dict[str, int] = {}

    def _log(self) -> str:
        self._child.require_running()
        return self._child.log.read_text()

    def api(self, path: str) -> Any:
        return httpx.get(f"{self.address}api/v1{path}", headers=self._reader, timeout=30).json()

    def send(self, device: str, channel: Channel, payload: bytes) -> None:
        self._client.publish(Topic(device, channel).text, payload, 1).wait_for_publish(10)

    def heartbeat(self, device: str, **values: Any) -> None:
        boot = self._boots.setdefault(device, uuid4())
        heartbeat = Heartbeat(**{"device": device, "state": "online", "boot": boot, "at": datetime.now(UTC), **values})
        self.send(device, Channel.HEALTH, heartbeat.encode())

    def passes(self, device: str, events: list[dict[str, Any]]) -> None:
        """Publish passes, a hundred to a message."""
        boot = self._boots.setdefault(device, uuid4())
        made = []
        for values in events:
            sequence = self._sequences[device] = self._sequences.get(device, -1) + 1
            base = {"id": uuid4(), "confidence": 0.9, "release": 3, "accelerator": Accelerator.EDGE_TPU, "boot": boot}
            made.append(PassEvent(**{**base, "sequence": sequence, **values}))
        for start in range(0, len(made), 100):
            self.send(
                device, Channel.EVENTS, EventBatch(device=device, events=tuple(made[start : start + 100])).encode()
            )

    def busy_day(self) -> None:
        """The last 24 hours of three doors, an offline fourth and some rubbish."""
        rng, now = random.Random(7), datetime.now(UTC)
        for device, busy, covered in (
            ("main-entrance", 1.0, 0.78),
            ("north-gate", 0.55, 0.66),
            ("canteen", 0.35, 0.86),
        ):
            events = []
            for back in range(24):
                hour = (now - timedelta(hours=back)).replace(minute=0, second=0, microsecond=0)
                number = int(BY_HOUR[hour.astimezone(self.zone).hour] * busy * rng.uniform(0.7, 1.2))
                share = covered + rng.uniform(-0.1, 0.06)
                for _ in range(number):
                    at = min(hour + timedelta(minutes=rng.randrange(60)), now.replace(second=0, microsecond=0))
                    label = rng.choices(
                        ("with_mask", "mask_worn_incorrectly", "without_mask"), (share, 0.08, max(0.02, 0.92 - share))
                    )[0]
                    events.append({"at": at, "label": label, "direction": rng.choice(("in", "in", "out"))})
            self.passes(device, sorted(events, key=lambda one: one["at"]))
        counted = {name: number + 1 for name, number in self._sequences.items()}
        self.heartbeat("main-entrance", release=3, accelerator="edgetpu", fps=14.8, passes=counted["main-entrance"])
        self.heartbeat(
            "north-gate", release=3, accelerator="edgetpu", fps=14.2, waiting=2, passes=counted["north-gate"] + 2
        )
        self.heartbeat(
            "canteen",
            release=2,
            accelerator="cpu",
            fps=6.1,
            passes=counted["canteen"],
            trouble=("Edge TPU not found, counting on the CPU",),
        )
        self.heartbeat("loading-dock", release=3, accelerator="edgetpu", fps=14.9, passes=0)
        self.heartbeat("loading-dock", state="offline", release=3, accelerator="edgetpu")
        self.send("canteen", Channel.EVENTS, b"{not json")
        self.send("canteen", Channel.CROPS, b"{}")
        expected = sum(counted.values())
        wait_until(lambda: self._stored() == expected, within_s=30, what="the busy day stored")
        wait_until(lambda: self.api("/quarantine")["messages"] == 2, within_s=10, what="the rubbish in quarantine")

    def _stored(self) -> int:
        first = (datetime.now(UTC) - timedelta(hours=26)).isoformat()
        return int(self.api(f"/counts?{urlencode({'from': first})}")["total"]["passes"])

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._child.stop()
        self.engine.dispose()


def enter(browser: Chrome, engine: Engine, address: str, name: str = "Ada", role: Role = Role.ADMIN) -> None:
    """Give the browser the cookie of somebody who has just signed in."""
    token = session_token(engine, name, role)
    cookie = {"name": PLAIN, "value": token, "url": address, "httpOnly": True, "sameSite": "Lax"}
    assert browser.execute_cdp_cmd("Network.setCookie", cookie)["success"]


@pytest.fixture
def house(broker: Mosquitto, tmp_path: Path, browser: Chrome) -> Iterator[House]:
    """A cloud in which the browser is signed in as an admin."""
    built = House(broker, tmp_path)
    enter(browser, built.engine, built.address)
    yield built
    built.close()
