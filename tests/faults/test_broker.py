"""Brokers that refuse, and connections that have died without telling."""

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from agent.delivery import uplink as module
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import RESUBSCRIBE_S, SILENCE_S, Uplink
from contract.health import Heartbeat
from rehearsal.processes import Mosquitto, free_port, wait_until

WILL = Heartbeat.from_parsed({"device": "door-1", "state": "offline", "boot": str(uuid4())})


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox.open(tmp_path / "outbox", cap_bytes=10**8)
    yield opened
    opened.close()


def closed(folder: Path, port: int) -> Path:
    """A broker that knows nobody."""
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\nuser root\n")
    return config


def test_a_broker_that_refuses_the_door_is_tried_again_until_it_lets_it_in(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """[54] is the broker's side; here the door's: nothing is lost, and the log says why."""
    port = free_port()
    refusing = Mosquitto(tmp_path / "closed", port=port, configure=closed).start()
    outbox.put_events([Letter(UUID(int=1), b"{}")])
    uplink = Uplink("door-1", f"mqtt://127.0.0.1:{port}", outbox, last_will=WILL, jitter=lambda: 0.0)
    with caplog.at_level(logging.WARNING, "agent.uplink"):
        uplink.start()
        wait_until(lambda: "refused the connection" in caplog.text, within_s=20, what="the refusal in the log")
    uplink.pump()
    assert (uplink.connected, outbox.waiting) == (False, 1)
    refusing.stop()
    open_again = Mosquitto(tmp_path / "open", port=port).start()
    wait_until(lambda: uplink.connected, within_s=40, what="the connection")
    uplink.stop(lambda: WILL, within_s=0.1)
    open_again.stop()


class Reluctant(threading.Thread):
    """As much of an MQTT 3.1.1 broker as it takes to refuse the first subscription of a connection, and grant the next."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port, self.asked = self._door.getsockname()[1], 0

    def run(self) -> None:
        near, _ = self._door.accept()
        with near, near.makefile("rb") as heard:
            while kind := heard.read(1):
                length = shift = 0
                while (digit := heard.read(1)[0]) > 127:
                    length, shift = length | (digit & 127) << shift, shift + 7
                body = heard.read(length | digit << shift)
                if kind == b"\x10":
                    near.sendall(b"\x20\x02\x00\x00")
                elif kind == b"\x82":
                    self.asked += 1
                    near.sendall(b"\x90\x04" + body[:2] + (b"\x80\x80" if self.asked == 1 else b"\x01\x01"))

    def close(self) -> None:
        self._door.close()


def test_a_door_that_may_not_listen_for_a_moment_asks_again_in_the_same_connection(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Seen at a cluster of brokers that had just lost a machine: without it nothing is heard until the silence is noticed."""
    broker, clock = Reluctant(), [0.0]
    broker.start()
    uplink = Uplink(
        "door-1", f"mqtt://127.0.0.1:{broker.port}", outbox, last_will=WILL, protocol="3.1.1", clock=lambda: clock[0]
    )
    with caplog.at_level(logging.WARNING, "agent.uplink"):
        uplink.start()
        wait_until(lambda: "does not let us hear acks" in caplog.text, within_s=10, what="the refusal in the log")
    uplink.pump()
    assert broker.asked == 1  # not at once
    clock[0] += RESUBSCRIBE_S
    uplink.pump()
    wait_until(lambda: broker.asked == 2, within_s=10, what="another try")
    clock[0] += 10 * RESUBSCRIBE_S
    uplink.pump()
    assert (broker.asked, uplink.connections) == (2, 1)
    broker.close()
    uplink.stop(lambda: WILL, within_s=0)


def test_a_connection_on_which_nothing_is_answered_is_made_anew(broker: Mosquitto, outbox: Outbox) -> None:
    """[47] and the stall that was once seen: letters wait, the broker takes them, and no word comes from the cloud."""
    clock = [0.0]
    uplink = Uplink("door-1", broker.url, outbox, last_will=WILL, clock=lambda: clock[0], jitter=lambda: 0.0)
    uplink.start()
    wait_until(lambda: uplink.connected, within_s=20, what="the connection")
    clock[0] = SILENCE_S + 10
    uplink.pump()
    assert uplink.connected  # nothing waits, so silence is no fault
    outbox.put_events([Letter(UUID(int=1), b'{"id": "1"}')])
    uplink.pump()
    clock[0] += SILENCE_S + 1
    uplink.pump()
    wait_until(lambda: uplink.connections == 2, within_s=30, what="another connection")
    uplink.stop(lambda: WILL, within_s=0)


def test_doors_that_lost_their_broker_do_not_come_back_all_at_once(outbox: Outbox) -> None:
    waits = set()
    for number in range(5):
        uplink = Uplink("door-1", "mqtt://127.0.0.1:1", outbox, last_will=WILL, jitter=lambda number=number: number / 5)  # type: ignore[misc]
        waits.add((uplink._client._reconnect_min_delay, uplink._client._reconnect_max_delay))
    assert len(waits) == 5
    (least, most), (longest_least, longest_most) = module.RETRY_S
    assert all(least <= first <= most and longest_least <= last <= longest_most for first, last in waits)
