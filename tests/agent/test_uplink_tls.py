"""A door speaks under its certificate's name, and one that the broker does not know is told why, once."""

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from agent.delivery.credentials import Credentials
from agent.delivery.outbox import Outbox
from agent.delivery.uplink import Uplink
from contract.health import Heartbeat
from contract.tls import CA
from rehearsal.identities import Identities
from rehearsal.processes import Mosquitto, wait_until

WILL = Heartbeat.from_parsed({"device": "door-1", "state": "offline", "boot": str(uuid4())})


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path / "identities")


@pytest.fixture
def secure(identities: Identities, tmp_path: Path) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path / "broker", configure=identities.configure_broker).start()
    yield server
    server.stop()


def uplink(broker: Mosquitto, identity: Path, outbox: Outbox) -> Uplink:
    return Uplink("door-1", broker.url, outbox, last_will=WILL, tls=Credentials(identity))


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox.open(tmp_path / "outbox", cap_bytes=10**8)
    yield opened
    opened.close()


def test_a_door_with_its_certificate_is_let_in(secure: Mosquitto, identities: Identities, outbox: Outbox) -> None:
    door = uplink(secure, identities.door("door-1"), outbox)
    door.start()
    wait_until(lambda: door.connected, within_s=10, what="the connection")
    door.stop(lambda: WILL)


def test_a_certificate_of_another_ca_is_refused_and_the_log_says_so_once(
    secure: Mosquitto, identities: Identities, outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Identities(tmp_path / "elsewhere").door("door-1")
    (stranger / CA).write_bytes((identities.door("door-1") / CA).read_bytes())
    door = uplink(secure, stranger, outbox)
    log = tmp_path / "broker" / "mosquitto.log"
    with caplog.at_level(logging.WARNING, logger="agent.uplink"):
        door.start()
        wait_until(lambda: log.read_text().count("OpenSSL Error") >= 4, within_s=30, what="the second try")
        assert not door.connected
        door.stop(lambda: WILL)
    told = [one.getMessage() for one in caplog.records]
    assert len(told) == 1
    assert "does not know our certificate's CA" in told[0]
