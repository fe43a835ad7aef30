"""The real consumer process at a real broker: killed, cut off, and fed rubbish, it loses nothing and doubles nothing."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import cv2
import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, func, select

from cloud.ingest.consumer import Consumer, Pace
from cloud.ingest.gatekeeper import Gatekeeper, Turned
from cloud.ingest.ingest import Outcome
from cloud.ingest.parcels import Parcel, open_message
from cloud.rules import MeterRules, PictureRules
from cloud.store import schema
from cloud.store.blobs import BlobFolder
from cloud.store.store import Store
from contract.crops import Crop, CropHeader, Role
from contract.events import EVENTS_LIMIT
from contract.topics import Channel
from rehearsal.postgres import Postgres
from rehearsal.processes import Mosquitto, free_port, wait_until
from tests.cloud.conftest import Door, StartCloud, batch, page_address, pass_event, wait_for_log


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(schema.events)).scalar_one()


def hour_sum(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.coalesce(func.sum(schema.hours.c.passes), 0))).scalar_one())


def send_batches(door: Door, messages: int, events: int) -> set[UUID]:
    sent: set[UUID] = set()
    for number in range(messages):
        passes = [pass_event(number * events + index) for index in range(events)]
        sent |= {one.id for one in passes}
        door.send("front", Channel.EVENTS, batch("front", *passes))
    return sent


Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def outage(engine: Engine, request: pytest.FixtureRequest) -> Outage:
    """A context in which nobody can write to the database."""

    @contextmanager
    def locked() -> Iterator[None]:
        blocker = sqlite3.connect(engine.url.database or "", isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        yield
        blocker.close()

    @contextmanager
    def stopped() -> Iterator[None]:
        cluster: Postgres = request.getfixturevalue("postgres")
        cluster.stop()
        yield
        cluster.start()

    return locked if engine.dialect.name == "sqlite" else stopped


def test_a_pass_is_stored_counted_and_acknowledged(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud
) -> None:
    cloud = start_cloud("consume", database=database_url)
    wait_for_log(cloud, "connected to the broker")
    sent = send_batches(door, 3, 4)
    wait_until(lambda: set(door.stored) == sent, within_s=10, what="the acknowledgement of twelve passes")
    assert (stored(engine), hour_sum(engine)) == (12, 12)
    cloud.stop()
    assert cloud.process.returncode == 0


def test_a_consumer_killed_again_and_again_loses_nothing_and_doubles_nothing(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud
) -> None:
    """Fault 36."""
    cloud = start_cloud("consume", database=database_url, batch_wait_ms=1)
    wait_for_log(cloud, "connected to the broker")
    sent: set[UUID] = set()
    for _ in range(3):
        before = stored(engine)
        sent |= send_batches(door, 60, 5)
        wait_until(lambda floor=before: stored(engine) > floor, within_s=20, what="the first commits")  # type: ignore[misc]
        cloud.kill()
        cloud = start_cloud("consume", database=database_url, batch_wait_ms=1)
    wait_until(lambda: set(door.stored) == sent, within_s=30, what="the acknowledgement of every pass")
    assert (stored(engine), hour_sum(engine)) == (len(sent), len(sent))
    assert Store(engine).quarantine_counts() == ()


def test_while_the_database_is_down_nothing_is_acknowledged_and_later_everything_arrives(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud, outage: Outage
) -> None:
    """Fault 37."""
    cloud = start_cloud("consume", database=database_url)
    wait_for_log(cloud, "connected to the broker")
    with outage():
        sent = send_batches(door, 5, 4)
        wait_for_log(cloud, "nothing is acknowledged while the database is away")
        assert door.stored == []
    wait_until(lambda: set(door.stored) == sent, within_s=30, what="the acknowledgements after the outage")
    assert (stored(engine), hour_sum(engine)) == (20, 20)


def test_a_consumer_killed_before_its_commit_leaves_the_messages_at_the_broker(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud, outage: Outage
) -> None:
    """Fault 36, with the message in hand and nothing written."""
    cloud = start_cloud("consume", database=database_url)
    wait_for_log(cloud, "connected to the broker")
    with outage():
        sent = send_batches(door, 2, 3)
        wait_for_log(cloud, "nothing is acknowledged while the database is away")
        cloud.kill()
    start_cloud("consume", database=database_url)
    wait_until(lambda: set(door.stored) == sent, within_s=30, what="the acknowledgements of the second consumer")
    assert (stored(engine), hour_sum(engine)) == (6, 6)


def test_rubbish_is_quarantined_acknowledged_to_the_broker_and_never_comes_again(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud
) -> None:
    cloud = start_cloud("consume", database=database_url)
    wait_for_log(cloud, "connected to the broker")
    door.send("front", Channel.EVENTS, b"nonsense")
    door.send("front", Channel.EVENTS, b"x" * (EVENTS_LIMIT + 1))
    door.send("front", Channel.EVENTS, batch("back", pass_event()))
    door.send_raw("mf/v1/zz/front/events", batch("front", pass_event()))
    good = pass_event()
    door.send("front", Channel.EVENTS, batch("front", good))
    wait_until(lambda: door.stored == [good.id], within_s=10, what="the acknowledgement of the sound pass")
    cloud.stop()
    again = start_cloud("consume", database=database_url)
    wait_for_log(again, "connected to the broker")
    last = pass_event(1)
    door.send("front", Channel.EVENTS, batch("front", last))
    wait_until(lambda: door.stored == [good.id, last.id], within_s=10, what="the acknowledgement of the last pass")
    counts = {one.kind: one.deliveries for one in Store(engine).quarantine_counts()}
    assert counts == {"malformed": 1, "oversized": 1, "foreign": 1, "topic": 1}
    assert "nonsense" not in cloud.log.read_text()


def test_messages_published_while_the_consumer_is_away_wait_for_it(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud
) -> None:
    cloud = start_cloud("consume", database=database_url)
    wait_for_log(cloud, "connected to the broker")
    cloud.stop()
    sent = send_batches(door, 30, 2)
    assert stored(engine) == 0
    start_cloud("consume", database=database_url)
    wait_until(lambda: set(door.stored) == sent, within_s=20, what="the acknowledgements of what had waited")
    assert hour_sum(engine) == 60


@pytest.fixture
def page(tmp_path: Path) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as client:
        yield client


def test_without_a_broker_the_page_says_so_and_all_is_well_when_it_comes(
    start_cloud: StartCloud, tmp_path: Path, page: httpx.Client
) -> None:
    port = free_port()
    cloud = start_cloud("all", broker=f"mqtt://127.0.0.1:{port}", **{"accounts.public_counts": "true"})
    log = wait_for_log(cloud, "no broker at")
    assert log.count("no broker at") == 1
    address = page_address(cloud)

    def broker_is(state: str) -> bool:
        return bool(page.get(f"{address}healthz").json()["broker"] == state)

    wait_until(lambda: broker_is("down"), within_s=10, what="the broker shown as down")
    assert "The broker cannot be reached" in page.get(address).text
    late = Mosquitto(tmp_path / "late", port=port).start()
    try:
        wait_until(lambda: broker_is("up"), within_s=40, what="the broker shown as up")
        door = Door(late)
        event = pass_event()
        door.send("front", Channel.EVENTS, batch("front", event))
        wait_until(lambda: door.stored == [event.id], within_s=10, what="the acknowledgement")
        door.close()
        late.kill()
        wait_until(lambda: broker_is("down"), within_s=20, what="the broker shown as down again")
    finally:
        late.stop()


def test_a_broker_that_was_killed_is_found_again(broker: Mosquitto, start_cloud: StartCloud) -> None:
    cloud = start_cloud("consume")
    wait_for_log(cloud, "connected to the broker")
    broker.kill()
    wait_for_log(cloud, "lost the broker")
    broker.start()
    wait_until(
        lambda: cloud.log.read_text().count("connected to the broker") == 2, within_s=40, what="the second connection"
    )
    door = Door(broker)
    event = pass_event()
    door.send("front", Channel.EVENTS, batch("front", event))
    wait_until(lambda: door.stored == [event.id], within_s=10, what="the acknowledgement after the restart")
    door.close()


def test_it_stops_at_once_while_the_broker_is_away(start_cloud: StartCloud) -> None:
    cloud = start_cloud("consume", broker=f"mqtt://127.0.0.1:{free_port()}")
    wait_for_log(cloud, "no broker at")
    begun = time.monotonic()
    cloud.stop(within_s=8)
    assert cloud.process.returncode == 0
    assert time.monotonic() - begun < 5


class HangingSink:
    """A database that never answers: what a wedged driver looks like from outside."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def write(self, parcels: Sequence[Parcel], *, now: datetime) -> Outcome:
        raise AssertionError("nothing is written in this test")

    def sign_of_life(self, *, connected: bool, since: datetime, now: datetime) -> None:
        self.released.wait(30)

    def turned_away(self, turned: Sequence[Turned], *, now: datetime) -> None:
        raise AssertionError("nobody is turned away in this test")


def test_the_watchdog_notices_a_consumer_that_no_longer_moves(broker: Mosquitto) -> None:
    sink, complaints = HangingSink(), list[str]()
    consumer = Consumer(
        address=("127.0.0.1", broker.port),
        client_id="hanging",
        pace=Pace(receive_maximum=10, batch_events=100, batch_wait_s=0.01, stall_after_s=0.5, session_expiry_s=60),
        sink=sink,
        gate=Gatekeeper(MeterRules(), sink, window=10),
        open_message=lambda message, now: open_message(message, now=now, pictures=PictureRules()),
        on_stall=complaints.append,
    )
    thread = threading.Thread(target=consumer.run)
    thread.start()
    wait_until(lambda: bool(complaints), within_s=10, what="the watchdog's complaint")
    assert "no progress" in complaints[0]
    consumer.stop()
    sink.released.set()
    thread.join(10)
    assert not thread.is_alive()


def a_crop(shade: int = 0) -> Crop:
    picture = cv2.imencode(".jpg", np.full((64, 64, 3), shade, np.uint8))[1].tobytes()
    header = CropHeader(
        id=uuid4(), device="front", at=datetime.now(UTC), role=Role.CONTROL, window=uuid4(), window_passes=3, weight=3.0,
        scores=(0.4, 0.5, 0.1), box=(0.1, 0.1, 0.9, 0.9), frame_size=(640, 480), origin=(0, 0), scale=1.0,
        model_digest="a" * 64, jpeg_digest=sha256(picture).hexdigest(),
    )  # fmt: skip
    return Crop(header, picture)


def test_more_crops_than_the_window_holds_do_not_keep_passes_out_and_their_doors_send_them_again(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud, tmp_path: Path
) -> None:
    crops, blobs = [a_crop(shade) for shade in range(0, 240, 12)], tmp_path / "blobs"
    cloud = start_cloud("consume", database=database_url, blobs=blobs, receive_maximum=8)
    wait_for_log(cloud, "connected to the broker")
    blobs.rmdir()
    blobs.write_text("no room for pictures here")
    for one in crops:
        door.send("front", Channel.CROPS, one.encode())
    sent = send_batches(door, 2, 3)
    wait_until(lambda: set(door.stored) == sent, within_s=10, what="the passes' acknowledgement")
    blobs.unlink()
    for one in crops:
        door.send("front", Channel.CROPS, one.encode())
    wanted = sent | {one.header.id for one in crops}
    wait_until(lambda: set(door.stored) == wanted, within_s=20, what="the crops' acknowledgement")
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(schema.crops)).scalar_one() == len(crops)


def test_crops_wait_for_a_full_disk_while_passes_go_on(
    engine: Engine, database_url: str, door: Door, start_cloud: StartCloud, tmp_path: Path
) -> None:
    one = a_crop()
    header, picture = one.header, one.jpeg
    blobs = tmp_path / "blobs"
    cloud = start_cloud("consume", database=database_url, blobs=blobs)
    wait_for_log(cloud, "connected to the broker")
    blobs.rmdir()
    blobs.write_text("no room for pictures here")
    door.send("front", Channel.CROPS, Crop(header, picture).encode())
    wait_for_log(cloud, "cannot keep 1 pictures")
    sent = send_batches(door, 1, 3)
    wait_until(lambda: set(door.stored) == sent, within_s=10, what="the passes' acknowledgement")
    blobs.unlink()
    wait_until(lambda: header.id in door.stored, within_s=10, what="the crop's acknowledgement")
    assert BlobFolder(blobs).get(header.jpeg_digest) == picture
