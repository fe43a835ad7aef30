"""When a training is due, and that nobody trains for nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.config import RetrainingRules
from cloud.learning.retraining import Labels, Past, due

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
