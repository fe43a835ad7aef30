"""The real agent as a service: what a service manager hears from it, with and without camera and network."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from contract.events import Acknowledgement, EventBatch
from contract.health import HEALTH_LIMIT, Heartbeat
from contract.topics import Channel, Topic, every
from rehearsal.processes import Mosquitto, free_port, wait_until
from rehearsal.scene import Scene, write_clip


class Manager:
    """A service manager's ear, and the agent that it started."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._folder = folder
        self._agent: subprocess.Popen[bytes] | None = None

    def start(self, broker: str, *arguments: str, source: str | Path) -> None:
        settings = self._folder / "agent.toml"
        settings.write_text(
            f'device = "door-1"\n[camera]\nsource = "{source}"\nloop = true\n[broker]\nurl = "{broker}"\n'
            f'heartbeat_s = 1\n[outbox]\nfolder = "{self._folder / "outbox"}"\nclock_wait_s = 0\n'
        )
        self._agent = subprocess.Popen(
            [sys.executable, "-m", "agent", "run", "--config", str(settings), *arguments],
            env=os.environ | {"NOTIFY_SOCKET": str(self._folder / "notify")}, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait_for(self, what: str, times: int = 1, *, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while sum(line.startswith(what) for line in self.heard) < times:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            self.heard.append(self._socket.recv(4096).decode())

    def stop(self) -> int:
        assert self._agent
        self._agent.send_signal(signal.SIGTERM)
        return self._agent.wait(20)

    def close(self) -> None:
        if self._agent and self._agent.poll() is None:
            self._agent.kill()
            self._agent.wait()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def heartbeats(broker: Mosquitto) -> Iterator[Sequence[Heartbeat]]:
    """What a cloud hears; it stores every event at once."""
    heard: list[Heartbeat] = []

    def take(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if Topic.parse(message.topic).channel is Channel.HEALTH:
            heard.append(Heartbeat.decode(bytes(message.payload), limit=HEALTH_LIMIT))
        else:
            ids = tuple(event.id for event in EventBatch.decode(bytes(message.payload), limit=1 << 20).events)
            client.publish(Topic("door-1", Channel.ACKS).text, Acknowledgement(stored=ids).encode(), qos=1)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = take
    client.connect("127.0.0.1", broker.port)
    client.subscribe([(every(Channel.HEALTH), 1), (every(Channel.EVENTS), 1)])
    client.loop_start()
    yield heard
    client.disconnect()
    client.loop_stop()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "door.mp4"
    write_clip(Scene("passage", seed=61, people=1, gap_s=0.5), path)
    return path


def found(beats: Sequence[Heartbeat], told: Callable[[Heartbeat], bool]) -> bool:
    return any(told(beat) for beat in beats)


def test_an_agent_that_boots_with_no_network_is_ready_and_alive(manager: Manager, clip: Path) -> None:
    """Fault 96."""
    manager.start(f"mqtt://127.0.0.1:{free_port()}", source=clip)
    manager.wait_for("WATCHDOG=1", 5)
    assert "READY=1" in manager.heard
    assert any("frames a second" in line for line in manager.heard if line.startswith("STATUS="))
    assert manager.stop() == 0
    manager.wait_for("STOPPING=1", within_s=1)


def test_an_agent_whose_camera_does_not_answer_is_ready_alive_and_says_so(
    manager: Manager, broker: Mosquitto, heartbeats: Sequence[Heartbeat]
) -> None:
    """Fault 94: it is no restart loop."""
    manager.start(broker.url, source=f"rtsp://127.0.0.1:{free_port()}/door")
    manager.wait_for("WATCHDOG=1", 3)
    assert "READY=1" in manager.heard
    assert any(line.startswith("STATUS=the camera") for line in manager.heard)
    wait_until(
        lambda: found(heartbeats, lambda beat: "does not answer" in "".join(beat.trouble)), within_s=20, what="trouble"
    )


def test_a_heartbeat_tells_of_the_machine_and_of_what_was_observed(
    manager: Manager, broker: Mosquitto, heartbeats: Sequence[Heartbeat], clip: Path
) -> None:
    manager.start(broker.url, source=clip)
    wait_until(lambda: found(heartbeats, lambda beat: beat.fps > 0), within_s=60, what="a heartbeat with frames")
    beat = heartbeats[-1]
    assert beat.board and beat.board.disk_free_bytes
    assert beat.coverage and len(beat.coverage.open) in (1, 2)
    assert manager.stop() == 0


def test_safe_mode_delivers_what_waits_and_says_that_it_does_not_count(
    manager: Manager, broker: Mosquitto, heartbeats: Sequence[Heartbeat], tmp_path: Path
) -> None:
    outbox = Outbox.open(tmp_path / "outbox", cap_bytes=10**7)
    event = (
        f'{{"id":"{UUID(int=7)}","at":"2026-11-23T08:00:00Z","direction":"in","label":"with_mask","confidence":0.9,'
        f'"release":1,"accelerator":"cpu","boot":"{UUID(int=8)}","sequence":0,"clock_synchronised":true}}'
    )
    outbox.put_events([Letter(UUID(int=7), event.encode())])
    outbox.close()
    manager.start(broker.url, "--safe", source="picamera")
    manager.wait_for("WATCHDOG=1", 2)
    assert "READY=1" in manager.heard
    wait_until(lambda: found(heartbeats, lambda beat: beat.waiting == 0), within_s=20, what="the outbox emptying")
    assert heartbeats[-1].trouble[0].startswith("safe mode: the agent ended again and again")
    assert manager.stop() == 0
