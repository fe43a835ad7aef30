"""Home Assistant's topics in a real mosquitto: only where they were asked for, only in the right direction."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contract.errors import ContractError
from contract.home import config_topic, status_topic
from contract.topics import Channel
from provisioning.broker import access_list, write_broker
from provisioning.ca import Role
from provisioning.office import Office
from rehearsal.processes import wait_until
from tests.provisioning.conftest import Fleet, Peer, topic, up_to_a_fence

CONFIG, STATE = config_topic("homeassistant", "door-a", "state"), "homeassistant/sensor/maskfleet_door-a/state"


@pytest.fixture
def home(office: Office, fleet: Fleet, tmp_path: Path) -> Path:
    office.certify_service(Role.HOME_ASSISTANT, tmp_path / "home", now=datetime.now(UTC))
    return tmp_path / "home"


@pytest.fixture
def opened(office: Office, fleet: Fleet, tmp_path: Path) -> Iterator[Fleet]:
    """The same broker, written anew with the prefix."""
    write_broker(
        office, tmp_path / "broker", hosts=["localhost"], now=datetime.now(UTC), port=fleet.port, bind="127.0.0.1",
        home_assistant="homeassistant",
    )  # fmt: skip
    fleet.restart()
    yield fleet


def listening(fleet: Fleet, home: Path) -> Peer:
    peer = fleet.peer(home)
    assert peer.open(), fleet.log
    peer.hear("homeassistant/#", "mf/v1/#", "#")
    return peer


def test_with_the_prefix_the_cloud_announces_doors_and_home_assistant_reads_that_alone(
    opened: Fleet, home: Path
) -> None:
    reader, cloud, door = listening(opened, home), opened.cloud(), opened.connect("door-a")
    cloud.say(topic("door-a", Channel.DESIRED), b"not for the house")
    door.say(topic("door-a", Channel.HEALTH), b"nor this")
    door.say(CONFIG, b"forged by a door")
    reader.say(CONFIG, b"forged by the house")
    cloud.say("homeassistant/switch/lamp/config", b"something else")
    for place in (CONFIG, STATE, status_topic("homeassistant")):
        cloud.say(place, b"true")
    announced = {(place, b"true") for place in (CONFIG, STATE, status_topic("homeassistant"))}
    # Each comes once for every filter of the reader's that fits.
    wait_until(lambda: announced <= set(reader.heard), within_s=10, what="the announcements")
    assert set(reader.heard) == announced


def test_without_the_prefix_nobody_says_anything_there(fleet: Fleet, home: Path) -> None:
    reader, cloud = listening(fleet, home), fleet.cloud()
    door = fleet.connect("door-a")
    cloud.say(CONFIG, b"true")
    cloud.say(STATE, b"true")
    assert up_to_a_fence(cloud, topic("door-a", Channel.EVENTS), speaker=door) == set()
    assert reader.heard == []


def test_the_access_list_without_a_prefix_is_as_it_was() -> None:
    assert "homeassistant" not in access_list()
    assert "topic write homeassistant/sensor/+/+/config" in access_list("homeassistant").splitlines()
    with pytest.raises(ContractError, match="cannot be the prefix"):
        access_list("#")
