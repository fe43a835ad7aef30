"""When a training is due, and that nobody trains for nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.learning.retraining import Labels, Past, due, outlook
from cloud.rules import RetrainingRules

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RULES = RetrainingRules()


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


@pytest.mark.parametrize(
    ("labels", "past", "reason"),
    [
        (Labels(300, 300), Past(), "300 new labels"),
        (Labels(299, 299), Past(), None),
        (Labels(10_400, 400), Past(), None),  # under five per cent of ten thousand
        (Labels(10_500, 500), Past(), "500 new labels"),
        (Labels(10_040, 60, 40), Past(), "40 new labels of the rare class"),
        (Labels(10_040, 60, 39), Past(), None),
        (Labels(5_100, 100), Past(judged_at=ago(days=28), tried_at=ago(days=28)), "28 days without a training, and 100 new labels"),
        (Labels(5_099, 99), Past(judged_at=ago(days=28), tried_at=ago(days=28)), None),
        (Labels(5_100, 100), Past(judged_at=ago(days=27), tried_at=ago(days=27)), None),
        (Labels(150, 150, oldest_new=ago(days=30)), Past(), "28 days without a training, and 150 new labels"),
        (Labels(150, 150, oldest_new=ago(days=3)), Past(), None),
        (Labels(900, 900), Past(in_flight=True), None),
        (Labels(900, 900), Past(tried_at=ago(hours=23)), None),
        (Labels(900, 900), Past(tried_at=ago(hours=24)), "900 new labels"),
        (Labels(900, 0), Past(), None),
    ],
)  # fmt: skip
def test_a_training_is_due_when_it_is_worth_it(labels: Labels, past: Past, reason: str | None) -> None:
    assert due(RULES, labels, past, NOW) == reason


def test_a_demonstration_may_ask_for_less() -> None:
    rules = RetrainingRules(new_labels=5, cool_down_s=0)
    assert due(rules, Labels(5, 5), Past(tried_at=NOW), NOW) == "5 new labels"


def test_the_outlook_says_how_many_labels_are_missing_and_how_long_the_pause_is() -> None:
    first = outlook(RULES, Labels(), Past(), NOW)
    assert (first.needed, first.missing, first.stale_at, first.cool_down_s, first.reason) == (300, 300, None, 0, None)
    judged = Past(in_flight=True, tried_at=ago(hours=2), judged_at=ago(days=3))
    later = outlook(RULES, Labels(10_120, 120, 7), judged, NOW)
    assert (later.needed, later.missing, later.cool_down_s, later.in_flight) == (500, 380, 22 * 3600, True)
    assert later.stale_at == NOW + timedelta(days=25)


def test_the_outlook_names_a_reason_before_the_pause_is_over() -> None:
    seen = outlook(RULES, Labels(900, 900), Past(tried_at=ago(hours=23)), NOW)
    assert (seen.reason, seen.missing, seen.cool_down_s) == ("900 new labels", 0, 3600)
