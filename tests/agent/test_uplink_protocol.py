"""The same uplink by MQTT 3.1.1, for brokers that speak no other."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.delivery import uplink
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import Uplink
from contract.events import Acknowledgement
from contract.fleet import Desired
from contract.health import Heartbeat
from contract.settings import MqttProtocol
from contract.topics import Channel, Topic, every
from rehearsal.processes import Mosquitto, wait_until

WILL = Heartbeat.from_parsed({"device": "door-1", "state": "offline", "boot": str(uuid4())})


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_letters_answers_and_wishes_travel_and_a_session_outlives_its_connection(
    broker: Mosquitto, tmp_path: Path, protocol: MqttProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "RESEND_S", (60.0, 60.0))  # what empties the outbox is not a second sending
    heard: list[bytes] = []
    cloud = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
    cloud.on_message = lambda _client, _data, message: heard.append(bytes(message.payload))
    subscribed: list[Any] = []
    cloud.on_subscribe = lambda *given: subscribed.append(given)
    cloud.connect("127.0.0.1", broker.port)
    cloud.subscribe([(every(Channel.EVENTS), 1), (every(Channel.HEALTH), 1)])
    cloud.loop_start()
    wait_until(lambda: bool(subscribed), within_s=20, what="the subscription")

    box = Outbox.open(tmp_path / "outbox", cap_bytes=10**8)
    known = UUID(int=7)
    box.put_events([Letter(known, b'{"id": "x"}')])
    wish = Desired(device="door-1", number=1, release=0)
    cloud.publish(Topic("door-1", Channel.DESIRED).text, wish.encode(), qos=1, retain=True).wait_for_publish(5)
    away = Uplink("door-1", broker.url, box, last_will=WILL, protocol=protocol)
    away.start()
    wait_until(lambda: bool(away.pump() or heard), within_s=10, what="the letter arriving")
    assert away.wishes() == [wish.encode()]
    away.stop(lambda: WILL, within_s=0)

    answer = Acknowledgement(stored=(known,)).encode()
    cloud.publish(Topic("door-1", Channel.ACKS).text, answer, qos=1).wait_for_publish(5)
    back = Uplink("door-1", broker.url, box, last_will=WILL, protocol=protocol)
    back.start()

    def emptied() -> bool:
        back.pump()
        return box.waiting == 0

    wait_until(emptied, within_s=20, what="the answer that came while the door was away")
    back.heartbeat(WILL.model_copy(update={"state": "online"}))
    wait_until(lambda: any(b'"online"' in one for one in heard), within_s=20, what="the heartbeat")
    back.stop(lambda: WILL)
    box.close()
    cloud.disconnect()
    cloud.loop_stop()
