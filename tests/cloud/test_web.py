"""The API and the page, over a real server and a real database."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, open_message
from cloud.ingest.sink import DatabaseSink
from cloud.rules import PictureRules
from cloud.store.blobs import BlobFolder
from cloud.store.store import Store
from cloud.web.headers import HEADERS
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from contract.events import PassEvent
from contract.health import Heartbeat
from contract.topics import Channel, Topic
from rehearsal.processes import wait_until
from tests.cloud.conftest import BOOT, batch, pass_event
from tests.cloud.people_kit import signed_in

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
WITH, WITHOUT, WRONG = "with_mask", "without_mask", "mask_worn_incorrectly"


class Cloud:
    """A served site whose clock stands at NOW, and the way in to its database."""

    def __init__(self, engine: Engine, folder: Path, door: socket.socket) -> None:
        self.now = NOW
        self._engine, self._blobs = engine, BlobFolder(folder)
        self._sink = DatabaseSink(engine, self._blobs, "consumer")
        settings = CloudSettings.load(None, {"time_zone": "Europe/Paris"})
        self.server = WebServer(partial(new_site, Store(engine), settings, clock=lambda: self.now), door)
        self.client = signed_in(engine, f"http://127.0.0.1:{door.getsockname()[1]}", now=NOW)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get(f"/api/v1{path}", params=query)
        answer.raise_for_status()
        return answer.json()

    def page(self) -> str:
        return self.client.get("/").text

    def take(self, *messages: Message) -> None:
        parcels = [open_message(one, now=self.now, pictures=PictureRules()) for one in messages]
        ingest(self._engine, self._blobs, parcels, now=self.now)

    def passes(self, device: str, number: int, **changes: Any) -> None:
        values = {"at": NOW - timedelta(minutes=1), **changes}
        events: list[PassEvent] = [pass_event(index, **values) for index in range(number)]
        for start in range(0, number, 100):
            self.take(Message(Topic(device, Channel.EVENTS).text, batch(device, *events[start : start + 100])))

    def heartbeat(self, device: str, **values: Any) -> None:
        heartbeat = Heartbeat(**{"device": device, "state": "online", "boot": BOOT, "at": NOW, **values})
        self.take(Message(Topic(device, Channel.HEALTH).text, heartbeat.encode()))

    def consumer(self, *, connected: bool) -> None:
        self._sink.sign_of_life(connected=connected, since=NOW - timedelta(hours=1), now=self.now)


@pytest.fixture
def cloud(engine: Engine, tmp_path: Path) -> Iterator[Cloud]:
    served = Cloud(engine, tmp_path / "blobs", listen("127.0.0.1", 0))
    thread = threading.Thread(target=served.server.run)
    thread.start()
    wait_until(lambda: served.server.started, within_s=10, what="the site serving")
    yield served
    served.client.close()
    served.server.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_door_is_listed_with_its_health_and_its_passes_today(cloud: Cloud) -> None:
    cloud.passes("front", 30)
    cloud.passes("front", 10, label=WITHOUT, direction="out")
    cloud.heartbeat("front", release=7, accelerator="edgetpu", fps=14.5, waiting=3, passes=32, trouble=("hot",))
    (door,) = cloud.get("/doors")
    assert {key: door[key] for key in ("name", "state", "release", "accelerator", "fps", "waiting", "trouble")} == {
        "name": "front", "state": "online", "release": 7, "accelerator": "edgetpu", "fps": 14.5, "waiting": 3, "trouble": ["hot"],
    }  # fmt: skip
    assert (door["today"]["passes"], door["today"]["in"], door["today"]["out"]) == (40, 30, 10)
    assert [(one["label"], one["passes"]) for one in door["today"]["labels"]] == [(WITH, 30), (WITHOUT, 10), (WRONG, 0)]
    assert door["today"]["compliance"]["rate"] == 0.75


def test_a_door_is_online_then_silent_and_offline_by_its_own_word(cloud: Cloud) -> None:
    cloud.heartbeat("front")
    cloud.heartbeat("side", state="offline")
    states = {one["name"]: one["state"] for one in cloud.get("/doors")}
    assert states == {"front": "online", "side": "offline"}
    cloud.now = NOW + timedelta(minutes=3)
    states = {one["name"]: one["state"] for one in cloud.get("/doors")}
    assert states == {"front": "silent", "side": "offline"}


def test_passes_that_never_came_are_named_missing(cloud: Cloud) -> None:
    cloud.passes("front", 5)
    cloud.heartbeat("front", passes=8)
    assert cloud.get("/doors")[0]["missing"] == 3


def test_counts_come_per_hour_and_per_door_and_hour(cloud: Cloud) -> None:
    cloud.passes("front", 25)
    cloud.passes("side", 3, label=WRONG, at=NOW - timedelta(hours=2))
    cloud.passes("side", 2)
    together = cloud.get("/counts")
    assert [(one["at"], one["door"], one["tally"]["passes"]) for one in together["cells"]] == [
        ("2026-05-04T10:00:00Z", None, 3),
        ("2026-05-04T12:00:00Z", None, 27),
    ]
    assert (together["total"]["passes"], together["time_zone"]) == (30, "Europe/Paris")
    apart = cloud.get("/counts", by="door_hour")
    assert [(one["door"], one["tally"]["passes"], one["tally"]["too_few"]) for one in apart["cells"]] == [
        ("side", 3, True),
        ("front", 25, False),
        ("side", 2, True),
    ]
    alone = cloud.get("/counts", door="side", **{"from": "2026-05-04T10:00:00Z", "to": "2026-05-04T11:00:00Z"})
    assert [one["tally"]["passes"] for one in alone["cells"]] == [3]


def test_a_cell_of_few_passes_has_no_share(cloud: Cloud) -> None:
    cloud.passes("front", 19)
    (cell,) = cloud.get("/counts")["cells"]
    assert (cell["tally"]["compliance"], cell["tally"]["too_few"]) == (None, True)
    cloud.passes("front", 1)
    (cell,) = cloud.get("/counts")["cells"]
    assert cell["tally"]["compliance"]["rate"] == 1.0
    assert 0.8 < cell["tally"]["compliance"]["low"] < 0.85


def test_yesterday_is_not_today(cloud: Cloud) -> None:
    cloud.passes("front", 2, at=datetime(2026, 5, 3, 21, 59, tzinfo=UTC))
    cloud.passes("front", 1, at=datetime(2026, 5, 3, 22, 0, tzinfo=UTC))
    assert cloud.get("/doors")[0]["today"]["passes"] == 1


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-05-04"},
        {"from": "2026-05-04T10:00:00"},
        {"from": "2026-05-04T10:00:00Z", "to": "2026-05-04T09:00:00Z"},
        {"from": "2020-01-01T00:00:00Z"},
        {"by": "minute"},
        {"door": "x" * 40},
        {"door": "\x00"},
    ],
)
def test_a_question_that_cannot_be_is_refused(cloud: Cloud, query: dict[str, str]) -> None:
    assert cloud.client.get("/api/v1/counts", params=query).status_code == 422


def test_quarantine_is_counted_by_kind_and_keeps_payloads_to_itself(cloud: Cloud) -> None:
    assert cloud.get("/quarantine") == {"messages": 0, "by_kind": [], "latest": []}
    cloud.take(Message(Topic("front", Channel.EVENTS).text, b"a secret"), Message("mf/v1/zz/front/events", b"{}"))
    answer = cloud.client.get("/api/v1/quarantine")
    assert "secret" not in answer.text
    body = answer.json()
    assert body["messages"] == 2
    assert {one["kind"]: one["messages"] for one in body["by_kind"]} == {"malformed": 1, "topic": 1}
    assert {one["device"] for one in body["latest"]} == {"front", None}


def test_the_service_says_whether_doors_can_reach_it(cloud: Cloud) -> None:
    assert cloud.get("/service")["broker"] == "unwatched"
    assert "No consumer is running" in cloud.page()
    cloud.consumer(connected=False)
    assert cloud.client.get("/healthz").json()["broker"] == "down"
    assert "The broker cannot be reached</strong> since 13:30" in cloud.page()
    cloud.consumer(connected=True)
    assert cloud.get("/service")["broker"] == "up"
    cloud.now = NOW + timedelta(minutes=1)
    assert cloud.get("/service")["broker"] == "unwatched"


def test_a_change_reaches_whoever_listens(cloud: Cloud) -> None:
    with cloud.client.stream("GET", "/api/v1/live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        numbers = (int(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
        first = next(numbers)
        cloud.passes("front", 1)
        assert next(numbers) > first


def test_the_page_shows_what_was_counted(cloud: Cloud) -> None:
    cloud.passes("front", 1500)
    cloud.passes("front", 480, label=WITHOUT, direction="out")
    cloud.heartbeat("front", release=7)
    page = cloud.page()
    assert '<span id="compliance">76\N{NO-BREAK SPACE}%</span>' in page
    assert 'id="passes">1\N{NARROW NO-BREAK SPACE}980</dd>' in page
    assert "As counted." in page
    assert "too few control labels of release 3" in page
    assert "Monday, 4 May 2026 · Europe/Paris" in page
    assert '<th scope="row"><a href="/doors/front">front</a></th>' in page
    assert "release 7" in cloud.client.get("/doors/front").text


def test_the_span_and_the_site_are_in_the_address_and_nonsense_is_today_of_all(cloud: Cloud) -> None:
    cloud.passes("front", 30)
    cloud.passes("front", 40, at=NOW - timedelta(days=3))
    told = {"name": "Hall", "time_zone": "Asia/Tokyo"}
    for slug in ("hall", "yard"):
        assert cloud.client.put(f"/api/v1/sites/{slug}", json=told).status_code == 200
    assert cloud.client.put("/api/v1/door-settings/front", json={"site": "hall"}).status_code == 200
    for query, passes in (
        ("", 30),
        ("?span=7d", 70),
        ("?span=28d&site=hall", 70),
        ("?site=yard", 0),
        ("?span=<b>&site=%00", 30),
    ):
        page = cloud.client.get(f"/{query}").text
        assert f'id="passes">{passes}</dd>' in page, query
        assert "<b>" not in page
    assert "Asia/Tokyo" in cloud.client.get("/?site=hall").text


def test_a_door_that_never_spoke_is_a_page_in_words(cloud: Cloud) -> None:
    for name in ("nowhere", "%3Cimg%20src=x%3E", "a" * 300, "%F0%9F%98%B7%00"):
        answer = cloud.client.get(f"/doors/{name}")
        assert answer.status_code == 404
        assert "No such door" in answer.text
        assert "<img src=x>" not in answer.text


def test_the_door_page_compares_today_with_the_same_weekday(cloud: Cloud) -> None:
    cloud.passes("front", 60)
    for weeks in (1, 2):
        cloud.passes("front", 60, at=NOW - timedelta(weeks=weeks), label=WITHOUT)
    page = cloud.client.get("/doors/front").text
    assert "Today is higher than usual" in page
    assert "last 2\N{NO-BREAK SPACE}weeks" in page
    assert "There is no usual yet" in page  # nobody told whether those hours were watched


def test_both_pages_speak_the_language_of_the_browser(cloud: Cloud) -> None:
    cloud.passes("front", 30)
    for path, words in (
        ("/", "Richtig getragene Masken"),
        ("/doors/front", "Heute gegen das Übliche"),
        ("/doors/x", "Diese Tür gibt es nicht"),
    ):
        page = cloud.client.get(path, headers={"Accept-Language": "de-AT"}).text
        assert '<html lang="de">' in page
        assert words in page


def test_an_empty_house_is_told_how_to_get_its_first_door(cloud: Cloud) -> None:
    page = cloud.page()
    assert "No door has reported yet" in page
    assert "mqtt://127.0.0.1:1883" in page
    assert "agent run --config agent.toml" in page


def test_what_a_door_says_is_text_and_never_markup(cloud: Cloud) -> None:
    cloud.heartbeat("front", trouble=("<script>alert(1)</script>",))
    cloud.take(Message("mf/v1/00/<img src=x>/events", b"{}"))
    page = cloud.page()
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/fleet",
        "/learning",
        "/docs",
        "/api/v1/doors",
        "/healthz",
        "/static/page.css",
        "/nowhere",
        "/api/v1/counts?by=x",
    ],
)
def test_every_answer_forbids_inline_code_and_outside_hosts(cloud: Cloud, path: str) -> None:
    answer = cloud.client.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/fleet",
        "/?span=28d&site=hall",
        "/doors/front",
        "/doors/nowhere",
        "/learning",
        "/label",
        "/settings",
        "/settings/front",
        "/alerts",
        "/docs",
        "/account",
        "/users",
        "/audit",
        "/sign-in",
    ],
)
def test_pages_hold_no_inline_code_and_name_no_outside_host(cloud: Cloud, path: str) -> None:
    cloud.passes("front", 40)
    page = cloud.client.get(path).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    assert all(one.startswith(("/", "#")) for one in addresses)
    for one in addresses:
        if one.startswith("/static"):
            assert cloud.client.get(one).status_code == 200


def test_the_api_describes_itself(cloud: Cloud) -> None:
    schema = cloud.client.get("/api/v1/openapi.json").json()
    assert set(schema["paths"]) == {
        "/api/v1/doors", "/api/v1/counts", "/api/v1/counts.{kind}", "/api/v1/compliance", "/api/v1/quarantine", "/api/v1/service", "/api/v1/live", "/healthz", "/api/v1/me",
        "/api/v1/jobs", "/api/v1/jobs/claim", "/api/v1/jobs/{job}/progress", "/api/v1/jobs/{job}/outcome",
        "/api/v1/rollout", "/api/v1/rollout/{verb}",
        "/api/v1/labels", "/api/v1/labels/next", "/api/v1/labels/undo", "/api/v1/labels/progress",
        "/api/v1/crops/{digest}.jpg", "/api/v1/crops/{crop}/header", "/api/v1/snapshots/{digest}",
        "/api/v1/releases/{release}/{name}", "/api/v1/releases/{release}/publish", "/api/v1/releases/prolong",
        "/api/v1/sites", "/api/v1/sites/{slug}", "/api/v1/door-settings", "/api/v1/door-settings/{device}", "/api/v1/alerts", "/metrics", "/api/v1/retention",
    }  # fmt: skip
    door = schema["components"]["schemas"]["Door"]
    assert "outbox" in json.dumps(door["properties"]["waiting"])
    assert {"in", "out"} <= set(schema["components"]["schemas"]["Tally"]["properties"])


def test_while_the_database_is_away_the_api_says_try_again_and_the_page_explains(cloud: Cloud, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE devices RENAME TO elsewhere")
        for table in ("jobs", "rollouts"):
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_elsewhere")
    answer = cloud.client.get("/api/v1/doors")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "devices" not in answer.text
    for path in ("/", "/fleet", "/learning"):
        page = cloud.client.get(path)
        assert page.status_code == 503
        assert "The database does not answer" in page.text
        assert f'href="{path}" aria-current="page"' in page.text
