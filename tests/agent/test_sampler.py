"""Which passes are chosen: the score as a table, the sample as properties over many seeds."""

from collections.abc import Sequence
from math import exp
from random import Random
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.learning.sampler import Chosen, Look, Plan, Sampler, Streams, TrackFacts, Window, score
from contract.crops import Role
from contract.errors import ContractError

WINDOW = UUID(int=7)
SURE, OTHER = (0.9, 0.0, 0.0), (0.0, 0.9, 0.0)


def facts(
    *scores: tuple[float, ...], threshold: float = 0.4, overlap: float | None = None, missed: int = 0
) -> TrackFacts:
    found = TrackFacts()
    for index, one in enumerate(scores):
        found = found.after(Look(one, max(one), threshold, overlap if index else None, missed if index == 1 else 0))
    return found


def streams(seed: int) -> Streams:
    return Streams(*(Random(f"{seed} {role}") for role in ("control", "priority", "near miss")))


def doubtful(doubt: float) -> TrackFacts:
    """A pass whose two best classes are this close, 0..1."""
    return facts(*[(0.8, 0.8 * doubt, 0.0)] * 3)


FAR = exp(-((0.5 / 0.12) ** 2))  # the band's share of a confidence of .9 against a threshold of .4
SCORES = {
    "sure and steady": (facts(SURE, SURE, SURE), 0.10 * FAR),
    "two classes level": (facts(*[(0.9, 0.9, 0.0)] * 3), 0.35 + 0.10 * FAR),
    "the second at half the first": (facts(*[(0.8, 0.4, 0.0)] * 3), 0.35 * (1 - 0.4 / 1.2) + 0.10 * exp(-((0.4 / 0.12) ** 2))),
    "one change, an even vote": (facts(SURE, SURE, OTHER, OTHER), 0.35 + 0.30 * (1 / 3 + 1) / 2 + 0.10 * FAR),
    "three changes": (facts(SURE, OTHER, SURE, OTHER), 0.35 + 0.30 + 0.10 * FAR),
    "one vote of four": (facts(SURE, SURE, SURE, OTHER), 0.35 * 0.5 + 0.30 * (1 / 3 + 0.5) / 2 + 0.10 * FAR),
    "one frame missed": (facts(SURE, SURE, SURE, missed=1), 0.15 / 3 + 0.10 * FAR),
    "nine frames missed": (facts(SURE, SURE, SURE, missed=9), 0.15 + 0.10 * FAR),
    "a ghost": (facts(SURE, SURE), 0.15 + 0.10 * FAR),
    "a ghost with a gap counts once": (facts(SURE, SURE, missed=3), 0.15 + 0.10 * FAR),
    "boxes that jump": (facts(SURE, SURE, SURE, overlap=0.25), 0.10 * 0.75 + 0.10 * FAR),
    "at the threshold": (facts(SURE, SURE, SURE, threshold=0.9), 0.10),
    "one width above it": (facts(SURE, SURE, SURE, threshold=0.78), 0.10 * exp(-1)),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_what_a_hand_computes(name: str) -> None:
    found, by_hand = SCORES[name]
    assert score(found) == pytest.approx(by_hand, abs=1e-9)


def test_a_track_without_any_class_is_as_unsure_as_can_be() -> None:
    assert score(facts((0.0, 0.0, 0.0), threshold=0.0)) == pytest.approx(0.35 + 0.15 + 0.10)


def test_everything_at_once_scores_one() -> None:
    worst = facts(*[(0.4, 0.0, 0.0), (0.0, 0.4, 0.0)] * 2, overlap=0.0, missed=3)
    assert score(worst) == pytest.approx(1.0)


ratio = st.floats(0, 1)
looks = st.builds(Look, st.tuples(ratio, ratio, ratio), ratio, ratio, st.none() | ratio, st.integers(0, 50))


@given(st.lists(looks, min_size=1, max_size=30))
def test_a_score_is_a_ratio(seen: list[Look]) -> None:
    found = TrackFacts()
    for look in seen:
        found = found.after(look)
    assert 0 <= score(found) <= 1
    assert sum(found.votes) == found.looks == len(seen)


def test_a_track_without_a_look_has_no_score() -> None:
    with pytest.raises(ContractError, match="without a look"):
        score(TrackFacts())


def sample(plan: Plan, doubts: Sequence[float], seed: int, misses: int = 0) -> list[Chosen[int]]:
    """Payloads are the passes' numbers, near misses the negative ones."""
    window: Window[int] = Window(WINDOW, plan, streams(seed))
    for number, doubt in enumerate(doubts):
        window.offer(doubtful(doubt), number)
    for number in range(misses):
        window.offer_near_miss(facts((0.2, 0.0, 0.0)), -1 - number)
    return window.close()


def of(chosen: list[Chosen[int]], role: Role) -> list[Chosen[int]]:
    return [one for one in chosen if one.role == role]


def require_mean(estimates: list[float], truth: float, errors: float = 4.0) -> None:
    spread = float(np.std(estimates, ddof=1)) / len(estimates) ** 0.5
    assert spread > 0
    assert abs(float(np.mean(estimates)) - truth) < errors * spread


RUNS = 3000
PASSES = np.random.default_rng(11).random(40)
DOUBTS = {number: doubtful(doubt) for number, doubt in enumerate(PASSES)}
VALUES = 1.0 + 3 * PASSES + np.random.default_rng(12).random(40)  # what is totalled leans on the score


@pytest.fixture(scope="module")
def runs() -> list[list[Chosen[int]]]:
    found = []
    for seed in range(RUNS):
        window: Window[int] = Window(WINDOW, Plan(budget=10), streams(seed))
        for number, one in DOUBTS.items():
            window.offer(one, number)
        found.append(window.close())
    return found


def total(chosen: list[Chosen[int]], values: Sequence[float]) -> float:
    return float(sum((one.weight or 0) * values[one.payload] for one in chosen))


def test_control_alone_gives_unbiased_totals(runs: list[list[Chosen[int]]]) -> None:
    require_mean([total(of(run, Role.CONTROL), VALUES.tolist()) for run in runs], float(VALUES.sum()))


def test_priority_weights_give_unbiased_totals_of_the_passes_that_control_left(runs: list[list[Chosen[int]]]) -> None:
    joint = []
    for run in runs:
        control = float(sum(VALUES[one.payload] for one in of(run, Role.CONTROL)))
        joint.append(control + total(of(run, Role.PRIORITY), VALUES.tolist()))
    require_mean(joint, float(VALUES.sum()))
    without_weights = [float(sum(VALUES[one.payload] for one in of(run, Role.PRIORITY))) * 38 / 8 for run in runs]
    assert np.mean(without_weights) > VALUES.sum() * 1.05  # what the weights undo


def test_priority_weights_count_the_passes(runs: list[list[Chosen[int]]]) -> None:
    require_mean([2 + total(of(run, Role.PRIORITY), [1.0] * 40) for run in runs], 40.0)


def test_every_pass_is_a_control_equally_often(runs: list[list[Chosen[int]]]) -> None:
    counts = np.bincount([one.payload for run in runs for one in of(run, Role.CONTROL)], minlength=40)
    expected = RUNS * 2 / 40
    assert ((counts - expected) ** 2 / expected).sum() < 73  # chi-square, 39 degrees of freedom, 1 in 1,000


def test_doubtful_passes_are_chosen_more_often(runs: list[list[Chosen[int]]]) -> None:
    counts = np.bincount([one.payload for run in runs for one in of(run, Role.PRIORITY)], minlength=40)
    order = np.argsort(PASSES)
    assert counts[order[-10:]].mean() > 1.5 * counts[order[:10]].mean()


@settings(max_examples=60, deadline=None)
@given(st.lists(ratio, max_size=40), st.integers(0, 12), ratio.map(lambda share: max(0.2, share)), st.integers(0, 99))
def test_control_does_not_look_at_scores(doubts: list[float], budget: int, share: float, seed: int) -> None:
    plan = Plan(budget, share)
    swapped = [1 - doubt for doubt in reversed(doubts)]
    first, second = (
        [(one.payload, one.weight) for one in of(sample(plan, each, seed), Role.CONTROL)] for each in (doubts, swapped)
    )
    assert first == second


def test_each_role_draws_from_its_own_stream() -> None:
    def chosen(control: int, priority: int, near_miss: int, role: Role) -> list[int]:
        window: Window[int] = Window(WINDOW, Plan(10), Streams(Random(control), Random(priority), Random(near_miss)))
        for number, one in DOUBTS.items():
            window.offer(one, number)
            window.offer_near_miss(facts((0.2, 0.0, 0.0)), -number)
        return [each.payload for each in of(window.close(), role)]

    assert chosen(1, 2, 3, Role.CONTROL) == chosen(1, 8, 9, Role.CONTROL) != chosen(7, 2, 3, Role.CONTROL)
    assert chosen(1, 2, 3, Role.PRIORITY) == chosen(1, 2, 9, Role.PRIORITY) != chosen(1, 8, 3, Role.PRIORITY)
    assert chosen(1, 2, 3, Role.NEAR_MISS) == chosen(7, 8, 3, Role.NEAR_MISS) != chosen(1, 2, 9, Role.NEAR_MISS)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(ratio, max_size=60), st.integers(0, 12), ratio.map(lambda share: max(0.2, share)),
    st.integers(0, 99), st.integers(0, 5),
)  # fmt: skip
def test_the_budget_holds_and_nobody_is_chosen_twice(
    doubts: list[float], budget: int, share: float, seed: int, misses: int
) -> None:
    plan = Plan(budget, share)
    chosen = sample(plan, doubts, seed, misses)
    control, near = of(chosen, Role.CONTROL), of(chosen, Role.NEAR_MISS)
    assert len(chosen) <= budget
    assert len({one.payload for one in chosen}) == len(chosen)
    assert len(control) == min(len(doubts), plan.control)
    assert plan.control >= 0.2 * budget
    assert len(near) == (misses > 0 and budget - plan.control >= 2)
    assert len(chosen) == min(budget, len(doubts) + len(near)) or len(doubts) < budget
    for one in chosen:
        assert (one.window, one.window_passes) == (WINDOW, len(doubts))
        assert one.weight is None if one.role == Role.NEAR_MISS else (one.weight or 0) >= 1


def test_all_passes_of_a_quiet_window_are_chosen_and_stand_for_themselves() -> None:
    chosen = sample(Plan(budget=10), [0.1, 0.9, 0.5], seed=1)
    assert sorted(one.payload for one in chosen) == [0, 1, 2]
    assert [one.weight for one in of(chosen, Role.PRIORITY)] == [1.0]


def test_half_of_the_first_week_is_control() -> None:
    roles = [one.role for one in sample(Plan(budget=9, control_share=0.5), [0.5] * 50, seed=1)]
    assert (roles.count(Role.CONTROL), roles.count(Role.PRIORITY)) == (5, 4)


def test_near_misses_have_equal_chances_and_change_nothing_but_one_place() -> None:
    kept = [one.payload for seed in range(900) for one in of(sample(Plan(3), [], seed, misses=3), Role.NEAR_MISS)]
    assert np.bincount([-1 - payload for payload in kept]).min() > 240
    with_it, without = sample(Plan(6), [0.5] * 30, 4, misses=2), sample(Plan(6), [0.5] * 30, 4)
    assert of(with_it, Role.CONTROL) == of(without, Role.CONTROL)
    taken = [one.payload for one in of(without, Role.PRIORITY)]
    assert [one.payload for one in of(with_it, Role.PRIORITY)] == taken[:-1]


@pytest.mark.parametrize(
    ("confidence", "kept"), [(0.04, False), (0.05, False), (0.06, True), (0.39, True), (0.4, False)]
)
def test_a_near_miss_is_above_the_floor_and_below_the_threshold(confidence: float, kept: bool) -> None:
    window: Window[str] = Window(WINDOW, Plan(5), streams(1))
    window.offer_near_miss(facts((confidence, 0.0, 0.0)), "seen")
    assert [one.payload for one in window.close()] == ["seen"] * kept


def test_a_thinned_window_voids_the_priority_weights_alone() -> None:
    window: Window[int] = Window(WINDOW, Plan(5), streams(1))
    for number in range(30):
        window.offer(doubtful(number / 30), number)
    weights = {one.role: one.weight for one in window.close(intact=False)}
    assert weights == {Role.CONTROL: 30.0, Role.PRIORITY: None}


def test_memory_is_bounded_by_the_budget() -> None:
    window: Window[int] = Window(WINDOW, Plan(6), streams(2))
    most, one = 0, doubtful(0.5)
    for number in range(5000):
        window.offer(one, number)
        window.offer_near_miss(facts((0.2, 0.0, 0.0)), -number)
        most = max(most, window.held)
    assert most <= 2 * 6 + 2
    assert window.passes == 5000


def test_a_class_that_weighs_more_is_chosen_more_often() -> None:
    rare, common = facts(*[(0.0, 0.0, 0.8)] * 3), facts(*[(0.8, 0.0, 0.0)] * 3)
    found = 0
    for seed in range(200):
        window: Window[bool] = Window(WINDOW, Plan(5, class_weights=(1, 1, 5)), streams(seed))
        for number in range(40):
            window.offer(rare if number % 4 == 0 else common, number % 4 == 0)
        found += sum(one.payload for one in window.close() if one.role == Role.PRIORITY)
    assert 0.5 < found / 800 < 0.7  # 5 / 8 by weight, 1 / 4 by number


def test_windows_follow_each_other_and_a_new_plan_waits_for_the_next() -> None:
    names = iter(UUID(int=number) for number in range(1, 9))
    sampler: Sampler[str] = Sampler(Plan(2), streams(1), new_window=lambda: next(names), at_s=100.0)
    sampler.window.offer(doubtful(0.1), "first")
    sampler.plan = Plan(0)
    assert sampler.turn(7299.9) == []
    assert [(one.window.int, one.payload) for one in sampler.turn(7300.0)] == [(1, "first")]
    sampler.window.offer(doubtful(0.1), "not wanted")
    sampler.plan = Plan(2)
    assert sampler.turn(99999.0) == []
    sampler.window.offer(doubtful(0.1), "at the end")
    assert [(one.window.int, one.payload) for one in sampler.turn(100001.0, stop=True)] == [(3, "at the end")]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"budget": -1}, "budget"),
        ({"budget": 5, "control_share": 0.19}, "control share"),
        ({"budget": 5, "control_share": float("nan")}, "control share"),
        ({"budget": 5, "class_weights": (1.0, 0.0, 1.0)}, "class weights"),
        ({"budget": 5, "class_weights": (1.0, 1.0)}, "class weights"),
        ({"budget": 5, "window_s": 0.0}, "window"),
    ],
)
def test_a_plan_that_makes_no_sample_is_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ContractError, match=why):
        Plan(**wrong)  # type: ignore[arg-type]
