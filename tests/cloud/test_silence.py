"""What is said of few passes: no share in any answer, whatever span is asked for; and that this silence is no secret."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from cloud.counts.claims import LEAST_PASSES
from contract.dataset import Answer
from tests.cloud.counts_kit import NOW, WITH, WITHOUT, Counting

HOUR = timedelta(hours=1)
BEGIN = NOW.replace(minute=0) - 3 * HOUR
PASSED = {"front": (19, 1, 0, 12), "side": (20, 3, 25, 1)}  # by hour; every fifth without a mask


@pytest.fixture
def counting(engine: Engine, tmp_path: Path) -> Iterator[Counting]:
    with Counting(engine, tmp_path / "blobs") as served:
        served.publish(3, "a" * 64)
        for door, hours in PASSED.items():
            for hour, passes in enumerate(hours):
                bare = passes // 5
                served.passes(door, passes - bare, at=BEGIN + hour * HOUR)
                served.passes(door, bare, at=BEGIN + hour * HOUR, label="without_mask")
        served.control("front", WITH, Answer.WITH_MASK, 40)
        served.control("side", WITHOUT, Answer.WITHOUT_MASK, 20)
        yield served


def test_no_answer_gives_a_share_of_fewer_than_twenty_passes_whatever_is_asked(counting: Counting) -> None:
    spoken = silent = 0
    for (start, end), door in product(combinations(range(5), 2), (None, "front")):
        span = {"from": (BEGIN + start * HOUR).isoformat(), "to": (BEGIN + end * HOUR).isoformat()}
        asked = span | ({"door": door} if door else {})
        answers = [
            counting.get("/compliance", by="day", **asked),
            counting.get("/counts", by="door_hour", **span),
            counting.get("/counts", **span),
        ]
        for passes, said in (cell for answer in answers for cell in cells(answer)):
            assert said == (passes >= LEAST_PASSES)
            spoken, silent = spoken + said, silent + (not said)
        for by in ("hour", "month"):
            for group in groups(counting.get("/counts.json", by=by, **asked)).values():
                whole = sum(row["passes"] for row in group)
                assert all((row["share"] is not None) == (whole >= LEAST_PASSES) for row in group)
    assert spoken > 50
    assert silent > 50


def test_a_share_that_is_not_said_can_be_worked_out_since_counts_are_never_held_back(counting: Counting) -> None:
    """The limit that docs/counts.md names: silence is about chance. Who may not see one pass must not be given the hours."""
    answer = counting.get("/compliance", **{"from": BEGIN.isoformat(), "to": (BEGIN + HOUR).isoformat()})
    front, side = (one["estimate"] for one in answer["doors"])
    total = answer["total"]
    assert (front["passes"], front["called"][1]["share"], front["corrected"], front["why"]) == (
        19,
        None,
        None,
        "few_passes",
    )
    by_subtraction = total["called"][1]["passes"] - side["called"][1]["passes"]
    assert (total["passes"] - side["passes"], by_subtraction) == (19, 3)
    assert front["called"][1]["passes"] == by_subtraction  # and nobody needs to subtract


def cells(answer: Any) -> Iterator[tuple[int, bool]]:
    """Passes of each cell in an answer, however deep, and whether anything is said of their shares."""
    if isinstance(answer, list):
        for one in answer:
            yield from cells(one)
    elif isinstance(answer, dict):
        parts = answer.get("called") or answer.get("labels")
        if parts and "passes" in parts[0]:
            said = [one["share"] is not None for one in parts]
            said += [answer[name] is not None for name in ("corrected", "compliance") if name in answer]
            assert len(set(said)) == 1
            yield answer["passes"] or 0, said[0]
        else:
            for one in answer.values():
                yield from cells(one)


def groups(rows: Any) -> dict[tuple[Any, ...], list[Any]]:
    """An export's rows by what their shares are of."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows["rows"] if isinstance(rows, dict) else rows:
        if row["label"]:
            found.setdefault(tuple(row[name] for name in ("start", "door", "line", "direction", "release")), []).append(
                row
            )
    return found
