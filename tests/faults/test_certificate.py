"""A door whose certificate has run out: it counts on, says why it cannot deliver, and delivers with the next certificate."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import Uplink
from contract.health import Heartbeat
from contract.tls import client_context
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


def test_an_expired_certificate_keeps_events_at_the_door_until_the_next_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """[51] as the door sees it."""
    identities = Identities(tmp_path / "identities")
    server = Mosquitto(tmp_path / "broker", configure=identities.configure_broker).start()
    folder = tmp_path / "door-1"
    with open_office(tmp_path / "identities" / "ca") as office:
        certify(office, folder, now=datetime.now(UTC) - timedelta(days=91))
    box = Outbox.open(tmp_path / "outbox", cap_bytes=10**8)
    box.put_events([Letter(UUID(int=1), b"{}")])
    expired = Uplink("door-1", server.url, box, last_will=WILL, tls=client_context(folder))
    with caplog.at_level(logging.WARNING, "agent.uplink"):
        expired.start()
        wait_until(lambda: "expired" in caplog.text, within_s=40, what="the reason in the log")
    expired.pump()
    assert (expired.connected, box.waiting) == (False, 1)
    expired.stop(lambda: WILL)
    with open_office(tmp_path / "identities" / "ca") as office:
        certify(office, folder, now=datetime.now(UTC))
    renewed = Uplink("door-1", server.url, box, last_will=WILL, tls=client_context(folder))
    renewed.start()
    wait_until(lambda: renewed.connected, within_s=20, what="the connection")
    renewed.stop(lambda: WILL, within_s=0)
    box.close()
    server.stop()
