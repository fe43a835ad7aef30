"""A batch of messages becomes rows exactly once, on both databases."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from cloud.ingest.ingest import Answer, Outcome, ingest
from cloud.ingest.parcels import Message, Parcel, open_message
from cloud.rules import PictureRules
from cloud.store import schema
from cloud.store.blobs import BlobFolder
from cloud.store.store import Store
from contract.crops import Crop, CropHeader
from contract.events import EVENTS_LIMIT, Acknowledgement, PassEvent, Refusal
from contract.health import Heartbeat
from contract.labels import Label
from contract.topics import Channel, Topic
from tests.cloud.conftest import BOOT, batch, pass_event

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def opened(message: Message, now: datetime = NOW) -> Parcel:
    return open_message(message, now=now, pictures=PictureRules())


def events_message(device: str, *events: PassEvent) -> Message:
    return Message(Topic(device, Channel.EVENTS).text, batch(device, *events))


class Intake:
    """The way in, with its blobs beside it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.blobs, self.store = engine, BlobFolder(folder), Store(engine)

    def take(self, *messages: Message, now: datetime = NOW) -> Outcome:
        return ingest(self.engine, self.blobs, [opened(one, now) for one in messages], now=now)

    def rows(self, table: str) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(schema.metadata.tables[table])).scalar_one()

    def hour_sum(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.coalesce(func.sum(schema.hours.c.passes), 0))).scalar_one())

    def kinds(self) -> dict[str, int]:
        return {one.kind: one.things for one in self.store.quarantine_counts()}


@pytest.fixture
def intake(engine: Engine, tmp_path: Path) -> Intake:
    return Intake(engine, tmp_path / "blobs")


def jpeg(side: int = 64, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def crop(device: str, picture: bytes, **changes: object) -> Crop:
    values: dict[str, object] = {
        "id": uuid4(), "device": device, "at": at(-1), "role": "priority", "window": uuid4(), "window_passes": 12,
        "weight": 3.5, "scores": (0.4, 0.5, 0.1), "box": (0.2, 0.2, 0.8, 0.8), "frame_size": (640, 480),
        "origin": (10, 20), "scale": 1.0, "model_digest": "a" * 64, "jpeg_digest": sha256(picture).hexdigest(),
    }  # fmt: skip
    return Crop(CropHeader.model_validate({**values, **changes}), picture)


def crops_message(device: str, one: Crop) -> Message:
    return Message(Topic(device, Channel.CROPS).text, one.encode())


def health_message(device: str, **values: object) -> Message:
    base: dict[str, object] = {"device": device, "state": "online", "boot": BOOT, "at": NOW}
    heartbeat = Heartbeat.model_validate({**base, **values})
    return Message(Topic(device, Channel.HEALTH).text, heartbeat.encode())


def test_passes_become_rows_counts_and_an_acknowledgement(intake: Intake) -> None:
    first, second = pass_event(0, at=at(-1)), pass_event(1, at=at(-45), label="without_mask", direction="out")
    outcome = intake.take(events_message("front", first, second))
    assert outcome.acknowledgements["front"].stored == (first.id, second.id)
    counts = intake.store.hour_counts(at(-600), at(600))
    assert [(one.hour.hour, one.direction, one.label, one.passes) for one in counts] == [
        (11, "out", "without_mask", 1),
        (12, "in", "with_mask", 1),
    ]


def test_the_same_message_delivered_twice_is_counted_once(intake: Intake) -> None:
    message = events_message("front", pass_event(0, at=at(-1)), pass_event(1, at=at(-1)))
    first = intake.take(message)
    second = intake.take(message, now=at(3))
    assert first.acknowledgements == second.acknowledgements
    assert (intake.rows("events"), intake.hour_sum(), intake.rows("quarantine")) == (2, 2, 0)
    assert intake.store.devices()[0].missing == 0


def test_the_same_message_twice_in_one_batch_is_counted_once(intake: Intake) -> None:
    message = events_message("front", pass_event(0, at=at(-1)))
    outcome = intake.take(message, message)
    assert len(outcome.acknowledgements["front"].stored) == 1
    assert (intake.rows("events"), intake.hour_sum(), intake.rows("quarantine")) == (1, 1, 0)


def test_only_new_rows_reach_the_hour_counts_when_a_batch_overlaps(intake: Intake) -> None:
    events = [pass_event(number, at=at(-1)) for number in range(6)]
    intake.take(events_message("front", *events[:4]))
    intake.take(events_message("front", *events[2:]))
    assert (intake.rows("events"), intake.hour_sum()) == (6, 6)


def test_a_large_batch_goes_in_whole(intake: Intake) -> None:
    messages = [
        events_message("front", *(pass_event(base + number, at=at(-1)) for number in range(100)))
        for base in range(0, 5_000, 100)
    ]
    outcome = intake.take(*messages)
    assert len(outcome.acknowledgements["front"].stored) == 5_000
    assert (intake.rows("events"), intake.hour_sum()) == (5_000, 5_000)


def test_the_first_body_of_an_id_is_kept_and_the_second_is_counted_as_a_conflict(intake: Intake) -> None:
    event = pass_event(0, at=at(-1))
    liar = event.model_copy(update={"label": Label.WITHOUT_MASK})
    intake.take(events_message("front", event))
    outcome = intake.take(events_message("front", liar, pass_event(1, at=at(-1))))
    acknowledgement = outcome.acknowledgements["front"]
    assert [one.id for one in acknowledgement.refused] == [event.id]
    assert len(acknowledgement.stored) == 1
    assert intake.kinds() == {"conflict": 1}
    assert intake.hour_sum() == 2
    assert {one.label for one in intake.store.hour_counts(at(-600), at(600))} == {"with_mask"}


def test_two_bodies_of_one_id_in_one_batch_are_a_conflict(intake: Intake) -> None:
    event = pass_event(0, at=at(-1))
    liar = event.model_copy(update={"confidence": 0.1})
    outcome = intake.take(events_message("front", event), events_message("front", liar))
    assert outcome.acknowledgements["front"].stored == (event.id,)
    assert [one.id for one in outcome.acknowledgements["front"].refused] == [event.id]
    assert intake.kinds() == {"conflict": 1}


def test_an_id_of_another_device_is_refused(intake: Intake) -> None:
    event = pass_event(0, at=at(-1))
    intake.take(events_message("front", event))
    outcome = intake.take(events_message("back", event))
    assert [one.id for one in outcome.acknowledgements["back"].refused] == [event.id]
    assert intake.hour_sum() == 1


@pytest.mark.parametrize(
    ("claimed", "kept"),
    [
        (NOW + timedelta(days=365), False),
        (NOW + timedelta(minutes=5, seconds=1), False),
        (NOW + timedelta(minutes=5), True),
        (NOW - timedelta(days=30), True),
        (NOW - timedelta(days=30, seconds=1), False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
    ],
)
def test_a_time_that_cannot_be_true_is_replaced_by_ours_and_flagged(
    intake: Intake, claimed: datetime, kept: bool
) -> None:
    intake.take(events_message("front", pass_event(0, at=claimed)))
    with intake.engine.connect() as connection:
        row = connection.execute(select(schema.events.c.at, schema.events.c.claimed_at)).one()
    assert tuple(row) == ((claimed, None) if kept else (NOW, claimed))


def test_a_replaced_time_is_no_conflict_when_the_message_comes_again(intake: Intake) -> None:
    message = events_message("front", pass_event(0, at=datetime(1970, 1, 1, tzinfo=UTC)))
    intake.take(message)
    intake.take(message, now=at(2))
    assert (intake.rows("events"), intake.rows("quarantine")) == (1, 0)


def test_one_bad_event_does_not_take_the_others_with_it(intake: Intake) -> None:
    good, bad = pass_event(0, at=at(-1)), pass_event(1, at=at(-1))
    body = json.loads(batch("front", good, bad))
    body["events"][1]["label"] = "<script>"
    body["events"].append({"no": "id"})
    message = Message(Topic("front", Channel.EVENTS).text, json.dumps(body).encode())
    acknowledgement = intake.take(message).acknowledgements["front"]
    assert acknowledgement.stored == (good.id,)
    assert [one.id for one in acknowledgement.refused] == [bad.id]
    assert intake.kinds() == {"malformed": 2}
    assert intake.hour_sum() == 1


GOOD = pass_event(0, at=at(-1))
EVENTS = Topic("front", Channel.EVENTS).text
MISFITS = {
    "empty": (Message(EVENTS, b""), "malformed"),
    "no JSON": (Message(EVENTS, b"\xff\xfe\x00"), "malformed"),
    "a JPEG": (Message(EVENTS, jpeg()), "malformed"),
    "NaN": (Message(EVENTS, batch("front", GOOD).replace(b"0.9", b"NaN")), "malformed"),
    "deep": (Message(EVENTS, b"[" * 60_000), "malformed"),
    "unknown version": (Message(EVENTS, batch("front", GOOD).replace(b'"schema_version":1', b'"schema_version":2')), "malformed"),
    "oversized": (Message(EVENTS, b" " * (EVENTS_LIMIT + 1)), "oversized"),
    "another device": (Message(EVENTS, batch("back", GOOD)), "foreign"),
    "another device's crop": (Message(Topic("front", Channel.CROPS).text, crop("back", jpeg()).encode()), "foreign"),
    "another device's health": (Message(Topic("front", Channel.HEALTH).text, health_message("back").payload), "foreign"),
    "wrong shard": (Message("mf/v1/zz/front/events", batch("front", GOOD)), "topic"),
    "bad name": (Message("mf/v1/00/..%2fx/events", b"{}"), "topic"),
    "other grammar": (Message("elsewhere", b"{}"), "topic"),
    "a crop without a picture": (Message(Topic("front", Channel.CROPS).text, b"{}"), "malformed"),
    "odd health": (Message(Topic("front", Channel.HEALTH).text, b'{"state": 1}'), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_what_breaks_the_contract_is_quarantined_and_takes_nothing_with_it(intake: Intake, name: str) -> None:
    message, kind = MISFITS[name]
    outcome = intake.take(message, events_message("side", pass_event(0, at=at(-1))))
    assert intake.kinds() == {kind: 1}
    assert len(outcome.acknowledgements["side"].stored) == 1
    entry = intake.store.quarantine_latest(5)[0]
    assert (entry.size, entry.topic) == (len(message.payload), message.topic)
    with intake.engine.connect() as connection:
        assert connection.execute(select(schema.quarantine.c.head)).scalar_one() == message.payload[:4000]


def test_a_resent_misfit_is_one_row_that_counts_its_deliveries(intake: Intake) -> None:
    message = Message(EVENTS, b"nonsense")
    for minute in range(3):
        intake.take(message, now=at(minute))
    (entry,) = intake.store.quarantine_latest(5)
    assert (entry.deliveries, entry.received_at) == (3, NOW)


def test_a_crops_picture_is_kept_under_its_digest_and_its_row_and_answer_follow(intake: Intake) -> None:
    picture = jpeg()
    shot = crop("front", picture)
    for _ in range(2):
        outcome = intake.take(crops_message("front", shot))
        assert outcome.acknowledgements["front"].stored == (shot.header.id,)
    assert intake.blobs.get(sha256(picture).hexdigest()) == picture
    with intake.engine.connect() as connection:
        row = connection.execute(select(schema.crops)).mappings().one()
    assert (row["width"], row["height"], row["role"], row["header"]["weight"]) == (64, 64, "priority", 3.5)


def test_a_crop_that_is_no_plain_jpeg_is_refused_by_name(intake: Intake) -> None:
    shot = crop("front", b"GIF89a")
    outcome = intake.take(crops_message("front", shot))
    assert [one.id for one in outcome.acknowledgements["front"].refused] == [shot.header.id]
    assert intake.kinds() == {"picture": 1}
    assert intake.rows("crops") == 0


def test_a_crop_whose_bytes_were_changed_is_refused_by_name(intake: Intake) -> None:
    shot = crop("front", jpeg(), jpeg_digest="0" * 64)
    outcome = intake.take(crops_message("front", shot))
    assert [one.id for one in outcome.acknowledgements["front"].refused] == [shot.header.id]


def test_a_crop_id_with_another_picture_is_a_conflict(intake: Intake) -> None:
    first = crop("front", jpeg())
    other = crop("front", jpeg(seed=1), id=first.header.id)
    intake.take(crops_message("front", first))
    outcome = intake.take(crops_message("front", other))
    assert [one.id for one in outcome.acknowledgements["front"].refused] == [first.header.id]
    assert intake.kinds() == {"conflict": 1}


def test_a_picture_that_cannot_be_kept_is_postponed_and_passes_are_not(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    intake = Intake(engine, tmp_path / "blobs")
    shot = crop("front", jpeg())
    outcome = intake.take(crops_message("front", shot), events_message("front", GOOD))
    assert [one.shot.crop.header.id for one in outcome.postponed if one.shot] == [shot.header.id]
    assert outcome.acknowledgements["front"].stored == (GOOD.id,)
    assert intake.rows("crops") == 0


def test_a_heartbeat_becomes_the_doors_state(intake: Intake) -> None:
    intake.take(
        health_message(
            "front", release=4, fps=13.5, waiting=7, accelerator="edgetpu", trouble=("hot \u0000 \U0001f525",)
        )
    )
    (device,) = intake.store.devices()
    assert (device.state, device.release, device.fps, device.waiting) == ("online", 4, 13.5, 7)
    assert device.accelerator == "edgetpu"
    assert device.trouble == ("hot ? \U0001f525",)


def test_a_heartbeat_that_tells_of_machine_coverage_and_drift_is_taken(intake: Intake) -> None:
    golden = Path(__file__).resolve().parents[1] / "golden" / "v1" / "health-warm.json"
    intake.take(Message(Topic("door-1", Channel.HEALTH).text, golden.read_bytes()))
    (device,) = intake.store.devices()
    assert (device.state, device.release, device.fps, device.waiting) == ("online", 3, 8.0, 2)
    assert device.board is not None
    assert (device.board["temperature_c"], device.board["throttled"], device.drift) == (76.4, True, 0.31)


def test_the_last_will_says_offline_and_nothing_else(intake: Intake) -> None:
    intake.take(health_message("front", release=4, fps=13.5))
    intake.take(health_message("front", state="offline", at=None), now=at(9))
    (device,) = intake.store.devices()
    assert (device.state, device.release, device.fps, device.last_seen) == ("offline", 4, 13.5, NOW)


def test_the_last_will_of_an_earlier_boot_is_ignored(intake: Intake) -> None:
    intake.take(health_message("front", boot=uuid4()))
    intake.take(health_message("front", state="offline", at=None))
    assert intake.store.devices()[0].state == "online"


def test_what_a_door_counted_and_we_do_not_have_is_missing(intake: Intake) -> None:
    intake.take(events_message("front", pass_event(0, at=at(-1)), pass_event(4, at=at(-1))))
    assert intake.store.devices()[0].missing == 3
    intake.take(health_message("front", passes=9))
    assert intake.store.devices()[0].missing == 7
    intake.take(events_message("front", *(pass_event(number, at=at(-1)) for number in (1, 2, 3, 5, 6, 7, 8))))
    assert intake.store.devices()[0].missing == 0


def test_a_new_boot_counts_from_zero_again(intake: Intake) -> None:
    intake.take(events_message("front", pass_event(0, at=at(-1)), pass_event(1, at=at(-1))))
    intake.take(events_message("front", pass_event(0, at=at(-1), boot=UUID(int=9))))
    assert intake.store.devices()[0].missing == 0


def test_every_ingested_batch_moves_the_change_number(intake: Intake) -> None:
    before = intake.store.change_number()
    intake.take(events_message("front", GOOD))
    assert intake.store.change_number() == before + 1


def test_a_value_that_the_database_refuses_goes_to_quarantine_alone(intake: Intake) -> None:
    if intake.engine.dialect.name == "sqlite":
        with intake.engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER no_seven BEFORE INSERT ON events WHEN NEW.sequence = 7 "
                "BEGIN SELECT RAISE(ABORT, 'no sevens'); END"
            )
    else:
        with intake.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE events ADD CONSTRAINT no_seven CHECK (sequence <> 7)")
    messages = [events_message("front", pass_event(number, at=at(-1))) for number in range(10)]
    outcome = intake.take(*messages)
    assert len(outcome.acknowledgements["front"].stored) == 9
    assert len(outcome.acknowledgements["front"].refused) == 1
    assert intake.kinds() == {"unstorable": 1}
    assert intake.hour_sum() == 9


def test_nothing_is_written_by_halves_when_the_database_fails(intake: Intake) -> None:
    with intake.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hours RENAME TO elsewhere")
    with pytest.raises(DBAPIError, match="hours"):
        intake.take(events_message("front", GOOD))
    assert (intake.rows("events"), intake.rows("devices")) == (0, 0)


def test_passes_of_several_lines_are_kept_apart_and_added_up_where_they_are_shown(intake: Intake) -> None:
    events = [pass_event(number, line=line) for number, line in enumerate(("left", "right", None))]
    outcome = intake.take(events_message("door-1", *events))
    assert len(outcome.acknowledgements["door-1"].stored) == 3
    assert (intake.rows("events"), intake.rows("hours"), intake.hour_sum()) == (3, 3, 3)
    assert [one.passes for one in intake.store.hour_counts(at(-600), at(600))] == [3]
    with intake.engine.connect() as connection:
        assert set(connection.execute(select(schema.events.c.line)).scalars()) == {"left", "right", ""}
    intake.take(events_message("door-1", *events))
    assert (intake.rows("events"), intake.rows("quarantine")) == (3, 0)


def test_a_large_answer_goes_out_in_pieces_that_every_broker_takes() -> None:
    ids = [UUID(int=number) for number in range(5_000)]
    refusals = {one: Refusal(id=one, reason="\N{FACE WITH MEDICAL MASK}" * 300) for one in ids[:1_000]}
    answer = Answer([str(one) for one in ids], refusals)
    said = list(answer.payloads())
    assert max(map(len, said)) < 128_000
    heard = [Acknowledgement.decode(one, limit=128_000) for one in said]
    assert [known for one in heard for known in one.stored] == ids
    assert [refusal.id for one in heard for refusal in one.refused] == ids[:1_000]
    assert list(Answer().payloads()) == []
