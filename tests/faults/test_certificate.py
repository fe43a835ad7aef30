"""A door whose certificate runs out: it counts on, says why it cannot deliver, and takes the next certificate without a restart."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from agent.delivery.credentials import Credentials
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import RENEWED_S, Uplink
from contract.health import Heartbeat
from contract.tls import CERTIFICATE, KEY
from provisioning.csr import REQUEST, make_request, store_certificate
from provisioning.enrol import enrol, new_token
from provisioning.office import Office, open_office
from rehearsal.identities import Identities
from rehearsal.processes import Mosquitto, wait_until

WILL = Heartbeat.from_parsed({"device": "door-1", "state": "offline", "boot": str(uuid4())})


def certify(office: Office, folder: Path, *, now: datetime) -> None:
    make_request("door-1", folder)
    token = new_token(office, "door-1", now=now)
    store_certificate(folder, enrol(office, token, (folder / REQUEST).read_bytes(), now=now), office.ca)


@dataclass
class Site:
    """A broker that asks for certificates, the office that issues them, and one door."""

    folder: Path
    late_s: float = 0.0  # what the door's clock has more than ours
    doors: list[Uplink] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.identities = Identities(self.folder / "identities")
        self.server = Mosquitto(self.folder / "broker", configure=self.identities.configure_broker).start()
        self.box = Outbox.open(self.folder / "outbox", cap_bytes=10**8)
        self.identity = self.folder / "door-1"

    def certify(self, *, days_ago: float = 0.0) -> None:
        """A certificate of 90 days with a key of its own, into the door's folder, over what is there."""
        (self.identity / KEY).unlink(missing_ok=True)
        with open_office(self.folder / "identities" / "ca") as office:
            certify(office, self.identity, now=datetime.now(UTC) - timedelta(days=days_ago))

    def start(self) -> Uplink:
        credentials = Credentials(self.identity)
        door = Uplink(
            "door-1", self.server.url, self.box, last_will=WILL, tls=credentials,
            clock=lambda: time.monotonic() + self.late_s, jitter=lambda: 0.0,
        )  # fmt: skip
        door.start()
        self.doors.append(door)
        return door

    def pump_until(self, door: Uplink, connections: int) -> None:
        def there() -> bool:
            door.pump()
            return door.connected and door.connections == connections

        wait_until(there, within_s=40, what=f"connection {connections}")

    def close(self) -> None:
        for door in self.doors:
            door.stop(lambda: WILL, within_s=0)
        self.box.close()
        self.server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    here = Site(tmp_path)
    yield here
    here.close()


def test_an_expired_certificate_keeps_events_at_the_door_until_the_next_one(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """[51] as the door sees it."""
    site.certify(days_ago=91)
    site.box.put_events([Letter(UUID(int=1), b"{}")])
    with caplog.at_level(logging.WARNING, "agent.uplink"):
        door = site.start()
        wait_until(lambda: "expired" in caplog.text, within_s=40, what="the reason in the log")
    door.pump()
    assert (door.connected, site.box.waiting) == (False, 1)
    site.certify()
    site.pump_until(door, 1)  # by the same process


def test_a_certificate_that_is_renewed_in_time_is_in_use_within_an_hour(site: Site) -> None:
    """The first one ends 6 s after it was taken, so that only the second can make the second connection."""
    site.certify(days_ago=90 - 6 / 86_400)
    ends = time.monotonic() + 6
    door = site.start()
    site.pump_until(door, 1)
    site.certify()
    door.pump()
    assert (door.connected, door.connections, door.trouble) == (True, 1, "")
    time.sleep(max(0.0, ends + 1 - time.monotonic()))
    site.late_s = RENEWED_S + 1
    site.pump_until(door, 2)
    site.late_s = 2 * RENEWED_S + 2
    for _ in range(20):
        door.pump()
        time.sleep(0.05)
    assert (door.connected, door.connections, door.trouble) == (True, 2, "")


def test_a_renewed_certificate_that_the_broker_refuses_costs_no_connection_but_the_one_that_tried_it(
    site: Site, tmp_path: Path
) -> None:
    site.certify()
    door = site.start()
    site.pump_until(door, 1)
    stranger = Identities(tmp_path / "elsewhere").door("door-1")
    for name in (KEY, CERTIFICATE):
        (site.identity / name).write_bytes((stranger / name).read_bytes())
    site.late_s = RENEWED_S + 1
    site.pump_until(door, 2)
    assert door.trouble == "the broker refuses the new certificate; the one before is still in use: enrol again"
    for hours in (2, 3):
        site.late_s = hours * (RENEWED_S + 1)
        for _ in range(20):
            door.pump()
            time.sleep(0.05)
    assert (door.connected, door.connections) == (True, 2)
    site.certify()
    site.late_s = 4 * (RENEWED_S + 1)
    site.pump_until(door, 3)
    assert door.trouble == ""


def test_files_that_make_no_identity_leave_the_connection_alone(site: Site) -> None:
    site.certify()
    door = site.start()
    site.pump_until(door, 1)
    whole = (site.identity / CERTIFICATE).read_bytes()
    (site.identity / CERTIFICATE).write_bytes(whole[:300])
    site.late_s = RENEWED_S + 1
    for _ in range(20):
        door.pump()
        time.sleep(0.05)
    assert (door.connected, door.connections) == (True, 1)
    assert door.trouble == "the new certificate cannot be used; the one before still is: enrol again"
    site.server.stop()
    site.server.start()
    site.pump_until(door, 2)  # with what it has in memory
    (site.identity / CERTIFICATE).write_bytes(whole)
    site.late_s = 2 * (RENEWED_S + 1)
    door.pump()
    assert (door.trouble, door.connections) == ("", 2)
