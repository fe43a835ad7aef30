"""What doors say they run, and what they are asked to run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import Connection, Engine, select

from cloud.fleet.keys import make_keys
from cloud.fleet.releases import Repository
from cloud.fleet.rollout import Group, Rules, State
from cloud.fleet.steward import Steward, change_by_hand
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, open_message
from cloud.rules import PictureRules
from cloud.store import fleet, schema
from cloud.store.blobs import BlobFolder
from contract.errors import ContractError
from contract.fleet import DESIRED_LIMIT, Desired, Reported, Step
from contract.topics import Channel, Topic, every
from rehearsal.processes import Mosquitto, wait_until
from tests.cloud.conftest import StartCloud, wait_for_log
from tests.cloud.release_kit import release

NOW = datetime.now(UTC).replace(microsecond=0)


def report(device: str, **values: Any) -> Reported:
    base = {"device": device, "at": NOW, "release": 0, "digest": "a" * 64, "step": Step.IDLE}
    return Reported.model_validate({**base, **values})


def take(engine: Engine, folder: Path, one: Reported, *, under: str = "", now: datetime = NOW) -> None:
    message = Message(Topic(under or one.device, Channel.REPORTED).text, one.encode())
    ingest(engine, BlobFolder(folder), [open_message(message, now=now, pictures=PictureRules())], now=now)


def rows(engine: Engine, name: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(schema.metadata.tables[name])).mappings()]


def test_an_older_report_does_not_replace_a_newer_one(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, report("front", release=2))
    take(engine, tmp_path, report("front", release=1, at=NOW - timedelta(minutes=1)))
    (row,) = rows(engine, "reported")
    assert (row["release"], row["step"]) == (2, "idle")


def test_a_report_in_another_doors_name_goes_to_quarantine(engine: Engine, tmp_path: Path) -> None:
    take(engine, tmp_path, report("front"), under="side")
    assert [row["kind"] for row in rows(engine, "quarantine")] == ["foreign"]
    assert rows(engine, "reported") == []


def test_a_release_goes_to_the_doors_and_a_bad_one_is_halted_and_reverted(engine: Engine, tmp_path: Path) -> None:
    make_keys(tmp_path / "k", NOW)
    steward = Steward(engine, Repository(tmp_path / "k"), Rules(600, 0), present_s=600)
    asked: list[int] = []

    def republish(_connection: Connection, number: int) -> None:
        asked.append(number)

    take(engine, tmp_path, report("front"))
    release(tmp_path / "k", 1, NOW)
    steward.turn(NOW)
    steward.turn(NOW)
    assert [(row["device"], row["release"], row["number"]) for row in rows(engine, "doors_desired")] == [
        ("front", 1, 1)
    ]
    take(engine, tmp_path, report("front", release=1, wanted=1, step=Step.CONFIRMED, at=NOW + timedelta(seconds=1)))
    for _ in range(3):
        steward.turn(NOW)
    with pytest.raises(ContractError, match="none to go back"):
        change_by_hand(engine, "revert", republish)
    assert [row["state"] for row in rows(engine, "rollouts")] == ["done"]
    release(tmp_path / "k", 2, NOW)
    steward.turn(NOW)
    assert change_by_hand(engine, "pause", republish) is State.PAUSED
    steward.turn(NOW)
    assert change_by_hand(engine, "resume", republish) is State.RUNNING
    steward.turn(NOW)
    bad = report("front", release=1, wanted=2, step=Step.ROLLED_BACK, reason="slow", at=NOW + timedelta(seconds=2))
    take(engine, tmp_path, bad)
    steward.turn(NOW)
    assert [row["state"] for row in rows(engine, "rollouts")] == ["replaced", "halted"]
    assert change_by_hand(engine, "revert", republish) is State.REVERTED
    assert asked == [1]


def test_the_broker_keeps_what_a_door_should_run(
    engine: Engine, database_url: str, tmp_path: Path, broker: Mosquitto, start_cloud: StartCloud
) -> None:
    take(engine, tmp_path, report("front"))
    child = start_cloud("consume", database=database_url)
    wait_for_log(child, "connected to the broker")
    with engine.begin() as connection:
        fleet.write_desired(connection, ["front"], 4, Group.CANARY, NOW)
    wait_until(
        lambda: rows(engine, "doors_desired")[0]["published_number"] == 1, within_s=15, what="the broker's confirmation"
    )
    heard: list[Desired] = []

    def hear(_client: Client, _data: Any, message: MQTTMessage) -> None:
        heard.append(Desired.decode(bytes(message.payload), limit=DESIRED_LIMIT))

    late = Client(CallbackAPIVersion.VERSION2, client_id="late-door", protocol=MQTTv5)
    late.on_message = hear
    late.connect("127.0.0.1", broker.port)
    late.loop_start()
    late.subscribe(every(Channel.DESIRED), 1)
    wait_until(lambda: bool(heard), within_s=10, what="the retained wish")
    late.disconnect()
    late.loop_stop()
    assert (heard[0].device, heard[0].number, heard[0].release) == ("front", 1, 4)
