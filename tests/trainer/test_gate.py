"""What the gate lets through, and that drawing images again is COCO's own arithmetic."""

from pathlib import Path

import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from contract.labels import LABELS, Label
from rehearsal.scene import write_dataset
from trainer.dataset import read_split
from trainer.evaluate import Report, evaluate
from trainer.gate import Cost, Hard, Loss, Pair, Result, difference, objections, too_few
from trainer.hard import Case, Tally
from trainer.scores import Matches, map50_95

FAST = Cost(size=2_000_000, latency_ms=20.0)
WITH, RARE = Label.WITH_MASK, Label.MASK_WORN_INCORRECTLY


def matches(found: list[bool], alarms: int = 0) -> Matches:
    """One face in each picture, found or not; and so many false alarms in the first, surer than everything else."""
    image = np.array([0] * alarms + [index for index, one in enumerate(found) if one], np.int64)
    hit = np.array([False] * alarms + [True] * sum(found))
    return Matches(image, np.tile(hit, (10, 1)), np.ones((10, len(hit)), bool), np.ones(len(found), np.int64))


def result(found: list[bool], alarms: int = 0, label: Label = WITH) -> Result:
    return Result({label: sum(found) / len(found)}, {label: matches(found, alarms)})


def pair(champion: Result, candidate: Result, images: int = 100, groups: list[int] | None = None) -> Pair:
    return Pair("field", groups or list(range(images)), champion, candidate)


def said(pairs: list[Pair], candidate: Cost = FAST) -> tuple[str, ...]:
    return objections(pairs, champion=FAST, candidate=candidate, seed=1, draws=300)


def test_the_same_file_again_may_ship() -> None:
    same = result([True] * 80 + [False] * 20)
    assert said([pair(same, same)]) == ()


def test_a_better_one_may_ship() -> None:
    assert said([pair(result([True] * 70 + [False] * 30), result([True] * 80 + [False] * 20))]) == ()


def test_a_worse_one_is_refused_in_plain_words() -> None:
    told = said([pair(result([True] * 80 + [False] * 20), result([True] * 70 + [False] * 30))])
    assert len(told) == 3
    assert told[0].startswith("field: it is worse by ")
    assert "may be worse by" in told[1]
    assert told[2].startswith("field: it finds 70.0 % of with_mask instead of 80.0 %")


def test_an_uncertain_tie_is_refused() -> None:
    old, new = [True] * 60 + [False] * 40, [False] * 20 + [True] * 60 + [False] * 20
    (told,) = said([pair(result(old), result(new))])
    assert "may be worse by" in told


def test_images_of_one_group_are_drawn_together() -> None:
    old = result([True] * 80 + [False] * 20)
    new = result([True] * 79 + [False] + [True] * 3 + [False] * 17)
    alone = difference(pair(old, new), seed=1, draws=300)
    together = difference(pair(old, new, groups=[index // 20 for index in range(100)]), seed=1, draws=300)
    assert alone is not None
    assert together is not None
    assert alone.estimate == together.estimate
    assert together.low != alone.low


@pytest.mark.parametrize(
    ("label", "lost", "fine"), [(WITH, 3, True), (WITH, 4, False), (RARE, 5, True), (RARE, 6, False)]
)
def test_recall_may_fall_a_little_and_for_the_rare_class_a_little_more(label: Label, lost: int, fine: bool) -> None:
    champion = Result({label: 0.8}, result([True] * 80 + [False] * 20, label=label).matches)
    candidate = Result({label: (80 - lost) / 100}, champion.matches)
    assert (said([pair(champion, candidate)]) == ()) is fine


def test_a_class_that_is_lost_altogether_counts() -> None:
    assert said([pair(result([True] * 100), Result({}, {}))]) != ()


def test_too_few_faces_of_a_class_cannot_object_but_it_is_said() -> None:
    few = result([True] * 19, label=RARE).matches
    told = pair(Result({RARE: 1.0}, few), Result({RARE: 0.5}, few), 19)
    assert said([told]) == ()
    assert too_few([told]) == ("field: 19 faces mask_worn_incorrectly, too few to judge what share is found",)


@pytest.mark.parametrize(
    ("cost", "word"),
    [(Cost(2_200_001, 20.0), "it is larger: 2.20 MB"), (Cost(2_000_000, 22.1), "it is slower: 22.10 ms")],
)
def test_size_and_latency_may_grow_by_a_tenth(cost: Cost, word: str) -> None:
    same = result([True] * 10)
    (told,) = said([pair(same, same, 10)], cost)
    assert told.startswith(word)
    assert said([pair(same, same, 10)], Cost(2_200_000, 22.0)) == ()


@pytest.mark.parametrize(
    ("streamed", "told"),
    [(None, ()), (0, ()), (250_000, ("0.25 MB of it lie outside the Edge TPU's memory",))],
)
def test_nothing_may_lie_outside_the_accelerators_memory(streamed: int | None, told: tuple[str, ...]) -> None:
    same = result([True] * 10)
    assert said([pair(same, same, 10)], Cost(FAST.size, FAST.latency_ms, streamed)) == told


def test_a_fraction_of_a_millisecond_is_no_objection_to_a_tiny_network() -> None:
    same = result([True] * 10)
    told = [
        objections([pair(same, same, 10)], champion=Cost(1, 0.7), candidate=Cost(1, after), seed=1, draws=300)
        for after in (1.1, 1.3)
    ]
    assert told[0] == ()
    assert told[1] == ("it is slower: 1.30 ms against 0.70, at most 1.1 times as much is allowed",)


@pytest.mark.parametrize(("alarms", "fine"), [(10, True), (11, True), (12, True), (13, False)])
def test_false_alarms_on_empty_pictures_may_grow_by_a_tenth(alarms: int, fine: bool) -> None:
    same = result([True] * 100)
    old, new = (Result(same.recall, same.matches, number, 200) for number in (10, alarms))
    told = said([pair(old, new)])
    assert told == (() if fine else ("field: it sees 65 faces in 1,000 empty pictures instead of 50",))


@pytest.mark.parametrize(
    ("loss", "word"),
    [
        (Loss("val", 0.03, 0.02), None),
        (Loss("val", 0.031, 0.0), "val: int8 costs 3.1 points mAP50; at most 3 are allowed"),
        (Loss("val", -0.01, 0.025), "val: int8 costs 2.5 points recall; at most 2 are allowed"),
    ],
)
def test_quantisation_may_cost_little(loss: Loss, word: str | None) -> None:
    same = result([True] * 100)
    told = objections([pair(same, same)], champion=FAST, candidate=FAST, losses=[loss], seed=1, draws=300)
    assert told == ((word,) if word else ())


def fooled(case: Case, old: int, new: int) -> Hard:
    """Of 50 faces, so many are said right by the champion and by the candidate."""
    before, after = (Tally(case, 50, 50, right, {WITH: 50 - right} if right < 50 else {}) for right in (old, new))
    return Hard(before, after)


@pytest.mark.parametrize(
    ("hand", "cup", "word"),
    [
        ((40, 40), (10, 10), None),
        ((40, 37), (10, 10), None),  # 3 of 100
        ((40, 0), (10, 50), None),  # one case may be lost where others are won
        ((40, 36), (10, 10), "worst is hand, 36 right instead of 40 of 50"),
        ((40, 45), (10, 1), "worst is cup, 1 right instead of 10 of 50"),
    ],
)
def test_the_hard_cases_said_right_may_fall_by_three_points(
    hand: tuple[int, int], cup: tuple[int, int], word: str | None
) -> None:
    same = result([True] * 100)
    cases = [fooled(Case.HAND, *hand), fooled(Case.CUP, *cup)]
    told = objections([pair(same, same)], champion=FAST, candidate=FAST, hard=cases, seed=1, draws=300)
    assert len(told) == (1 if word else 0)
    if word:
        share = f"it says {hand[1] + cup[1]}.0 % right instead of 50.0 %; at most 3 points fewer"
        assert told[0].startswith(f"hard cases: {share}")
        assert told[0].endswith(word)


def test_nothing_to_judge_on_is_an_objection() -> None:
    assert said([]) == ("there are no images to judge on",)
    assert said([pair(Result({}, {}), Result({}, {}), 3)]) == ("field: there is no labelled face to judge on",)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder: Path = tmp_path_factory.mktemp("scenes")
    write_dataset(folder, images=40, seed=88_000)
    return evaluate(FACTORY_MODEL, read_split(folder / "data.yaml", "val"))


def test_stored_matches_give_the_average_precision_of_coco(report: Report) -> None:
    again = map50_95(report.matches, np.ones(report.images))
    assert again == pytest.approx({label: one.ap50_95 for label, one in report.per_class.items()}, abs=1e-9)
    assert set(again) == set(LABELS)
