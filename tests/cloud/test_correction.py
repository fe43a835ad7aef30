"""Corrected compliance: what labels say of a model, what a cell then was, and how often the interval is right."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import lgamma

import numpy as np
import pytest

from bench.claims import simulate
from bench.fleets import HELD_OUT, SCENES, Scene
from cloud.counts import likeness
from cloud.counts.claims import LEAST_PASSES, wilson
from cloud.counts.correction import Correction, Stratum
from cloud.counts.evidence import ENOUGH, LEAST, Labelled, Table, by_model, draw_rows, table_of
from cloud.counts.likeness import DAYS_ALIKE, MOST_DAYS, Floats, draw_days_alike, log_likelihood
from cloud.counts.rows import MOST_BYTES, Drawn, draw
from contract.dataset import Answer
from contract.labels import LABELS, Label

WITH, WITHOUT, WRONG = LABELS
AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL, OTHER = "a" * 64, "b" * 64


def label(
    answer: Answer = Answer.WITH_MASK, counted_as: Label = WITH, at: datetime = AT, device: str = "front",
    model: str = MODEL, weight: float = 1.0,
) -> Labelled:  # fmt: skip
    return Labelled(device, at, at.date().isoformat(), counted_as, answer, weight, model)


def sure(number: int = 400, model: str = MODEL, device: str = "front") -> list[Labelled]:
    """Labels of a model that is nearly always right about masks, and wrong about a quarter of the rest."""
    right = [label(Answer(one.value), one, model=model, device=device) for one in LABELS for _ in range(number)]
    return right + [label(Answer.WITH_MASK, WITHOUT, model=model, device=device) for _ in range(number // 3)]


def table(labels: Iterable[Labelled], model: str = MODEL) -> Table:
    return table_of(by_model(labels).get(model, ()), AT, AT + DAY)


def correction(labels: list[Labelled], *strata: Stratum) -> Correction:
    models = {one.model for one in strata}
    return Correction({model: table(labels, model) for model in models}, strata)


def days_of(days: int, alike: float, seed: int) -> Floats:
    """Passes of three outcomes on each day of one door."""
    rng = np.random.default_rng(seed)
    usual = np.array([0.6, 0.3, 0.1])
    return np.array(
        [rng.multinomial(120, rng.dirichlet(usual * (1 / alike - 1)) if alike else usual) for _ in range(days)],
        dtype=float,
    )


def one_day(*counts: int, device: str = "front", model: str = MODEL) -> Stratum:
    return Stratum(device, model, {"2026-05-04": counts})


def test_a_cell_is_corrected_by_what_the_labels_say_of_its_model() -> None:
    cell = one_day(800, 200, 0)
    found = correction(sure(), cell).of([cell])
    assert found is not None
    assert found.rates[WITH].rate == pytest.approx(0.8 + 0.2 / 4, abs=0.01)  # a quarter of "without" had one
    assert found.rates[WITHOUT].rate == pytest.approx(0.15, abs=0.01)
    assert sum(share.rate for share in found.rates.values()) == pytest.approx(1)
    assert all(0 <= share.low <= share.rate <= share.high <= 1 for share in found.rates.values())


def test_what_was_no_face_is_in_no_share_but_its_own() -> None:
    labels = [*sure(), *(label(Answer.NOT_A_FACE, WITHOUT) for _ in range(400))]
    cell = one_day(800, 200, 0)
    found = correction(labels, cell).of([cell])
    assert found is not None
    assert found.no_face.rate == pytest.approx(0.2 * 400 / 933, abs=0.01)
    faces = 1000 - 200 * 400 / 933
    assert found.rates[WITH].rate == pytest.approx((800 + 200 * 133 / 933) / faces, abs=0.01)


def test_what_nobody_can_tell_is_set_aside_and_counted() -> None:
    unsure = [label(Answer.CANNOT_TELL) for _ in range(30)]
    found = table([*sure(100), *unsure], MODEL)
    assert (len(found.labels), found.cannot_tell) == (333, 30)


@pytest.mark.parametrize(
    ("labels", "counts"),
    [([], (500, 0, 0)), (sure(6)[: LEAST - 1], (500, 0, 0)), (sure(model=OTHER), (500, 0, 0)), (sure(), (LEAST_PASSES - 1, 0, 0)), (sure(), ())],
    ids=["no labels", "few labels", "another model's labels", "few passes", "no passes"],
)  # fmt: skip
def test_there_is_no_number_without_enough_passes_and_labels(labels: list[Labelled], counts: tuple[int, ...]) -> None:
    cell = one_day(*counts) if counts else Stratum("front", MODEL, {})
    assert correction(labels, cell).of([cell]) is None


def test_each_model_of_a_cell_is_corrected_by_its_own_labels_and_one_without_any_leaves_no_number() -> None:
    old, new = one_day(0, 600, 0), one_day(0, 400, 0, model=OTHER)
    wrong = [label(Answer.WITH_MASK, WITHOUT, model=OTHER) for _ in range(400)]
    right = [label(Answer.WITHOUT_MASK, WITHOUT) for _ in range(400)]
    found = correction([*right, *wrong], old, new).of([old, new])
    assert found is not None
    assert found.rates[WITH].rate == pytest.approx(0.4, abs=0.01)
    assert correction(right, old, new).of([old, new]) is None
    assert correction(right, old, new).of([old]) is not None


def test_few_labels_in_the_span_are_joined_by_the_nearest_before_and_after() -> None:
    inside = [label(at=AT + timedelta(hours=1)) for _ in range(50)]
    near = [label(at=AT - (1 + number / 100) * DAY) for number in range(60)]
    after = [label(at=AT + 4 * DAY) for _ in range(60)]
    far = [label(at=AT - 50 * DAY) for _ in range(60)]
    found = table([*far, *inside, *after, *near], MODEL)
    assert len(found.labels) == 170  # all of the moment that made it enough
    assert (found.widened, found.since, found.until) == (True, near[-1].at, AT + 4 * DAY)
    full = table([*far, *(label() for _ in range(ENOUGH))], MODEL)
    assert (len(full.labels), full.widened) == (ENOUGH, False)


def test_the_labels_that_join_are_those_that_a_plain_search_would_take() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        labels = [
            label(
                Answer.CANNOT_TELL if rng.random() < 0.2 else Answer.WITH_MASK,
                at=AT + float(rng.integers(-40, 40)) * DAY,
            )
            for _ in range(int(rng.integers(0, 400)))
        ]
        away = {id(one): max(AT - one.at, one.at - AT - DAY, timedelta()) for one in labels}
        telling = sorted(away[id(one)] for one in labels if one.answer is not Answer.CANNOT_TELL)
        within = [one for one in labels if AT <= one.at < AT + DAY and one.answer is not Answer.CANNOT_TELL]
        found = table(labels)
        assert len(found.labels) >= min(ENOUGH, len(telling))
        assert found.widened == (len(found.labels) > len(within))
        if telling:
            reach = telling[min(ENOUGH, len(telling)) - 1]
            nearer = sum(one < reach for one in telling)
            assert nearer <= len(found.labels) <= sum(one <= reach for one in telling)


def test_what_was_drawn_is_drawn_again_only_from_other_labels() -> None:
    drawn, labels = Drawn(), sure(30)
    first = drawn(table(labels), MODEL, ["front", "side"], 400, 1)
    assert drawn(table(labels), MODEL, ["front", "side"], 400, 1) is first
    others = [*labels[:-1], replace(labels[-1], answer=Answer.NOT_A_FACE)]
    for asked in (
        (table(others), MODEL, ["front", "side"], 400, 1),
        (table(labels), OTHER, ["front", "side"], 400, 1),
        (table(labels), MODEL, ["side", "front"], 400, 1),
        (table(labels), MODEL, ["front", "side"], 500, 1),
        (table(labels), MODEL, ["front", "side"], 400, 2),
        (replace(table(labels), widened=True), MODEL, ["front", "side"], 400, 1),
    ):
        found = drawn(*asked)
        assert found is not first
        assert np.array_equal(found, draw(*asked))


def test_what_is_drawn_of_many_doors_is_not_kept_beyond_its_bound() -> None:
    drawn, few = Drawn(), table(sure(10))
    names = [f"door {number}" for number in range(800)]
    kept = [drawn(few, MODEL, names, 400, seed) for seed in range(3)]
    assert sum(one.nbytes for one in kept) > MOST_BYTES
    assert drawn(few, MODEL, names, 400, 2) is kept[2]
    assert drawn(few, MODEL, names, 400, 0) is not kept[0]


def test_the_same_question_has_the_same_answer() -> None:
    cell = one_day(300, 80, 20)
    assert correction(sure(60), cell).of([cell]) == correction(sure(60), cell).of([cell])


def test_a_door_with_labels_goes_by_its_own_and_a_new_one_by_the_fleet() -> None:
    labels = [one for number in range(6) for one in sure(60, device=f"door-{number}")]
    odd = [label(Answer.WITH_MASK, WITHOUT, device="odd") for _ in range(120)]
    rows = draw_rows(table([*labels, *odd], MODEL), ["odd", "new", "door-1"], 1000, np.random.default_rng(1))
    called_without = rows[:, :, LABELS.index(WITHOUT)]
    odd_row, new_row, usual_row = called_without.mean(axis=0)
    assert odd_row[0] > 0.9
    assert usual_row[0] == pytest.approx(0.25, abs=0.05)
    assert 0.2 < new_row[0] < 0.6
    assert called_without[:, 1, 0].std() > 3 * called_without[:, 2, 0].std()  # nothing is known of the new one


def test_a_crop_of_a_busy_window_counts_for_more_and_makes_labels_worth_less() -> None:
    busy = [label(Answer.WITHOUT_MASK, weight=90.0) for _ in range(50)]
    quiet = [label(Answer.WITH_MASK, weight=1.0) for _ in range(150)]
    even = [replace(one, weight=1.0) for one in (*busy, *quiet)]
    means, spreads = [], []
    for labels in ([*busy, *quiet], even):
        rows = draw_rows(table(labels, MODEL), ["front"], 2000, np.random.default_rng(1))
        means.append(rows[:, 0, 0, 0].mean())
        spreads.append(rows[:, 0, 0, 0].std() / np.sqrt(means[-1] * (1 - means[-1])))
    assert means == pytest.approx([150 / (50 * 90 + 150), 0.75], abs=0.02)
    assert spreads[0] > 1.4 * spreads[1]


def test_a_span_of_alike_days_says_less_than_as_many_passes_of_unlike_ones() -> None:
    steady = Stratum("front", MODEL, {str(day): (80, 20, 0) for day in range(10)})
    moody = Stratum("front", MODEL, {str(day): (100, 0, 0) if day % 5 else (0, 100, 0) for day in range(10)})
    widths = []
    for cell in (steady, moody, one_day(800, 200, 0)):
        found = correction(sure(4000), cell).of([cell])
        assert found is not None
        widths.append(found.rates[WITH].high - found.rates[WITH].low)
    assert widths[1] > 4 * widths[0]
    assert widths[2] == pytest.approx(wilson(800, 1000).high - wilson(800, 1000).low, rel=0.15)  # one day is itself


def test_a_day_that_is_judged_by_labels_of_other_days_is_less_sure_where_days_differ() -> None:
    day, before = one_day(300, 100, 0), AT - 10 * DAY
    days = [before + number * DAY for number in range(10)]
    moody = [Answer.WITH_MASK if number % 2 else Answer.WITHOUT_MASK for number in range(10)]
    widths = []
    for times, turns in (([AT] * 10, 1), (days, 10), (days, 1)):  # the day's own labels; other days, alike and unlike
        sure_of_masks = [label(at=times[number % 10]) for number in range(100)]
        unsure = [label(moody[number // turns % 10], WITHOUT, at=times[number % 10]) for number in range(100)]
        found = correction([*sure_of_masks, *unsure], day).of([day])
        assert found is not None
        widths.append(found.rates[WITH].high - found.rates[WITH].low)
    assert widths[1] < 1.7 * widths[0]  # other days, but all of them alike
    assert widths[2] > 1.8 * widths[1]


@pytest.mark.parametrize(("truth", "low", "high"), [(0.0, 0.0, 0.002), (0.05, 0.04, 0.06), (0.2, 0.17, 0.23)])
def test_how_alike_days_are_is_found_from_many_of_them(truth: float, low: float, high: float) -> None:
    doors = [(days_of(20, truth, door), 1.0) for door in range(20)]
    assert low <= draw_days_alike(doors, 500, np.random.default_rng(1)).mean() <= high


def test_few_days_leave_open_how_alike_they_are() -> None:
    rng = np.random.default_rng(1)
    spans = [np.quantile(draw_days_alike([(days_of(days, 0.05, 3), 1.0)], 2000, rng), (0.1, 0.9)) for days in (3, 50)]
    assert spans[0][1] / spans[0][0] > 3 * spans[1][1] / spans[1][0]
    nothing = draw_days_alike([(days_of(1, 0.0, 3), 1.0)], 2000, rng)
    assert (nothing.min(), nothing.max()) == (DAYS_ALIKE[0], DAYS_ALIKE[-1])


def test_what_shows_only_in_part_in_what_was_called_differs_by_more_in_truth() -> None:
    days, rng = days_of(60, 0.05, 3), np.random.default_rng(1)
    whole, half = (draw_days_alike([(days, shown)], 1000, rng).mean() for shown in (1.0, 0.5))
    assert half == pytest.approx(2 * whole, rel=0.15)


def test_of_very_many_days_some_are_asked_and_say_the_same() -> None:
    doors = [(days_of(400, 0.05, door), 1.0) for door in range(2 * MOST_DAYS // 400)]
    assert draw_days_alike(doors, 200, np.random.default_rng(1)).mean() == pytest.approx(0.05, abs=0.01)


def test_the_counts_of_days_whose_labels_joined_say_how_far_one_day_may_be_off() -> None:
    day, before = one_day(300, 100, 0), AT - 10 * DAY
    labels = [
        label(Answer.WITH_MASK if number % 4 else Answer.WITHOUT_MASK, WITHOUT if number % 3 else WITH, at=at)
        for at in (before + number * DAY for number in range(10))
        for number in range(15)
    ]
    widths = []
    for moody in (0, 120):
        past = {
            (before + number * DAY).date().isoformat(): (240 + moody * (-1) ** number, 160 - moody * (-1) ** number, 0)
            for number in range(10)
        }
        found = Correction({MODEL: table(labels)}, [day], [Stratum("front", MODEL, past)]).of([day])
        assert found is not None
        widths.append(found.rates[WITH].high - found.rates[WITH].low)
    assert widths[1] > 1.3 * widths[0]


def test_the_series_for_the_logarithm_of_gamma_is_right() -> None:
    values = np.array([1e-9, 1e-3, 0.25, 1.0, 2.5, 70.0, 4000.0, 1e7])
    expected = [lgamma(value) for value in values]
    assert likeness._log_gamma(values) == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_one_group_says_nothing_of_how_alike_groups_are() -> None:
    assert not log_likelihood(np.array([[5.0, 3.0], [0.0, 0.0]]), DAYS_ALIKE).any()


def test_a_class_that_was_never_seen_is_not_sure_to_be_absent() -> None:
    """Of 40 labels none was wrong, and nothing was called badly worn: it may still be there."""
    labels = [label() for _ in range(40)]
    cell = one_day(1000, 0, 0)
    found = correction(labels, cell).of([cell])
    assert found is not None
    assert found.rates[WRONG].low < 0.001
    assert 0.01 < found.rates[WRONG].high < 0.1
    assert found.rates[WITH].high - found.rates[WITH].low > 0.02


def test_a_total_of_many_small_doors_is_not_made_of_priors() -> None:
    strata = [
        Stratum(f"door-{number}", MODEL, {"2026-05-04": (2, 0, 0), "2026-05-03": (2, 0, 0)}) for number in range(100)
    ]
    found = correction(sure(), *strata).of(strata)
    assert found is not None
    assert found.rates[WITH].rate > 0.97


COVERED = (
    *(one for one in SCENES if one.name in ("one door, door-days alike", "the last day, door-days alike")),
    *(one for one in HELD_OUT if one.name in ("half masked, days alike", "a poor model gives way to a good one")),
)


@pytest.mark.parametrize("scene", COVERED, ids=lambda scene: scene.name)
def test_the_interval_holds_the_truth_about_as_often_as_it_says(scene: Scene) -> None:
    """60 fleets, always the same: 95 % of 180 would be 171. An interval that knows nothing of errors or days is caught."""
    tallies, _ = simulate(scene, 60, seed=11)
    held = [one for tally in tallies.values() for one in tally.held]
    assert 162 <= sum(held) < 180
    assert sum(one for tally in tallies.values() for one in tally.naive) < 140
    assert abs(np.mean(tallies[WITH].error)) < 0.015
    assert tallies[WITH].against_labels < 0.85


def test_an_empty_table_is_never_usable() -> None:
    empty = table([], MODEL)
    assert empty == Table((), 0, False, None, None)
    assert not empty.usable
