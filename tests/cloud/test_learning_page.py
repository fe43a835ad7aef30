"""What the learning page says, and the lines it draws."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.learning.retraining import Labels, Past, outlook
from cloud.rules import RetrainingRules
from cloud.web.language import language
from cloud.web.learning import charts, headline, measures
from cloud.web.rollouts import map50_by_split
from contract.jobs import ClassScore, Comparison, Point, Scores
from contract.labels import Label

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RULES = RetrainingRules()


@pytest.mark.parametrize(
    ("labels", "past", "words"),
    [
        (Labels(), Past(), "Nothing is labelled yet"),
        (Labels(299, 299), Past(), "1 more label until the next training"),
        (Labels(20, 20), Past(), "280 more labels until the next training"),
        (Labels(300, 300), Past(), "A training is due"),
        (Labels(300, 300), Past(in_flight=True), "A job is under way"),
    ],
)
def test_the_headline_says_what_is_missing(labels: Labels, past: Past, words: str) -> None:
    assert headline(outlook(RULES, labels, past, NOW)).replace("\N{NO-BREAK SPACE}", " ") == words


def test_the_curve_is_drawn_from_the_first_epoch_to_the_last() -> None:
    loss, score = charts(
        (Point(epoch=1, loss=4.0, map50=0.25), Point(epoch=2, loss=2.0), Point(epoch=3, loss=1, map50=0.5))
    )
    assert loss.path == "M0.00 0.00L50.00 50.00L100.00 75.00"
    assert score.path == "M0.00 75.00L100.00 50.00"
    assert (loss.top, loss.last, score.words) == (
        "4.00",
        "1.00",
        "mAP50 on validation, epochs 1 to 3; the latest is 0.50",
    )


def test_a_curve_of_one_epoch_is_a_dot_and_none_is_nothing() -> None:
    (loss,) = charts((Point(epoch=1, loss=0),))
    assert loss.path == "M0.00 100.00h.01"
    assert charts(()) == ()


def test_a_comparison_has_a_row_for_each_class_that_either_was_scored_on() -> None:
    score = ClassScore(ap50=0.5, ap50_95=0.4, recall=0.8, precision=0.7)
    champion = Scores(map50=0.6, map50_95=0.3, images=40, per_class={Label.WITH_MASK: score})
    candidate = Scores(map50=0.65, map50_95=0.3, images=40, per_class={Label.WITHOUT_MASK: score})
    rows = measures(Comparison(split="own crops", champion=champion, candidate=candidate))
    assert [(one.name, one.label, one.champion, one.candidate) for one in rows[1:]] == [
        ("mAP50-95", None, 0.3, 0.3), ("Recall", Label.WITH_MASK, 0.8, None), ("Recall", Label.WITHOUT_MASK, None, 0.8),
    ]  # fmt: skip
    assert rows[0].difference == pytest.approx(0.05)
    assert rows[2].difference is None


def test_metrics_that_are_no_scores_are_left_out() -> None:
    metrics = {"own": {"map50": 0.5}, "note": "none", "odd": {"map50": "high"}, "map50": 0.7}
    assert map50_by_split(metrics) == {"own": 0.5}


def test_times_and_differences_in_words() -> None:
    spans = [
        timedelta(seconds=40),
        timedelta(seconds=111),
        timedelta(minutes=3),
        timedelta(hours=2, minutes=5),
        timedelta(days=3, hours=4),
    ]
    assert [language("en").duration(span.total_seconds()).replace("\N{NO-BREAK SPACE}", " ") for span in spans] == [
        "40 s", "1 min 51 s", "3 min", "2 h 5 min", "3 d 4 h",
    ]  # fmt: skip
    assert [language("en").points(one) for one in (0.0123, -0.02, 0.0001)] == ["+1.2", "\N{MINUS SIGN}2.0", "0.0"]
