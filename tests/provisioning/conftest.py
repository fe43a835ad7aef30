"""A CA, identities by the real enrolment, a real mosquitto with the generated configuration, and peers that talk to it."""

import shutil
import signal
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from contract.tls import CA, CERTIFICATE, KEY
from contract.topics import Channel, Topic, every
from provisioning.broker import hand_revocations, write_broker
from provisioning.ca import Role
from provisioning.csr import REQUEST, make_request, store_certificate
from provisioning.enrol import enrol, new_token
from provisioning.office import CRL, Office, found_office, open_office
from rehearsal.processes import Child, free_port, listens, wait_until


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A CA of its own, made a moment ago."""
    found_office(tmp_path / "ca", "test CA", now=datetime.now(UTC))
    with open_office(tmp_path / "ca") as opened:
        yield opened


def enrolled(office: Office, device: str, folder: Path, *, now: datetime | None = None) -> Path:
    """A device's identity folder, made the way a device's is made."""
    now = now or datetime.now(UTC)
    make_request(device, folder)
    certificate = enrol(office, new_token(office, device, now=now), (folder / REQUEST).read_bytes(), now=now)
    store_certificate(folder, certificate, office.ca)
    return folder


class Peer:
    """Somebody who connects to the broker with an identity folder, or with none."""

    def __init__(
        self,
        port: int,
        identity: Path | None,
        *,
        ca: Path,
        client_id: str = "",
        will: str = "",
        host: str = "localhost",
    ) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.answered = self.connected = self.ended = False
        self._address = (host, port)
        self._subscribed = 0
        self._client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5, reconnect_on_failure=False)
        certificate, key = (str(identity / CERTIFICATE), str(identity / KEY)) if identity else (None, None)
        self._client.tls_set(str(ca), certificate, key)
        if will:
            self._client.will_set(will, b"last will", qos=1)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def open(self) -> bool:
        """Whether the broker lets this peer in."""
        try:
            self._client.connect(*self._address, keepalive=30)
        except (ssl.SSLError, ConnectionError):
            self.ended = True
            return False
        self._client.loop_start()
        wait_until(lambda: self.connected or self.ended, within_s=10, what="an answer from the broker")
        return self.connected

    def hear(self, *filters: str) -> None:
        """Subscribe, and wait for the broker's answer, whatever it is."""
        before = self._subscribed
        self._client.subscribe([(one, 1) for one in filters])
        wait_until(lambda: self._subscribed > before, within_s=10, what="the answer to a subscription")

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def vanish(self) -> None:
        """Cut the connection without a goodbye, so that the broker speaks the last will."""
        sock = self._client.socket()
        assert sock is not None
        sock.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.answered = True
        self.connected = not reason.is_failure
        self.ended = bool(reason.is_failure)

    def _on_disconnect(self, *_: Any) -> None:
        self.ended = True

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed += 1

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))


class Fleet:
    """The broker with its generated folder, and everybody who ever connected to it."""

    def __init__(self, office: Office, folder: Path) -> None:
        self.office = office
        self.port = free_port()
        self._folder = folder
        self._peers: list[Peer] = []
        self.configuration = write_broker(
            office, folder / "broker", hosts=["localhost"], now=datetime.now(UTC), port=self.port, bind="127.0.0.1"
        )
        office.certify_service(Role.CLOUD, folder / "cloud", now=datetime.now(UTC))
        self._start()

    @property
    def ca(self) -> Path:
        return self._folder / "broker" / CA

    @property
    def log(self) -> str:
        return (self._folder / "mosquitto.log").read_text()

    def door(self, name: str) -> Path:
        """The identity folder of an enrolled device, enrolled now where it is not yet."""
        folder = self._folder / name
        return folder if folder.exists() else enrolled(self.office, name, folder)

    def peer(self, identity: Path | None, **options: Any) -> Peer:
        peer = Peer(self.port, identity, **{"ca": self.ca, **options})
        self._peers.append(peer)
        return peer

    def connect(self, name: str, **options: Any) -> Peer:
        """An enrolled device that the broker let in."""
        peer = self.peer(self.door(name), **options)
        assert peer.open(), self.log
        return peer

    def cloud(self) -> Peer:
        """The cloud, connected, and listening to every device."""
        peer = self.peer(self._folder / "cloud")
        assert peer.open(), self.log
        peer.hear(*(every(channel) for channel in (Channel.EVENTS, Channel.CROPS, Channel.HEALTH, Channel.REPORTED)))
        return peer

    def revoke(self, name: str) -> None:
        """Revoke, hand the list over, and tell the broker."""
        self.office.revoke(name, now=datetime.now(UTC))
        self.hand_list_over()

    def hand_list_over(self) -> None:
        hand_revocations(self._folder / "broker", (self.office.folder / CRL).read_bytes())
        before = self.log.count("Reloading config")
        self._child.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: self.log.count("Reloading config") > before, within_s=10, what="the broker reading its files anew"
        )

    def restart(self) -> None:
        self._child.stop()
        self._start()

    def stop(self) -> None:
        for peer in self._peers:
            peer.close()
        self._child.stop()

    def _start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
        assert program, "mosquitto is not installed: run `make setup`"
        self._child = Child("mosquitto", [program, "-c", self.configuration], log=self._folder / "mosquitto.log")
        wait_until(lambda: listens(self.port) or not self._child.running, within_s=10, what="mosquitto listening")
        self._child.require_running()


@pytest.fixture
def fleet(office: Office, tmp_path: Path) -> Iterator[Fleet]:
    running = Fleet(office, tmp_path)
    yield running
    running.stop()


def up_to_a_fence(listener: Peer, topic: str, *, speaker: Peer) -> set[tuple[str, bytes]]:
    """What came to a listener so far: `speaker` says one more thing on a permitted topic, and that one arrives last."""
    fence = (topic, uuid4().hex.encode())
    speaker.say(*fence)
    wait_until(lambda: fence in listener.heard, within_s=10, what=f"a message on {topic}")
    return set(listener.heard) - {fence}


def topic(device: str, channel: Channel) -> str:
    return Topic(device, channel).text
