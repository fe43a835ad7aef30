"""The page about monitoring names what there is."""

import re
from pathlib import Path

from cloud.fleet.alerts import RULES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
SOURCE = (Path(__file__).resolve().parents[2] / "cloud" / "web" / "metrics.py").read_text()


def test_every_kind_of_alert_is_explained() -> None:
    assert [rule.title for rule in RULES.values() if rule.title not in PAGE] == []


def test_every_series_is_named() -> None:
    whole = set(re.findall(r'"maskfleet_(\w+)"', SOURCE)) | {
        f"door_{name}" for name in re.findall(r'each\(\s*"(\w+)"', SOURCE)
    }
    assert len(whole) > 15
    assert [name for name in sorted(whole) if f"maskfleet_{name}" not in PAGE] == []
