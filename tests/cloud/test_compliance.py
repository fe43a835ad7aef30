"""What the API says of compliance, from messages and labels to the answer, on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from contract.crops import Role
from contract.dataset import Answer
from tests.cloud.counts_kit import NOW, WITH, WITHOUT, WRONG, Counting

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def counting(engine: Engine, tmp_path: Path) -> Iterator[Counting]:
    with Counting(engine, tmp_path / "blobs") as served:
        yield served


def labelled(counting: Counting, door: str = "front", digest: str = OLD) -> None:
    """A model that calls a third of the bare faces masked."""
    counting.control(door, WITH, Answer.WITH_MASK, 120, digest=digest)
    counting.control(door, WITH, Answer.WITHOUT_MASK, 30, digest=digest)
    counting.control(door, WITHOUT, Answer.WITHOUT_MASK, 60, digest=digest)


def test_counts_are_corrected_by_the_control_labels_of_their_release(counting: Counting) -> None:
    counting.publish(3, OLD)
    counting.passes("front", 400)
    counting.passes("front", 100, label="without_mask")
    labelled(counting)
    answer = counting.get("/compliance")
    total = answer["total"]
    assert (total["passes"], total["why"]) == (500, None)
    assert [(one["label"], one["passes"]) for one in total["called"]] == [
        ("with_mask", 400), ("without_mask", 100), ("mask_worn_incorrectly", 0),
    ]  # fmt: skip
    assert total["called"][0]["share"]["rate"] == 0.8
    corrected = total["corrected"]
    assert corrected["compliance"]["rate"] == pytest.approx(0.64, abs=0.02)
    assert corrected["compliance"]["high"] < 0.8  # the share as called lies outside
    assert [one["label"] for one in corrected["labels"]] == ["with_mask", "without_mask", "mask_worn_incorrectly"]
    (spliced,) = answer["releases"]
    assert {name: spliced[name] for name in ("release", "model", "passes", "control_labels", "widened", "first_day")} == {
        "release": 3, "model": OLD, "passes": 500, "control_labels": 210, "widened": False, "first_day": "2026-05-04",
    }  # fmt: skip


def test_without_labels_there_is_no_corrected_number_and_the_answer_says_why(counting: Counting) -> None:
    counting.passes("front", 400, release=0)
    counting.passes("side", 19, release=0)
    counting.heartbeat("dark")
    answer = counting.get("/compliance")
    assert {one["door"]: (one["estimate"]["corrected"], one["estimate"]["why"], one["rank"]) for one in answer["doors"]} == {
        "front": (None, "few_labels", None), "side": (None, "few_passes", None), "dark": (None, "no_passes", None),
    }  # fmt: skip
    assert answer["releases"][0]["model"] == "factory"
    assert answer["releases"][0]["control_labels"] == 0


def test_the_cards_own_model_is_corrected_by_crops_of_models_that_were_never_released(counting: Counting) -> None:
    counting.publish(1, NEW)
    counting.passes("front", 100, release=0)
    labelled(counting, digest=OLD)
    assert counting.get("/compliance")["total"]["corrected"]["compliance"]["rate"] == pytest.approx(0.8, abs=0.03)


def test_chosen_crops_and_answers_taken_back_say_nothing(counting: Counting) -> None:
    counting.publish(3, OLD)
    counting.passes("front", 400)
    counting.control("front", WITH, Answer.WITHOUT_MASK, 200, digest=OLD, role=Role.PRIORITY)
    assert counting.get("/compliance")["releases"][0]["control_labels"] == 0
    counting.control("front", WITH, Answer.WITH_MASK, 25, digest=OLD)
    assert counting.get("/compliance")["releases"][0]["control_labels"] == 25
    with counting.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE labels SET answer = NULL WHERE answer = 'with_mask'")
        connection.exec_driver_sql("UPDATE labels SET at = '2026-05-04 12:31:00'")
    assert counting.get("/compliance")["releases"][0]["control_labels"] == 0


def test_a_crop_counts_as_what_its_pass_was_counted_as_not_as_its_picture_looks(counting: Counting) -> None:
    counting.publish(3, OLD)
    counting.passes("front", 200, label="without_mask")
    counting.control("front", WITH, Answer.WITH_MASK, 60, digest=OLD, label=WITHOUT)
    rate = counting.get("/compliance")["total"]["corrected"]["compliance"]["rate"]
    assert rate > 0.95


def test_two_releases_are_spliced_each_with_its_own_labels(counting: Counting) -> None:
    counting.publish(3, OLD)
    counting.publish(4, NEW)
    counting.passes("front", 300, label="without_mask", at=NOW - DAY)
    counting.passes("front", 100, label="without_mask", release=4)
    counting.control("front", WITHOUT, Answer.WITHOUT_MASK, 200, digest=OLD, at=NOW - DAY)
    since = (NOW - 2 * DAY).isoformat()
    before = counting.get("/compliance", **{"from": since, "by": "day"})
    assert (before["total"]["corrected"], before["total"]["why"]) == (None, "few_labels")
    assert [one["estimate"]["why"] for one in before["periods"]] == ["no_passes", None, "few_labels"]
    counting.control("front", WITHOUT, Answer.WITH_MASK, 200, digest=NEW)
    after = counting.get("/compliance", **{"from": since})
    assert after["total"]["corrected"]["compliance"]["rate"] == pytest.approx(0.25, abs=0.02)
    assert [(one["release"], one["first_day"], one["passes"], one["control_labels"]) for one in after["releases"]] == [
        (3, "2026-05-03", 300, 200), (4, "2026-05-04", 100, 200),
    ]  # fmt: skip


def test_doors_are_ranked_only_where_their_intervals_do_not_touch(counting: Counting) -> None:
    counting.publish(3, OLD)
    for door, masked in (("best", 950), ("twin-a", 700), ("twin-b", 690), ("worst", 100)):
        counting.passes(door, masked)
        counting.passes(door, 1000 - masked, label="without_mask")
        for counted, answer in (
            (WITH, Answer.WITH_MASK),
            (WITHOUT, Answer.WITHOUT_MASK),
            (WRONG, Answer.MASK_WORN_INCORRECTLY),
        ):
            counting.control(door, counted, answer, 60, digest=OLD)
    counting.passes("tiny", 5)
    ranks = {one["door"]: one["rank"] for one in counting.get("/compliance")["doors"]}
    assert ranks == {
        "best": {"best": 1, "worst": 1}, "twin-a": {"best": 2, "worst": 3}, "twin-b": {"best": 2, "worst": 3},
        "worst": {"best": 4, "worst": 4}, "tiny": None,
    }  # fmt: skip


def test_a_day_that_nobody_watched_is_a_gap_and_a_watched_one_without_passes_is_nought(counting: Counting) -> None:
    counting.cover("front", NOW.replace(minute=0) - 30 * HOUR, *(60,) * 4)
    counting.passes("front", 30)
    answer = counting.get("/compliance", **{"from": "2026-05-01T22:00:00Z", "by": "day"})
    days = [(one["day"], one["estimate"]["passes"], one["estimate"]["observed"]["share"]) for one in answer["periods"]]
    assert days == [("2026-05-02", None, None), ("2026-05-03", 0, 1.0), ("2026-05-04", 30, None)]


def test_hours_that_were_watched_have_a_cell_and_others_have_none(counting: Counting) -> None:
    counting.cover("front", NOW.replace(minute=0) - 3 * HOUR, 60, 0, 30)
    counting.passes("front", 2)
    cells = counting.get("/counts")["cells"]
    assert [(one["at"][11:16], one["tally"]["passes"], one["observed"]["share"]) for one in cells] == [
        ("09:00", 0, 1.0), ("11:00", 0, 0.5), ("12:00", 2, None),
    ]  # fmt: skip
    apart = counting.get("/counts", by="door_hour")["cells"]
    assert [one["door"] for one in apart] == ["front"] * 3


def test_coverage_told_by_a_clock_that_was_never_right_is_flagged(counting: Counting) -> None:
    counting.cover("front", NOW.replace(minute=0) - HOUR, 60, 20, synchronised=False)
    observed = counting.get("/compliance")["total"]["observed"]
    assert (observed["hours"], observed["unsure_hours"], observed["seen_minutes"]) == (2, 2, 80)
    counting.cover("front", NOW.replace(minute=0), 20)
    assert counting.get("/compliance")["total"]["observed"]["unsure_hours"] == 1


def test_coverage_is_counted_once_however_often_it_is_told(counting: Counting) -> None:
    for _ in range(3):
        counting.cover("front", NOW.replace(minute=0) - HOUR, 48, 30)
    observed = counting.get("/compliance")["total"]["observed"]
    assert (observed["hours"], observed["seen_minutes"], observed["open_minutes"]) == (2, 78, 120)


def test_passes_that_never_came_are_told_where_they_can_be_placed(counting: Counting) -> None:
    counting.now = NOW - 3 * DAY
    counting.passes("front", 2, at=NOW - 3 * DAY, boot=UUID(int=1))
    counting.heartbeat("front", boot=UUID(int=1), passes=6)
    counting.now = NOW - 3 * DAY + HOUR
    counting.heartbeat("front", boot=UUID(int=2), passes=0)
    counting.now = NOW
    counting.heartbeat("front", boot=UUID(int=2), passes=5)
    whole = counting.get("/compliance", **{"from": (NOW - 4 * DAY).isoformat()})
    assert whole["total"]["missing"] == {"known": 9, "unplaced": 0}
    assert counting.get("/compliance")["doors"][0]["estimate"]["missing"] == {"known": 0, "unplaced": 5}


def test_a_door_shows_its_machine_its_drift_and_todays_coverage(counting: Counting) -> None:
    board = {"temperature_c": 76.4, "throttled": True}
    counting.heartbeat("front", board=board, drift=0.31)
    counting.cover("side", NOW.replace(minute=0) - HOUR, 45)
    front, side = counting.get("/doors")
    assert {name: front["board"][name] for name in board} == board
    assert (front["drift"], front["observed"]["share"]) == (0.31, None)
    assert (side["board"], side["drift"], side["observed"]["share"]) == (None, None, 0.75)


def test_one_door_can_be_asked_for(counting: Counting) -> None:
    counting.passes("front", 30)
    counting.passes("side", 20)
    answer = counting.get("/compliance", door="side")
    assert (answer["total"]["passes"], [one["door"] for one in answer["doors"]]) == (20, ["side"])
    nobody = counting.get("/compliance", door="nobody")
    assert (nobody["total"]["passes"], nobody["doors"], nobody["releases"]) == (None, [], [])


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-05-04"},
        {"from": "2026-05-04T10:00:00Z", "to": "2026-05-04T09:00:00Z"},
        {"from": "2020-01-01T00:00:00Z"},
        {"by": "hour"},
        {"door": "x" * 40},
    ],
)
def test_a_question_that_cannot_be_is_refused(counting: Counting, query: dict[str, Any]) -> None:
    assert counting.client.get("/api/v1/compliance", params=query).status_code == 422
