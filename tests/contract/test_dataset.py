"""A snapshot is its content: order does not matter, nothing is in it twice, and none is empty."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from contract.crops import Role
from contract.dataset import Answer, Example, Snapshot, Use
from contract.errors import ContractError
from contract.labels import LABELS


def example(number: int, answer: Answer = Answer.WITH_MASK, use: Use = Use.TRAIN) -> Example:
    return Example(
        crop=UUID(int=number), jpeg_digest=f"{number:064x}", answer=answer, box=(0.25, 0.25, 0.75, 0.75), use=use,
        role=Role.CONTROL, device="door-1", at=datetime(2026, 11, 24, 9, tzinfo=UTC), weight=2.5,
        scores=(0.7, 0.2, 0.1), model_digest="ab" * 32, frame_size=(640, 480), origin=(10, 20), scale=1.0,
    )  # fmt: skip


def test_the_digest_does_not_depend_on_the_order_of_labelling() -> None:
    one, two = example(1), example(2, Answer.NOT_A_FACE)
    assert Snapshot.of([one, two]).digest == Snapshot.of([two, one]).digest


def test_another_answer_is_another_snapshot() -> None:
    assert Snapshot.of([example(1)]).digest != Snapshot.of([example(1, Answer.WITHOUT_MASK)]).digest


def test_a_snapshot_survives_the_wire() -> None:
    snapshot = Snapshot.of([example(1), example(2, use=Use.JUDGE)])
    again = Snapshot.decode(snapshot.encode(), limit=1 << 20)
    assert again == snapshot
    assert again.digest == snapshot.digest
    assert [one.crop.int for one in again.of_use(Use.JUDGE)] == [2]


@pytest.mark.parametrize("examples", [[], [example(1), example(1, Answer.WITHOUT_MASK)]], ids=["nothing", "one twice"])
def test_what_is_no_snapshot_is_refused(examples: list[Example]) -> None:
    with pytest.raises(ContractError):
        Snapshot.of(examples)


def test_the_first_answers_are_the_labels() -> None:
    assert [answer.label for answer in Answer] == [*LABELS, None, None]
