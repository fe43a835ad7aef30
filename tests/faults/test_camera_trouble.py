"""What the cloud hears of a camera that fails: a real door, a real broker, and the heartbeats between them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from agent.app import Door
from agent.config import AgentSettings, BrokerSettings, CameraSettings, OutboxSettings
from agent.vision.watch import FROZEN
from contract.health import HEALTH_LIMIT, Heartbeat
from contract.topics import Channel, Topic
from rehearsal.processes import Mosquitto, free_port, wait_until
from tests.faults.rtsp import NetworkCamera

DEVICE = "door-1"


@contextmanager
def door(broker: Mosquitto, folder: Path, source: str) -> Iterator[list[Heartbeat]]:
    """A door with this camera at work; its heartbeats, one a second."""
    beats: list[Heartbeat] = []

    def hear(_client: Client, _data: object, message: MQTTMessage) -> None:
        beats.append(Heartbeat.decode(bytes(message.payload), limit=HEALTH_LIMIT))

    client = Client(CallbackAPIVersion.VERSION2, client_id="cloud", protocol=MQTTv5)
    client.on_message = hear
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe(Topic(DEVICE, Channel.HEALTH).text, 1)
    settings = AgentSettings(
        device=DEVICE, camera=CameraSettings(source=source, loop=True),
        broker=BrokerSettings(url=broker.url, heartbeat_s=1), outbox=OutboxSettings(folder=folder / "outbox"),
    )  # fmt: skip
    stop = threading.Event()
    at_work = threading.Thread(target=lambda: Door(settings).run(stop))
    at_work.start()
    try:
        yield beats
    finally:
        stop.set()
        at_work.join(20)
        client.disconnect()
        client.loop_stop()
    assert not at_work.is_alive()
    assert beats[-1].state == "offline"


def test_a_door_whose_network_camera_is_away_lives_on_says_so_and_heals(broker: Mosquitto, tmp_path: Path) -> None:
    """[88] The stream's address has a password; the heartbeat has not."""
    port = free_port()
    with door(broker, tmp_path, f"rtsp://door:secret@127.0.0.1:{port}/stream") as beats:
        wait_until(lambda: bool(beats) and bool(beats[-1].trouble), within_s=20, what="the trouble")
        assert beats[-1].trouble[0].startswith("the camera at 127.0.0.1 does not answer")
        assert beats[-1].state == "online"
        with NetworkCamera(port=port):
            wait_until(lambda: beats[-1].trouble == () and beats[-1].frames > 5, within_s=30, what="the healing")
        wait_until(lambda: bool(beats[-1].trouble), within_s=20, what="the trouble after the camera has gone")
        assert beats[-1].frames > 5
    assert "secret" not in "".join(line for beat in beats for line in beat.trouble)


def test_a_door_whose_picture_is_frozen_says_so(broker: Mosquitto, tmp_path: Path) -> None:
    """[90]"""
    still = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    clip = tmp_path / "still.avi"  # without loss: MJPG changes its quality from frame to frame
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"FFV1"), 15.0, (160, 120))
    for _ in range(15 * 30):
        writer.write(still)
    writer.release()
    with door(broker, tmp_path, str(clip)) as beats:
        wait_until(lambda: bool(beats) and beats[-1].frames > 30, within_s=20, what="frames")
        assert beats[-1].trouble == ()
        wait_until(lambda: beats[-1].trouble == (FROZEN,), within_s=30, what="the trouble")
