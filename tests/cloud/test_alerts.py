"""From a door that falls silent to somebody who hears of it, over real databases, a real web server and a real mail server."""

import json
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.fleet.alerts import Kind
from cloud.fleet.endings import Teller, file_look, server_look
from cloud.fleet.postman import Postman
from cloud.ingest.gatekeeper import Turned
from cloud.ingest.meter import NOBODY, Sender
from cloud.ingest.sink import DatabaseSink
from cloud.store import endings, writing
from cloud.store.blobs import BlobFolder
from cloud.store.database import open_database
from cloud.store.store import Store
from cloud.web.language import number
from cloud.web.roles import Scope
from contract.errors import ContractError
from provisioning.office import found_office, open_office
from rehearsal.processes import Child, free_port, wait_until
from tests.cloud.alert_kit import MINUTE, Watch, messages, told
from tests.cloud.conftest import page_address
from tests.cloud.people_kit import machine_headers
from tests.cloud.site_kit import NOW, Site, served
from tests.cloud.test_webhook import Listener


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    with served(engine, tmp_path) as one:
        yield one


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def test_one_message_when_it_opens_one_a_day_and_one_when_it_closes(
    site: Site, tmp_path: Path, listener: Listener
) -> None:
    watch = Watch(site, tmp_path, (listener.url,))
    site.heartbeat("front")
    site.put("/door-settings/front", title="Front <door>")
    assert watch.look() == []
    assert watch.look(3) == []
    assert watch.look(3) == [("opened", "door_silent", "front")]
    assert watch.post() == 1
    assert watch.fresh().turn(site.now) == ()  # after a restart it is open already
    (one,) = site.api("/alerts")
    assert (one["kind"], one["name"], one["closed_at"], one["sent"]) == ("door_silent", "Front <door>", None, 1)
    page = site.client.get("/alerts").text
    assert "1\u00a0alert is open" in page
    assert "Front &lt;door&gt;" in page
    assert '<a href="/alerts" class="some">1\u00a0alert</a>' in site.client.get("/").text
    assert watch.look(24 * 60) == [("reminder", "door_silent", "front")]
    site.heartbeat("front")
    assert watch.look() == []
    site.heartbeat("front")
    site.now += MINUTE
    site.heartbeat("front")
    assert watch.look() == [("closed", "door_silent", "front")]
    assert watch.post() == 2
    heard = [json.loads(body) for _, _, body in listener.heard]
    assert [one["event"] for one in heard] == ["opened", "reminder", "closed"]
    assert heard[0]["text"] == "Front <door>: door silent, it says nothing"
    assert heard[2]["text"] == "over: Front <door>: door silent"
    assert len({one["id"] for one in heard}) == 3
    assert len({one["alert"] for one in heard}) == 1
    assert "All is well" in site.client.get("/alerts").text


def test_a_door_that_is_closed_for_the_night_wakes_nobody(site: Site, tmp_path: Path) -> None:
    watch = Watch(site, tmp_path)
    site.heartbeat("front")  # at 12:30 UTC, when Tokyo's offices are closed
    week = ["08:00-18:00"] * 7
    site.put("/sites/tokyo", name="Tokyo", time_zone="Asia/Tokyo", week=week, closed=["2026-05-05"])
    site.put("/door-settings/front", site="tokyo")
    assert [watch.look(30) for _ in range(4)] == [[]] * 4
    site.now = NOW + timedelta(hours=11)  # 08:30 in Tokyo, but on a day on which it stays shut
    assert [watch.look(), watch.look(5)] == [[], []]
    site.now += timedelta(days=1)
    assert [watch.look(), watch.look(3)] == [[], [("opened", "door_silent", "front")]]


def test_a_door_that_floods_is_an_alert_a_line_and_a_number_until_it_has_been_quiet(site: Site, tmp_path: Path) -> None:
    watch, sink = Watch(site, tmp_path), DatabaseSink(site.engine, BlobFolder(tmp_path / "blobs"), "c")

    def flood(messages: int) -> None:
        sink.turned_away([Turned(Sender("front", "events"), messages), Turned(NOBODY, 7)], now=site.now)

    site.heartbeat("front")
    site.put("/door-settings/front", title="Front <door>")
    flood(1_000)
    assert watch.look() == []
    site.now += timedelta(seconds=10)
    flood(50_000)
    assert watch.look() == [("opened", "flooding", "front")]
    (one,) = site.api("/alerts")
    assert (one["name"], one["title"]) == ("Front <door>", "flooding")
    assert one["reason"].startswith("it sends about 5,000 messages a second too many: ")
    page = site.client.get("/doors/front").text
    assert "about 5,000 messages a second" in page
    assert "/quarantine?kind=flooding&amp;door=front" in page
    page = site.client.get("/quarantine?kind=flooding&door=front").text
    assert number(51_000) in page
    assert "1\u00a0message," in page  # one line, however many there were
    assert 'maskfleet_flood_messages_total{door="front"} 51000.0' in site.client.get("/metrics").text
    site.heartbeat("front")
    assert watch.look(2) == []
    site.heartbeat("front")
    site.now += MINUTE
    assert watch.look(4) == [("closed", "flooding", "front")]
    site.now += timedelta(hours=1)
    flood(5)
    kinds = {one.kind: (one.messages, one.deliveries) for one in Store(site.engine).quarantine_counts()}
    assert kinds == {"flooding": (4, 51_000 + 5 + 3 * 7)}  # a line an hour


def test_a_broker_that_is_away_is_one_alert_and_not_one_for_each_door(site: Site, tmp_path: Path) -> None:
    watch = Watch(site, tmp_path)
    for name in ("front", "side", "back"):
        site.heartbeat(name)
    with site.engine.begin() as connection:
        writing.write_consumer(connection, "c", connected=False, since=NOW, alive_at=NOW)
    assert watch.watchman.turn(NOW) == ()
    later = NOW + timedelta(minutes=5)
    assert told(watch.watchman.turn(later)) == []  # now there is no consumer at all, so nothing is known of the broker
    assert told(watch.watchman.turn(later + MINUTE)) == [("opened", "consumer_away", "consumer")]
    assert told(watch.watchman.turn(later + 9 * MINUTE)) == []


def test_what_heartbeats_say_opens_the_alerts_of_a_door(site: Site, tmp_path: Path) -> None:
    watch = Watch(site, tmp_path, compliance_line=0.9)
    site.passes("front", 150, label="without_mask")
    for minute in range(46):
        values: dict[str, Any] = {
            "accelerator": "edgetpu" if minute < 5 else "cpu",
            "events_lost": 3 if minute < 5 else 4,
        }
        coverage = {"since": NOW.replace(minute=0), "open": [30], "seen": [9], "today": 0.3}
        site.heartbeat(
            "front", trouble=("the picture is black",), trouble_words=("camera_black",), coverage=coverage, **values
        )
        watch.look(1)
    assert {one["kind"] for one in site.api("/alerts")} == {
        "camera", "accelerator_lost", "coverage_low", "compliance_low", "outbox_losing",
    }  # fmt: skip
    (low,) = [one for one in site.api("/alerts") if one["kind"] == "compliance_low"]
    assert "of 150 passes" in low["reason"]


def test_a_devices_words_cannot_keep_alerts_from_being_stored(site: Site, tmp_path: Path, listener: Listener) -> None:
    watch = Watch(site, tmp_path, (listener.url,))
    for _ in range(4):
        site.heartbeat("front", trouble=("the picture is black\0\r\nBcc: x\u202e",), trouble_words=("camera_black",))
        watch.look(1)
    (one,) = site.api("/alerts")
    assert one["reason"] == "the picture is black???Bcc: x?"
    assert watch.post() == 1


def test_a_certificate_that_ends_is_said_once_and_over_when_it_is_renewed(site: Site, tmp_path: Path) -> None:
    watch = Watch(site, tmp_path)
    watch.ends = {"web": NOW + timedelta(days=13)}
    assert watch.look() == [("opened", "certificate_ending", "web")]
    watch.ends = {"web": NOW + timedelta(days=90)}
    assert watch.look(2) == [("closed", "certificate_ending", "web")]


def test_a_service_certificate_of_our_own_is_read(tmp_path: Path) -> None:
    found_office(tmp_path / "ca", "test", now=datetime.now(UTC))
    with open_office(tmp_path / "ca") as office:
        office.certify_broker(["localhost"], tmp_path / "web", now=datetime.now(UTC))
    settings = CloudSettings.load(None, {"https": {"port": 0, "identity": str(tmp_path / "web")}})
    look = server_look(settings, "here")
    assert look()[Kind.CERTIFICATE_ENDING]["web server here"] > datetime.now(UTC) + timedelta(days=10)
    (tmp_path / "web" / "certificate.pem").write_text("nonsense")
    with pytest.raises(ContractError, match="no certificate"):
        look()


def test_a_revocation_list_is_watched_and_what_cannot_be_read_keeps_its_last_end(site: Site, tmp_path: Path) -> None:
    found_office(tmp_path / "ca", "test", now=NOW)
    path = tmp_path / "ca" / "crl.pem"
    watch = Watch(site, tmp_path)

    def look(days: float) -> list[tuple[str, str, str]]:
        site.now = NOW + timedelta(days=days)
        with site.engine.begin() as connection:
            writing.write_consumer(connection, "c", connected=True, since=NOW, alive_at=site.now)
        Teller(site.engine, (file_look(path),)).turn(site.now)
        return told(watch.watchman.turn(site.now))

    assert look(3) == []
    assert look(4.1) == [("opened", "revocations_ending", str(path))]
    path.write_text("-----BEGIN X509 CRL-----\nnonsense")
    assert look(4.1) == []
    with open_office(tmp_path / "ca") as office:
        office.write_revocations(now=site.now)
    assert look(4.2) == [("closed", "revocations_ending", str(path))]


def test_a_server_that_is_gone_no_longer_speaks_for_its_certificate_but_signatures_end_all_the_same(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        endings.tell(connection, Kind.CERTIFICATE_ENDING, {"web server a": NOW}, NOW)
        endings.tell(connection, Kind.SIGNATURES_ENDING, {"timestamp": NOW}, NOW)
        assert len(endings.read(connection, NOW + 10 * MINUTE)) == 2
        late = endings.read(connection, NOW + 20 * MINUTE)
    assert [(kind, subject) for kind, subject, _ in late] == [(Kind.SIGNATURES_ENDING, "timestamp")]


def test_a_doors_certificate_that_ends_is_said_though_the_door_is_silent_by_then(site: Site, tmp_path: Path) -> None:
    watch = Watch(site, tmp_path)
    site.heartbeat("front", certificate_ends=NOW + timedelta(days=15))
    site.heartbeat("side")  # an older agent, or one without a certificate
    assert watch.look() == []
    site.now = NOW + timedelta(days=1)
    assert watch.look() == [("opened", "door_certificate", "front")]
    (one,) = site.api("/alerts")
    assert (one["door"], one["reason"], one["title"]) == (
        "front",
        "it ends on 2026-05-19",
        "door's certificate about to end",
    )
    site.heartbeat("front", certificate_ends=site.now + timedelta(days=90))
    assert ("closed", "door_certificate", "front") in watch.look()
    assert "certificate" not in site.client.get("/doors.csv?text=front").text
    site.heartbeat("front", certificate_ends=site.now + timedelta(days=9))
    assert "certificate," in site.client.get("/doors.csv?text=front").text


def test_a_message_that_does_not_arrive_is_tried_again_in_order_and_given_up_after_a_day(
    site: Site, tmp_path: Path, listener: Listener
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/"
    watch = Watch(site, tmp_path, (listener.url, dead))
    watch.ends = {"web": NOW}
    watch.look()
    listener.status = 500
    assert watch.post() == 0
    watch.ends = {}
    assert watch.look(2) == [("closed", "certificate_ending", "web")]
    assert watch.post(timedelta(seconds=-115)) == 0  # 5 s later: not yet
    listener.status = 200
    assert watch.post() == 2  # to the one, both, in order
    assert [json.loads(body)["event"] for _, _, body in listener.heard] == ["opened", "opened", "closed"]
    assert [one["error"] for one in site.api("/alerts")] != [""]
    for hour in range(1, 27):
        watch.post(timedelta(hours=hour))
    rows = [row for row in messages(site.engine) if row["target"] == dead]
    assert [(row["next_at"], row["sent_at"], row["error"]) for row in rows] == [
        (None, None, "given up after a day")
    ] * 2
    assert 10 < rows[0]["tries"] < 40
    (one,) = site.api("/alerts")
    assert (one["sent"], one["failed"]) == (2, 2)
    assert "2 given up" in site.client.get("/alerts").text


def test_an_address_that_left_the_settings_hears_nothing_more(site: Site, tmp_path: Path, listener: Listener) -> None:
    watch = Watch(site, tmp_path, (listener.url,))
    watch.ends = {"web": NOW}
    watch.look()
    assert Postman(site.engine, {}, ()).turn(lambda: NOW) == 0
    assert messages(site.engine)[0]["error"] == "it is no longer in the settings"
    assert (watch.post(), listener.heard) == (0, [])


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"webhooks": ["https://example.org/a"]}, "webhook_secret"),
        ({"webhooks": ["http://example.org/a"]}, "https://HOST/PATH"),
        ({"webhooks": ["https://user:pass@example.org/a"]}, "https://HOST/PATH"),
        ({"webhooks": ["https://example.org/a\r\nX: y"]}, "https://HOST/PATH"),
        ({"webhooks": ["file:///etc/passwd"]}, "https://HOST/PATH"),
        ({"email_to": ["ops@example.org"]}, "smtp_host"),
        ({"email_to": ["ops@example.org\nBcc: x@y.org"]}, "no e-mail address"),
        ({"smtp_host": "mail.example.org", "smtp_tls": "none"}, "this machine alone"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(rules: dict[str, Any], why: str) -> None:
    with pytest.raises(ContractError, match=why):
        CloudSettings.load(None, {"alerts": rules})


def test_the_program_tells_of_its_certificate_at_once_though_another_address_takes_no_connection(
    tmp_path: Path, listener: Listener
) -> None:
    long_ago, identity = datetime.now(UTC) - timedelta(days=360), tmp_path / "web"
    found_office(tmp_path / "ca", "test", now=long_ago)
    with open_office(tmp_path / "ca") as office:
        office.certify_broker(["localhost"], identity, now=long_ago)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        (tmp_path / "secret").write_text("0123456789abcdef")
        config = tmp_path / "cloud.toml"
        urls = [f"http://127.0.0.1:{deaf.getsockname()[1]}/", listener.url]
        config.write_text(
            f'data = "{tmp_path / "data"}"\nport = 0\n[https]\nport = 0\nhost = "127.0.0.1"\nidentity = "{identity}"\n'
            f'[alerts]\nwebhooks = {json.dumps(urls)}\nwebhook_secret = "{tmp_path / "secret"}"\n'
        )
        child = Child("cloud", [sys.executable, "-m", "cloud", "serve", "--config", config], log=tmp_path / "cloud.log")
        try:
            address = page_address(child)
            wait_until(lambda: bool(listener.heard), within_s=60, what="the alert at the webhook")
            assert json.loads(listener.heard[0][2])["kind"] == Kind.CERTIFICATE_ENDING
            engine = open_database(f"sqlite:///{tmp_path / 'data' / 'maskfleet.sqlite'}")
            reader = machine_headers(engine, Scope.READ)
            engine.dispose()
            assert httpx.get(f"{address}api/v1/alerts", headers=reader).json()[0]["kind"] == "certificate_ending"
        finally:
            child.stop()
    assert child.process.returncode == 0
