"""The pages' languages: who gets which, how numbers and times are written, and that nothing is left untranslated."""

import re
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.pofile import read_po

from cloud.web.language import DEFAULT, NAMES, catalogue, choose, language, number

TEXTS = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "texts.py"))
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("code", [code for code in NAMES if code != DEFAULT])
def test_every_text_is_translated_and_no_other_is_kept(code: str) -> None:
    """`python docs/texts.py` gathers them and names what is missing."""
    assert catalogue(code).read_bytes() == TEXTS["renewed"](code)
    assert TEXTS["missing"](code) == []


@pytest.mark.parametrize(
    ("header", "chosen", "code"),
    [
        ("", "", "en"),
        ("de", "", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "", "en"),
        ("fr,de;q=0.5,en;q=0.4", "", "de"),
        ("fr", "", "en"),
        ("de;q=0,en", "", "en"),
        ("de", "en", "en"),  # what was chosen here comes first
        ("de", "xx", "de"),
        ("*;q=x,;;,de;q=" + "9" * 300, "", "en"),
    ],
)
def test_the_reader_gets_what_was_chosen_or_what_the_browser_prefers(header: str, chosen: str, code: str) -> None:
    assert choose(header, chosen).code == code


def test_times_and_numbers_are_written_as_the_language_writes_them() -> None:
    english, german = language("en"), language("de")
    zone = ZoneInfo("Europe/Berlin")
    assert [one.day(NOW, zone) for one in (english, german)] == [
        "Wednesday, 25 November 2026",
        "Mittwoch, 25. November 2026",
    ]
    yesterday = NOW - timedelta(days=1)
    assert [one.clock(yesterday, NOW, zone) for one in (english, german)] == ["13:00, 24 Nov", "13:00, 24. Nov."]
    assert german.clock(NOW, NOW, zone) == "13:00"
    assert [one.ago(NOW - timedelta(minutes=3), NOW) for one in (english, german)] == ["3\xa0min ago", "vor 3\xa0min"]
    assert english.ago(NOW, NOW) == "just now"
    assert english.ago(NOW + timedelta(hours=1), NOW) == "just now"  # clocks differ
    assert [one.points(-0.0123) for one in (english, german)] == ["\N{MINUS SIGN}1.2", "\N{MINUS SIGN}1,2"]
    assert [one.points(value) for one in (english,) for value in (0.0, 0.0004, 0.05)] == ["0.0", "0.0", "+5.0"]
    assert german.duration(7_500) == "2\xa0h 5\xa0min"
    assert english.percent(0.746) == "75\xa0%"
    assert number(1_234_567) == "1\u202f234\u202f567"


def test_an_unknown_language_is_the_default() -> None:
    assert language("xx") is not None
    assert language("xx").code == DEFAULT


def test_catalogues_lie_where_gettext_looks_for_them() -> None:
    assert all(catalogue(code).is_file() for code in NAMES if code != DEFAULT)
    assert Path("locale/de/LC_MESSAGES/messages.po") == Path(*catalogue("de").parts[-4:])


@pytest.mark.parametrize("code", [code for code in NAMES if code != DEFAULT])
def test_a_translation_has_the_same_places_for_values_and_the_same_markup(code: str) -> None:
    places = re.compile(r"%\(\w+\)s|\{\w+\}|</?\w+>|%%")
    with catalogue(code).open("rb") as source:
        texts = [one for one in read_po(source, locale=code) if isinstance(one.id, str) and one.id]
    assert [
        one.id for one in texts if sorted(places.findall(str(one.id))) != sorted(places.findall(str(one.string)))
    ] == []
