"""Labels: one labeller per crop, every answer once, undo without end, on both databases."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, select

from cloud.learning.labelling import Given, Labelling, TakenError, UnknownCropError
from cloud.learning.snapshots import Snapshots, use_of
from cloud.store.blobs import BlobFolder
from cloud.store.schema import labels
from contract.crops import CropHeader, Role
from contract.dataset import SNAPSHOT_LIMIT, Answer, Snapshot, Use
from contract.errors import ContractError
from tests.cloud.crop_kit import store_rows

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ADA, BOB = "Ada", "Bob"


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def crop(number: int, role: Role = Role.PRIORITY, device: str = "front") -> CropHeader:
    return CropHeader(
        id=UUID(int=number), device=device, at=NOW, role=role, window=UUID(int=1), window_passes=9, weight=2.0,
        scores=(0.6, 0.3, 0.1), box=(0.3, 0.3, 0.7, 0.7), frame_size=(640, 480), origin=(10, 20), scale=1.0,
        model_digest="a" * 64, jpeg_digest=sha256(bytes([number])).hexdigest(),
    )  # fmt: skip


@pytest.fixture
def desk(engine: Engine) -> Labelling:
    sent = [(crop(number, Role.CONTROL if number % 2 else Role.PRIORITY), bytes([number])) for number in range(1, 7)]
    store_rows(engine, sent, NOW)
    return Labelling(engine, random=lambda: Random(1))


def given(number: int, answer: Answer = Answer.WITH_MASK, labeller: str = ADA, event: UUID | None = None) -> Given:
    return Given(event or uuid4(), UUID(int=number), labeller, answer, took_ms=900)


def test_two_labellers_never_hold_the_same_crop(desk: Labelling) -> None:
    first = {one.id for one in desk.take(ADA, 4, NOW)}
    second = {one.id for one in desk.take(BOB, 4, NOW)}
    assert (len(first), len(second), first & second) == (4, 2, set())
    assert {one.id for one in desk.take(ADA, 4, later(1))} == first  # asking again gives the same ones
    assert len(desk.take(BOB, 9, later(601))) == 6  # what nobody answered is free again


def test_an_answer_is_kept_once_and_its_crop_does_not_come_again(desk: Labelling) -> None:
    held = desk.take(ADA, 6, NOW)[0].id.int
    answer = given(held)
    assert desk.give(answer, later(1))
    assert not desk.give(answer, later(2))  # its first reply may have been lost
    assert held not in {one.id.int for one in desk.take(ADA, 6, later(3))}
    progress = desk.progress(later(4))
    assert (progress.labelled, progress.waiting, progress.last_hour) == (1, 5, 1)
    assert (progress.by_answer[Answer.WITH_MASK], progress.by_labeller) == (1, {ADA: 1})


def test_a_crop_that_another_holds_or_has_labelled_is_refused(desk: Labelling) -> None:
    held = desk.take(BOB, 1, NOW)[0].id.int
    with pytest.raises(TakenError, match="has this crop now"):
        desk.give(given(held), later(1))
    assert desk.give(given(held, labeller=BOB), later(2))
    with pytest.raises(TakenError, match="a label already"):
        desk.give(given(held), later(3))
    assert desk.progress(later(4)).labelled == 1


def test_an_unknown_crop_is_refused(desk: Labelling) -> None:
    with pytest.raises(UnknownCropError, match="no crop"):
        desk.give(given(99), NOW)


def test_undo_goes_back_as_far_as_there_are_answers_of_mine(desk: Labelling, engine: Engine) -> None:
    order = [one.id for one in desk.take(ADA, 3, NOW)]
    for number, known in enumerate(order):
        desk.give(given(known.int), later(number))
    desk.give(given(desk.take(BOB, 1, NOW)[0].id.int, labeller=BOB), later(9))
    back = [desk.undo(uuid4(), ADA, later(10 + number)).id for number in range(3)]
    assert back == order[::-1]
    with pytest.raises(UnknownCropError, match="of yours"):
        desk.undo(uuid4(), ADA, later(20))
    assert desk.progress(later(21)).labelled == 1
    assert desk.give(given(order[0].int, Answer.WITHOUT_MASK), later(22))
    with engine.connect() as connection:
        assert len(connection.execute(select(labels.c.id)).all()) == 8  # nothing was ever deleted


def test_undo_sent_again_takes_nothing_more_back(desk: Labelling) -> None:
    first, second = (one.id for one in desk.take(ADA, 2, NOW))
    desk.give(given(first.int), later(1))
    desk.give(given(second.int), later(2))
    event = uuid4()
    assert desk.undo(event, ADA, later(3)).id == second
    assert desk.undo(event, ADA, later(4)).id == second  # its first reply may have been lost
    assert desk.progress(later(5)).labelled == 1
    with pytest.raises(ContractError, match="another event"):
        desk.undo(event, BOB, later(6))
    with pytest.raises(ContractError, match="another event"):
        desk.give(given(second.int, event=event), later(7))
    answer = given(second.int)
    desk.give(answer, later(8))
    with pytest.raises(ContractError, match="another event"):
        desk.undo(answer.id, ADA, later(9))


def all_at_once(calls: Sequence[Callable[[], object]]) -> list[object]:
    """What each came to, or how it ended; all begin together."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        start.wait(10)
        try:
            return call()
        except ContractError as error:
            return type(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.parametrize("turn", range(2))
def test_answers_sent_at_the_same_moment_leave_one(desk: Labelling, turn: int) -> None:
    same = given(1)
    told = all_at_once([partial(desk.give, same, later(turn))] * 6)
    assert sorted(map(bool, told)) == [False] * 5 + [True]
    told = all_at_once([partial(desk.give, given(2), later(turn)) for _ in range(6)])
    assert sorted(map(str, told)) == sorted([str(TakenError)] * 5 + ["True"])
    assert desk.progress(later(9)).labelled == 2


@pytest.mark.parametrize("turn", range(2))
def test_undo_sent_twice_at_the_same_moment_is_one(desk: Labelling, turn: int) -> None:
    for number in (1, 2, 3):
        desk.give(given(number), later(turn + number))
    event = uuid4()
    headers = all_at_once([partial(desk.undo, event, ADA, later(10))] * 4)
    assert {one.id.int for one in headers if isinstance(one, CropHeader)} == {3}
    assert len(headers) == 4
    assert desk.progress(later(11)).labelled == 2
    all_at_once([partial(desk.undo, uuid4(), ADA, later(12)) for _ in range(2)])
    assert desk.progress(later(13)).labelled == 0


def test_the_trigger_counts_what_teaches_and_what_is_new(desk: Labelling) -> None:
    desk.take(ADA, 6, NOW)
    answers = (Answer.WITH_MASK, Answer.CANNOT_TELL, Answer.MASK_WORN_INCORRECTLY, Answer.NOT_A_FACE)
    for number, answer in enumerate(answers, start=1):
        desk.give(given(number, answer), later(number))
    known = desk.since(None)
    assert (known.total, known.new, known.new_rare, known.oldest_new) == (3, 3, 1, later(1))
    fresh = desk.since(later(3))
    assert (fresh.total, fresh.new, fresh.new_rare) == (3, 1, 0)


def test_a_snapshot_is_named_by_its_content_and_control_crops_judge(
    desk: Labelling, engine: Engine, tmp_path: Path
) -> None:
    snapshots = Snapshots(engine, BlobFolder(tmp_path))
    assert snapshots.make(NOW) is None
    desk.take(ADA, 6, NOW)
    for number in range(1, 5):
        desk.give(given(number, Answer.CANNOT_TELL if number == 4 else Answer.WITHOUT_MASK), later(number))
    digest = snapshots.make(later(9))
    assert digest is not None
    assert snapshots.make(later(99)) == digest
    snapshot = Snapshot.decode(snapshots.content(digest), limit=SNAPSHOT_LIMIT)
    assert snapshot.digest == digest
    assert [(one.crop.int, one.use) for one in snapshot.examples] == [(1, Use.JUDGE), (2, Use.TRAIN), (3, Use.JUDGE)]
    with pytest.raises(KeyError):
        snapshots.content("f" * 64)


def test_half_of_the_control_crops_never_teach_and_the_others_only_after_a_release() -> None:
    control = [crop(number, Role.CONTROL) for number in range(1, 201)]
    assert {use_of(one, NOW, None) for one in control} == {Use.JUDGE}
    assert {use_of(one, later(1), NOW) for one in control} == {Use.JUDGE}
    teaching = [one for one in control if use_of(one, NOW, later(1)) is Use.TRAIN]
    assert 70 <= len(teaching) <= 130
    assert use_of(crop(1), NOW, None) is Use.TRAIN
