"""Which crops come first: everybody's control crops, and the others spread over classes and doors."""

from collections import Counter
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cloud.learning.curation import Candidate, order
from contract.crops import Role

SURE, DOUBTFUL, RARE = (0.95, 0.03, 0.02), (0.5, 0.49, 0.01), (0.5, 0.02, 0.48)


def candidate(number: int, device: str = "front", role: Role = Role.PRIORITY, scores=SURE) -> Candidate:  # type: ignore[no-untyped-def]
    return Candidate(UUID(int=number), device, "2026-05-04", role, f"{number:064x}", scores, None)


def test_the_most_doubtful_come_first() -> None:
    crops = [candidate(number, scores=SURE) for number in range(20)] + [candidate(99, scores=DOUBTFUL)]
    assert UUID(int=99) in {one.crop for one in order(crops, 3, Random(1))}


def test_no_door_takes_all_places_and_every_door_has_one() -> None:
    crops = [candidate(number, "busy", scores=DOUBTFUL) for number in range(100)]
    crops += [candidate(1000 + number, f"quiet-{number}") for number in range(9)]
    doors = Counter(one.device for one in order(crops, 20, Random(1)))
    assert doors["busy"] == 3
    assert all(doors[f"quiet-{number}"] == 1 for number in range(9))


def test_the_rare_class_has_its_share() -> None:
    crops = [candidate(number, scores=DOUBTFUL) for number in range(50)]
    crops += [candidate(100 + number, scores=(0.9, 0.0, 0.1)) for number in range(50)]
    assert sum(one.rare for one in order(crops, 20, Random(1))) == 8


def test_the_same_picture_comes_once_but_control_crops_are_never_thinned_out() -> None:
    same = [Candidate(UUID(int=number), "front", "2026-05-04", Role.PRIORITY, "a" * 64, RARE) for number in range(5)]
    control = [
        Candidate(UUID(int=9 + number), "front", "2026-05-04", Role.CONTROL, "a" * 64, RARE) for number in range(5)
    ]
    assert Counter(one.role for one in order([*same, *control], 20, Random(1))) == {Role.PRIORITY: 1, Role.CONTROL: 5}


@given(
    st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from(list(Role)), st.floats(0, 1), st.floats(0, 1))),
    st.integers(0, 30),
)
def test_never_too_many_never_one_twice_never_a_stranger(
    rows: list[tuple[str, Role, float, float]], places: int
) -> None:
    crops = [
        candidate(number, device, role, (one, other, 0.1)) for number, (device, role, one, other) in enumerate(rows)
    ]
    chosen = order(crops, places, Random(1))
    assert len(chosen) <= places
    assert len({one.crop for one in chosen}) == len(chosen)
    assert {one.crop for one in chosen} <= {one.crop for one in crops}
