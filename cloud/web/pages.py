"""The pages for people: answers into templates."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cloud.config import CloudSettings
from cloud.counts.cells import HOUR
from cloud.counts.claims import LEAST_PASSES
from cloud.learning.jobs import JobRow
from cloud.learning.labelling import GUIDELINE, Progress
from cloud.learning.retraining import Outlook
from cloud.web.answers import ShareAnswer
from cloud.web.learning import charts, headline, measures
from cloud.web.rollouts import map50_by_split
from cloud.web.views import Views
from contract.dataset import Answer
from contract.labels import Label

TEMPLATES = Path(__file__).parent / "templates"
NO_BREAK = "\N{NO-BREAK SPACE}"
THIN = "\N{NARROW NO-BREAK SPACE}"
NAMES = {
    Label.WITH_MASK: "With mask",
    Label.WITHOUT_MASK: "Without mask",
    Label.MASK_WORN_INCORRECTLY: "Worn incorrectly",
}

CARDS = (  # key, answer, name, definition
    ("1", Answer.WITH_MASK.value, NAMES[Label.WITH_MASK], "nose, mouth and chin are covered by a mask"),
    ("2", Answer.WITHOUT_MASK.value, NAMES[Label.WITHOUT_MASK], "no mask; a hand, a scarf or a visor is none"),
    (
        "3", Answer.MASK_WORN_INCORRECTLY.value, NAMES[Label.MASK_WORN_INCORRECTLY],
        "there is a mask, but nose, mouth or chin is not covered",
    ),
    ("0", Answer.NOT_A_FACE.value, "Not a face", "a poster, the back of a head, anything else"),
    ("?", Answer.CANNOT_TELL.value, "Cannot tell", "too small, too dark, too much is hidden"),
)  # fmt: skip


class Pages:
    """Every page of the site."""

    def __init__(self, views: Views, settings: CloudSettings) -> None:
        self._views, self._settings = views, settings
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "number": number,
            "percent": percent,
            "interval": interval,
            "ago": ago,
            "plural": plural,
            "duration": duration,
            "points": points,
        }

    def home(self, now: datetime) -> HTMLResponse:
        """Today: counts, compliance by hour, doors."""
        zone = self._views.zone
        start, end = self._views.last_day(now)
        return self._page(
            "home.html",
            now=now,
            clock=lambda at: clock(at, now, zone),
            today=self._views.today(now),
            doors=self._views.doors(now),
            quarantine=self._views.quarantine(),
            service=self._views.service(now),
            names=NAMES,
            least_passes=LEAST_PASSES,
            start=start,
            end=end,
            hour=HOUR,
            zone=zone.key,
            local_day=f"{now.astimezone(zone):%A} {now.astimezone(zone).day} {now.astimezone(zone):%B %Y}",
            broker=self._settings.broker,
        )

    def fleet(self, view: dict[str, object], now: datetime) -> HTMLResponse:
        """The rollout, the doors and the releases."""
        return self._page(
            "fleet.html", view=view, clock=lambda at: clock(at, now, self._views.zone), map50=map50_by_split
        )

    def learning(self, outlook: Outlook, labelled: Progress, jobs: Sequence[JobRow], now: datetime) -> HTMLResponse:
        """How far it is to the next training, the job in flight and the last ones."""
        lease = timedelta(seconds=self._settings.retraining.lease_s)
        return self._page(
            "learning.html", outlook=outlook, labelled=labelled, headline=headline(outlook), now=now, lease=lease,
            clock=lambda at: clock(at, now, self._views.zone), charts=charts, measures=measures,
            running=next((job for job in jobs if job.ended_at is None), None),
            ended=[job for job in jobs if job.ended_at is not None], names=NAMES,
        )  # fmt: skip

    def label(self) -> HTMLResponse:
        """The labeller's desk; its script fetches the crops."""
        return self._page(
            "label.html", cards=CARDS, shapes=frozenset(label.value for label in Label), guideline=GUIDELINE
        )

    def docs(self) -> HTMLResponse:
        """The API's documentation, without any outside host."""
        return self._page("docs.html")

    def away(self, here: str) -> HTMLResponse:
        """What is shown at the address `here` while the database does not answer."""
        page = self._page("away.html", here=here)
        page.status_code = 503
        return page

    def _page(self, name: str, **values: object) -> HTMLResponse:
        return HTMLResponse(
            self._environment.get_template(name).render(**values), headers={"Cache-Control": "no-store"}
        )


def number(value: int) -> str:
    """12 345, in groups that do not break."""
    return f"{value:,}".replace(",", THIN)


def percent(value: float) -> str:
    """A share as whole per cent: more digits than its interval allows would be a lie."""
    return f"{value * 100:.0f}{NO_BREAK}%"


def interval(share: ShareAnswer) -> str:
    """74-81 %."""
    return f"{share.low * 100:.0f}\N{EN DASH}{share.high * 100:.0f}{NO_BREAK}%"


def plural(value: int, one: str, many: str) -> str:
    """`1 door`, `2 doors`."""
    return f"{number(value)}{NO_BREAK}{one if value == 1 else many}"


def ago(at: datetime, now: datetime) -> str:
    """How long ago, in one unit."""
    passed = max(now - at, timedelta(0))
    for unit, length in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if passed >= length:
            return f"{passed // length}{NO_BREAK}{unit} ago"
    return "just now" if passed < timedelta(seconds=5) else f"{passed.seconds}{NO_BREAK}s ago"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`, `3 d 4 h`: two units at most."""
    whole = max(0, int(seconds))
    for (unit, length), (lesser, part) in (
        (("d", 86400), ("h", 3600)), (("h", 3600), ("min", 60)), (("min", 60), ("s", 1)),
    ):  # fmt: skip
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length}{NO_BREAK}{unit}" + (f" {rest}{NO_BREAK}{lesser}" if rest else "")
    return f"{whole}{NO_BREAK}s"


def points(value: float) -> str:
    """A difference of two shares in points: +1.2, or a minus sign of the same width."""
    shown = round(100 * value, 1)
    return f"{shown:+.1f}".replace("-", "\N{MINUS SIGN}") if shown else "0.0"


def clock(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """The time in `zone`, with the date where it is not today's."""
    local, today = at.astimezone(zone), now.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%H:%M}, {local.day} {local:%b}"
