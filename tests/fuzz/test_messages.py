"""Hostile messages: every bad one is in quarantine once, every sound one is stored, and the consumer goes on."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text

from bench.cloud.load import messages, publish
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Fault, Message, Parcel, open_message
from cloud.rules import PictureRules
from cloud.store import writing
from cloud.store.arrivals import BootTally
from cloud.store.blobs import BlobFolder
from cloud.store.schema import quarantine
from cloud.store.store import Store
from contract.events import PassEvent
from contract.topics import FROM_DEVICE, Channel, Topic
from rehearsal.processes import Mosquitto, wait_until
from tests.cloud.conftest import BOOT, Door, StartCloud, batch, pass_event, wait_for_log
from tests.fuzz.conftest import MORE
from tests.fuzz.flood import flooded, measure
from tests.fuzz.messages import AT_ONCE, Books
from tests.fuzz.mischief import Fate, Mischief, Sent, delivered

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
ROUNDS = max(1, int(20 * MORE))  # of 250 messages, on each database
FASTER_THAN_PROMISED = 20_000  # messages a second, or as many as the broker takes
BEYOND = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9998-12-31T23:59:59-12:00",
)


def opened(topic: str, payload: bytes) -> Parcel:
    return open_message(Message(topic, payload), now=NOW, pictures=PictureRules())


def heartbeat(**values: Any) -> bytes:
    return json.dumps({"device": "front", "state": "online", "boot": str(BOOT), **values}).encode()


@settings(max_examples=int(300 * MORE), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_opening_a_message_never_raises_and_says_what_is_wrong_without_repeating_it(rng: Random) -> None:
    sent = Mischief(rng, NOW).next()
    parcel = opened(sent.message.topic, sent.message.payload)
    if sent.fate is Fate.BAD:
        assert parcel.misfit
    if sent.fate is Fate.SOUND:
        assert parcel.misfit is None
    if parcel.misfit:
        assert len(parcel.misfit.reason) < 1_000


@settings(max_examples=int(500 * MORE), deadline=None)
@given(topic=st.text(max_size=60), channel=st.sampled_from(sorted(Channel)), payload=st.binary(max_size=300))
def test_bytes_of_any_kind_under_topics_of_any_kind_are_quarantined(
    topic: str, channel: Channel, payload: bytes
) -> None:
    assert opened(topic, payload).misfit
    assert opened(Topic("front", channel).text, payload).misfit


@settings(max_examples=int(300 * MORE), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["device", "events", "id", "at", "schema_version", "x"]), inner),
        max_leaves=20,
    ),
    st.sampled_from(FROM_DEVICE),
)  # fmt: skip
def test_json_of_any_shape_is_quarantined(value: Any, channel: Channel) -> None:
    assert opened(Topic("front", channel).text, json.dumps(value).encode()).misfit


@pytest.mark.parametrize("at", BEYOND)
@pytest.mark.parametrize("channel", FROM_DEVICE)
def test_a_time_at_the_end_of_the_calendar_is_quarantined(at: str, channel: Channel) -> None:
    """One of these once ended the consumer, and every consumer started after it."""
    sent = next(
        one for one in iter(Mischief(Random(1), NOW).next, None)
        if one.fate is Fate.SOUND and Topic.parse(one.message.topic).channel is channel and b'"at"' in one.message.payload
    )  # fmt: skip
    payload = re.sub(rb'"at": "[^"]+"', b'"at": "' + at.encode() + b'"', sent.message.payload)
    parcel = opened(sent.message.topic, payload)
    assert parcel.misfit
    assert parcel.misfit.kind is Fault.MALFORMED


@pytest.mark.parametrize("since", ["9998-12-31T23:00:00Z", "0002-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_hours_at_the_end_of_the_calendar_are_left_out(engine: Engine, tmp_path: Path, since: str) -> None:
    told = {"since": since, "open": [60] * 192, "seen": [60] * 192}
    parcel = opened(Topic("front", Channel.HEALTH).text, heartbeat(coverage=told))
    assert parcel.misfit is None
    ingest(engine, BlobFolder(tmp_path), [parcel], now=NOW)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM coverage")).scalar_one() == 0


def test_what_cannot_be_printed_is_kept_as_question_marks(engine: Engine, tmp_path: Path) -> None:
    parcel = opened(Topic("front", Channel.HEALTH).text, heartbeat(trouble=["a\0b\u202ec\nd"]))
    ingest(engine, BlobFolder(tmp_path), [parcel], now=NOW)
    assert [one.trouble for one in Store(engine).devices()] == [("a?b?c?d",)]


def test_claims_of_impossibly_many_passes_add_up_to_a_number(engine: Engine) -> None:
    """SQLite's sums end at 2^63: a thousand boots that claim 2^53 passes each once took every page of doors away."""
    with engine.begin() as connection:
        writing.touch_devices(connection, ["front"], NOW)
        writing.merge_boots(connection, [BootTally("front", UUID(int=one), 0, 2**53) for one in range(1_100)], NOW)
    assert [one.missing for one in Store(engine).devices()] == [1_100 * 10**9]


def test_a_pass_that_comes_again_behind_a_false_one_of_its_id_is_still_the_stored_one(
    engine: Engine, tmp_path: Path
) -> None:
    blobs, true = BlobFolder(tmp_path), pass_event(at=NOW)
    false = PassEvent.model_validate({**true.model_dump(), "label": "without_mask"})
    topic = Topic("front", Channel.EVENTS).text
    ingest(engine, blobs, [opened(topic, batch("front", true))], now=NOW)
    both = [opened(topic, batch("front", false)), opened(topic, batch("front", true))]
    answer = ingest(engine, blobs, both, now=NOW).acknowledgements["front"]
    assert answer.stored == (true.id,)
    assert {one.kind: one.deliveries for one in Store(engine).quarantine_counts()} == {"conflict": 1}


def test_a_value_that_the_driver_does_not_take_goes_alone_into_quarantine(engine: Engine, tmp_path: Path) -> None:
    """The contract lets none through; should one come all the same, its neighbours are stored."""
    topic, good = Topic("front", Channel.EVENTS).text, pass_event(at=NOW)
    broken = opened(topic, batch("front", pass_event(at=NOW)))
    broken = broken._replace(passes=(broken.passes[0]._replace(sequence=2**70, row=None),))
    answer = ingest(engine, BlobFolder(tmp_path), [broken, opened(topic, batch("front", good))], now=NOW)
    assert answer.acknowledgements["front"].stored == (good.id,)
    assert {one.kind: one.messages for one in Store(engine).quarantine_counts()} == {"unstorable": 1}


def test_every_bad_message_is_in_quarantine_once_and_every_sound_one_is_stored(engine: Engine, tmp_path: Path) -> None:
    mischief, books = Mischief(Random(11), NOW), Books(engine, tmp_path / "blobs", NOW)
    for _ in range(ROUNDS):
        books.take(mischief.next() for _ in range(AT_ONCE))
    account = books.close()
    assert account.exact, account
    assert min(account.sound, account.bad, account.either) > AT_ONCE
    assert len(Store(engine).devices()) >= 20
    assert Store(engine).quarantine_latest(20)


def test_the_real_consumer_survives_them_behind_a_real_broker(
    engine: Engine, database_url: str, broker: Mosquitto, door: Door, start_cloud: StartCloud, tmp_path: Path
) -> None:
    cloud = start_cloud("consume", database=database_url, **{"metering.enabled": False})  # every one is to be kept
    wait_for_log(cloud, "connected to the broker")
    now = datetime.now(UTC)
    mischief, books = Mischief(Random(12), now), Books(engine, tmp_path / "unused", now)
    for _ in range(int(1_500 * MORE)):
        sent = mischief.next()
        if delivered(sent.message.topic):
            door.send_raw(sent.message.topic, sent.message.payload)
            books.note(sent)
    last = pass_event(at=now - timedelta(minutes=1))
    door.send("front", Channel.EVENTS, batch("front", last))
    wait_until(lambda: last.id in door.stored, within_s=30, what="the acknowledgement of the sound pass after them")
    books.told(door.stored)
    books.note(_as_sent(batch("front", last), last.id))
    account = books.close()
    assert account.exact, account
    assert min(account.sound, account.bad) > 300 * min(1, MORE)
    assert "Traceback" not in cloud.log.read_text()
    cloud.stop()
    assert cloud.process.returncode == 0


def test_while_one_door_floods_the_others_are_answered_as_if_it_did_not(
    broker: Mosquitto, start_cloud: StartCloud, engine: Engine, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 69; the promise is 250 ms for 99 in 100, of which the record is `python -m tests.fuzz.flood`.

    A few dozen tries have no such share, so here it is nine in ten; and twice what this machine takes without a flood is
    allowed on top, since it may be busy.
    """
    cloud = start_cloud("consume", database=database_url)
    wait_for_log(cloud, "connected to the broker")
    found = measure(broker, database_url, 40, rate=FASTER_THAN_PROMISED)
    cloud.require_running()
    with capsys.disabled():
        print(f"\n{engine.dialect.name}: {found}")
    assert found.flooded_p90_ms <= 250 + 2 * found.alone_p99_ms
    assert found.bad_a_second > 100
    with engine.connect() as connection:
        kept = select(func.count()).select_from(quarantine).where(quarantine.c.kind == Fault.FLOODING)
        assert 1 <= connection.execute(kept).scalar_one() <= 8  # a line an hour for each channel


def test_a_back_log_of_many_doors_and_of_one_is_stored_whole_while_another_floods(
    broker: Mosquitto, start_cloud: StartCloud, engine: Engine, database_url: str
) -> None:
    """Nobody who is well-formed loses anything, and nobody sends anything twice here."""
    made = messages(6_000, each=10, doors=20, rng=Random(5), now=datetime.now(UTC))
    _leave_at(broker, start_cloud, database_url, made)
    with flooded(broker.port):
        again = start_cloud("consume", database=database_url)
        wait_until(lambda: _stored(engine) == 6_000, within_s=60, what="every pass of the back-log")
        again.require_running()


def test_a_back_log_is_stored_whole_though_the_broker_sends_more_of_it_than_it_was_asked_for(
    broker: Mosquitto, start_cloud: StartCloud, engine: Engine, database_url: str
) -> None:
    """mosquitto 2.0.11 does: then the doors' shares of the window were soon full, and their passes turned away."""
    made = messages(25_000, each=1, doors=10, rng=Random(6), now=datetime.now(UTC))
    _leave_at(broker, start_cloud, database_url, made)
    again = start_cloud("consume", database=database_url, batch_events=500, receive_maximum=1_000)
    wait_until(lambda: _stored(engine) == 25_000, within_s=60, what="every pass of the back-log")
    again.require_running()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM quarantine")).scalar_one() == 0


def _leave_at(broker: Mosquitto, start_cloud: StartCloud, database_url: str, made: Sequence[tuple[str, bytes]]) -> None:
    """For a consumer that was there, and is away."""
    cloud = start_cloud("consume", database=database_url)
    wait_for_log(cloud, "connected to the broker")
    cloud.stop()
    publish(broker.port, made)


def _stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM events")).scalar_one())


def _as_sent(payload: bytes, *ids: UUID) -> Sent:
    return Sent(Message(Topic("front", Channel.EVENTS).text, payload), Fate.SOUND, ids)
