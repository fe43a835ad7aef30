"""What the pages say in the reader's language: texts from gettext catalogues, numbers and times from CLDR by Babel."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALES = Path(__file__).parent / "locale"
NAMES: Mapping[str, str] = {"en": "English", "de": "Deutsch"}  # the first is what the templates are written in
DEFAULT = "en"
CLDR = {"en": "en_GB", "de": "de_DE"}
NO_BREAK = "\N{NO-BREAK SPACE}"
THIN = "\N{NARROW NO-BREAK SPACE}"


class Bounded(Protocol):
    """Anything with an interval, 0..1."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Language:
    """One language, and how it writes what the pages show."""

    code: str
    texts: NullTranslations
    locale: Locale

    def say(self, text: str) -> str:
        """The translation of an English text; itself where there is none."""
        return self.texts.gettext(text)

    def plural(self, value: int, one: str, many: str) -> str:
        """`1 door`, `2 doors`: the right form with its number before it."""
        return f"{number(value)}{NO_BREAK}{self.texts.ngettext(one, many, value)}"

    def percent(self, value: float) -> str:
        """A share as whole per cent: more digits than its interval allows would be a lie."""
        return f"{value * 100:.0f}{NO_BREAK}%"

    def decimal(self, value: float, digits: int = 1) -> str:
        """`24.8`, or `24,8` where that is how it is written."""
        return f"{value:.{digits}f}".replace(".", self.locale.number_symbols["latn"]["decimal"])

    def points(self, value: float) -> str:
        """A difference of two shares in points: +1.2, or a minus sign of the same width."""
        shown = round(100 * value, 1)
        sign = "+" if shown > 0 else "\N{MINUS SIGN}" if shown < 0 else ""
        return sign + self.decimal(abs(shown))

    def ago(self, at: datetime, now: datetime) -> str:
        """How long ago, in one unit; units are symbols (SI), the same in every language."""
        passed = max(now - at, timedelta(0))
        if passed < timedelta(seconds=5):
            return self.say("just now")
        for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
            if (whole := int(passed.total_seconds()) // length) or length == 1:
                return self.say("{time} ago").format(time=f"{whole}{NO_BREAK}{unit}")
        raise AssertionError

    def duration(self, seconds: float) -> str:
        """`40 s`, `3 min`, `2 h 5 min`, `3 d 4 h`: two units at most."""
        whole = max(0, int(seconds))
        for (unit, length), (lesser, part) in (
            (("d", 86400), ("h", 3600)), (("h", 3600), ("min", 60)), (("min", 60), ("s", 1)),
        ):  # fmt: skip
            if whole >= length:
                rest = whole % length // part
                more = f" {rest}{NO_BREAK}{lesser}" if rest else ""
                return f"{whole // length}{NO_BREAK}{unit}{more}"
        return f"{whole}{NO_BREAK}s"

    def clock(self, at: datetime, now: datetime, zone: ZoneInfo) -> str:
        """The time in `zone`, with the date where it is not today's, and the year where it is not this one."""
        local, today = at.astimezone(zone), now.astimezone(zone)
        if local.date() == today.date():
            return f"{local:%H:%M}"
        skeleton = "MMMd" if local.year == today.year else "yMMMd"
        return f"{local:%H:%M}, {format_skeleton(skeleton, local, locale=self.locale)}"

    def day(self, at: datetime, zone: ZoneInfo) -> str:
        """The local day in full: Wednesday, 25 November 2026."""
        return format_date(at.astimezone(zone).date(), "full", locale=self.locale)


def number(value: int) -> str:
    """12 345, in groups that do not break: the same in every language (ISO 80000-1)."""
    return f"{value:,}".replace(",", THIN)


def interval(share: Bounded) -> str:
    """74-81 %."""
    return f"{share.low * 100:.0f}\N{EN DASH}{share.high * 100:.0f}{NO_BREAK}%"


def N_(text: str) -> str:  # noqa: N802 - the name that gettext tools know
    """Marks a text that is said elsewhere, for the catalogue."""
    return text


@cache
def language(code: str) -> Language:
    """The language of that code, the default where we have none of it."""
    code = code if code in NAMES else DEFAULT
    return Language(code, _texts(code), Locale.parse(CLDR[code]))


def choose(accept_language: str, chosen: str = "") -> Language:
    """What the reader chose here before; else the first of what the browser prefers (RFC 9110, 12.5.4) that we have."""
    if chosen in NAMES:
        return language(chosen)
    wishes: list[tuple[float, int, str]] = []
    for place, wish in enumerate(accept_language[:200].split(",")):
        tag, _, weight = wish.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            quality = 0.0
        if 0 < quality <= 1:
            wishes.append((-quality, place, tag.strip().lower().split("-")[0]))
    known = [tag for _, _, tag in sorted(wishes) if tag in NAMES]
    return language(known[0] if known else DEFAULT)


def catalogue(code: str) -> Path:
    """Where a language's texts lie, as a gettext .po file."""
    return LOCALES / code / "LC_MESSAGES" / "messages.po"


def _texts(code: str) -> NullTranslations:
    path = catalogue(code)
    if not path.is_file():
        return NullTranslations()
    with path.open("rb") as source:
        texts = read_po(source, locale=code)
    compiled = BytesIO()
    write_mo(compiled, texts)
    compiled.seek(0)
    return GNUTranslations(compiled)
