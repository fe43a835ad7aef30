"""The pages for people: answers into templates."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic_core import to_jsonable_python

from cloud.config import CloudSettings
from cloud.counts.claims import LEAST_PASSES
from cloud.counts.evidence import LEAST
from cloud.learning.jobs import JobRow
from cloud.learning.labelling import GUIDELINE, Progress
from cloud.learning.retraining import Outlook
from cloud.web.alerts import AlertAnswer
from cloud.web.asking import asking, person, say
from cloud.web.codes import ALERT_TITLES, FAULTS, LABEL_NAMES
from cloud.web.door import DoorPage
from cloud.web.keeping import KeepingAnswer
from cloud.web.language import N_, Language, interval, language, number
from cloud.web.language import NAMES as LANGUAGES
from cloud.web.learning import charts, headline, measures
from cloud.web.overview import Overview
from cloud.web.rollouts import map50_by_split
from cloud.web.settings import DoorAnswer, SiteAnswer
from cloud.web.spans import Span, labels_used, lacking, shown
from cloud.web.views import Views
from cloud.web.words import Words
from contract.dataset import Answer
from contract.health import DRIFTED
from contract.labels import Label

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_NAME = 60

CARDS = (  # key, answer, name, definition
    ("1", Answer.WITH_MASK.value, LABEL_NAMES[Label.WITH_MASK], N_("nose, mouth and chin are covered by a mask")),
    ("2", Answer.WITHOUT_MASK.value, LABEL_NAMES[Label.WITHOUT_MASK], N_("no mask; a hand, a scarf or a visor is none")),
    (
        "3", Answer.MASK_WORN_INCORRECTLY.value, LABEL_NAMES[Label.MASK_WORN_INCORRECTLY],
        N_("there is a mask, but nose, mouth or chin is not covered"),
    ),
    ("0", Answer.NOT_A_FACE.value, N_("Not a face"), N_("a poster, the back of a head, anything else")),
    ("?", Answer.CANNOT_TELL.value, N_("Cannot tell"), N_("too small, too dark, too much is hidden")),
)  # fmt: skip


class Pages:
    """Every page of the site."""

    def __init__(self, views: Views, settings: CloudSettings, open_alerts: Callable[[], int]) -> None:
        """`open_alerts` tells how many there are, for every page's header."""
        self._views, self._settings, self._open_alerts = views, settings, open_alerts
        self._environments = {code: environment(language(code)) for code in LANGUAGES}

    def overview(self, view: Overview, now: datetime) -> HTMLResponse:
        """All doors: what may be said of them, hour by hour or day by day, and each door."""
        return self._counts(
            "overview.html", view.zone, now, view=view, service=self._views.service(now),
            quarantine=self._views.quarantine(), total=shown(view.answer.total), lacking=lacking(view.answer, LEAST),
            labels_used=labels_used(view.answer), broker=self._settings.broker, faults=FAULTS,
        )  # fmt: skip

    def door(self, view: DoorPage, now: datetime) -> HTMLResponse:
        """One door: today against the usual, its last weeks, its device."""
        return self._counts(
            "door.html", view.zone, now, view=view, today=shown(view.today), before=shown(view.usual),
            month=shown(view.month.total), lacking=lacking(view.month, LEAST), span=Span.MONTH, today_span=Span.TODAY,
            drifted=DRIFTED,
        )  # fmt: skip

    def no_door(self, name: str, now: datetime) -> HTMLResponse:
        """What is shown of a door that never spoke here."""
        page = self._counts("no_door.html", self._views.zone, now, name=name[:LONGEST_NAME])
        page.status_code = 404
        return page

    def fleet(self, view: dict[str, object], now: datetime) -> HTMLResponse:
        """The rollout, the doors and the releases."""
        return self._page("fleet.html", view=view, clock=self._clock(now), map50=map50_by_split)

    def learning(
        self, outlook: Outlook, labelled: Progress, jobs: Sequence[JobRow], kept: KeepingAnswer, now: datetime
    ) -> HTMLResponse:
        """How far it is to the next training, the job in flight and the last ones."""
        lease = timedelta(seconds=self._settings.retraining.lease_s)
        return self._page(
            "learning.html", outlook=outlook, labelled=labelled, headline=headline(outlook), now=now, lease=lease,
            clock=self._clock(now), charts=charts, measures=measures,
            running=next((job for job in jobs if job.ended_at is None), None),
            ended=[job for job in jobs if job.ended_at is not None], names=names(), kept=kept,
        )  # fmt: skip

    def alerts(self, alerts: Sequence[AlertAnswer], now: datetime) -> HTMLResponse:
        """What is wrong, and what was."""
        rules = self._settings.alerts
        return self._page(
            "alerts.html", alerts=alerts, titles=ALERT_TITLES, webhooks=len(rules.webhooks), mailboxes=len(rules.email_to),
            clock=self._clock(now),
        )  # fmt: skip

    def settings(self, sites: Sequence[SiteAnswer], doors: Sequence[DoorAnswer]) -> HTMLResponse:
        """All sites and all doors."""
        names = {site.slug: site.name for site in sites}
        return self._page("settings.html", sites=sites, doors=doors, names=names, zone=self._views.zone.key)

    def door_settings(self, door: DoorAnswer, sites: Sequence[SiteAnswer]) -> HTMLResponse:
        """One door: what it is called, its lines, its crops, its hours."""
        return self._page("door_settings.html", door=door, sites=sites)

    def label(self) -> HTMLResponse:
        """The labeller's desk; its script fetches the crops."""
        return self._page(
            "label.html", cards=CARDS, shapes=frozenset(label.value for label in Label), guideline=GUIDELINE
        )

    def docs(self) -> HTMLResponse:
        """The API's documentation, without any outside host."""
        return self._page("docs.html")

    def plain(self, template: str, status: int = 200, /, **values: object) -> HTMLResponse:
        """A page about people: `values` as they come, and `clock` where there is a `now`."""
        now = values.get("now")
        if isinstance(now, datetime):
            values["clock"] = self._clock(now)
        page = self._page(template, **values)
        page.status_code = status
        return page

    def refusal(self, status: int, words: str) -> HTMLResponse:
        """What a person is shown who may not do that."""
        return self.plain("refused.html", status, words=say(words))

    def error(self, status: int, title: str, advice: str, detail: str = "") -> HTMLResponse:
        """What is shown instead of a page, with the reason as it was given; it asks the database nothing."""
        page = self._page("error.html", title=title, advice=advice, detail=detail, open_alerts=0)
        page.status_code = status
        return page

    def away(self, here: str) -> HTMLResponse:
        """What is shown at the address `here` while the database does not answer."""
        page = self._page("away.html", here=here, open_alerts=0)
        page.status_code = 503
        return page

    def _counts(self, template: str, zone: ZoneInfo, now: datetime, /, **values: object) -> HTMLResponse:
        """A page of counts, with `zone`'s times."""
        spoken = asking().language
        return self._page(
            template, now=now, zone=zone, words=Words(spoken, zone), least_passes=LEAST_PASSES,
            clock=lambda at: spoken.clock(at, now, zone), **values,
        )  # fmt: skip

    def _clock(self, now: datetime) -> Callable[[datetime], str]:
        spoken, zone = asking().language, self._views.zone
        return lambda at: spoken.clock(at, now, zone)

    def _page(self, template: str, /, **values: object) -> HTMLResponse:
        me, now = person(), asking()
        if "open_alerts" not in values:
            values["open_alerts"] = self._open_alerts() if me else 0
        page = self._environments[now.language.code].get_template(template)
        zone = str(values.get("zone", self._views.zone))
        text = page.render(me=me, address=now.address, named_zone=zone, **values)
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})


def environment(spoken: Language) -> Environment:
    """How templates are filled in one language."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    made.policies["ext.i18n.trimmed"] = True
    texts = spoken.texts
    made.install_gettext_callables(texts.gettext, texts.ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.globals |= {
        "language": spoken,
        "languages": LANGUAGES,
        "plural": spoken.plural,
        "interval": interval,
        "number": number,
    }
    made.filters |= {
        "number": number,
        "percent": spoken.percent,
        "decimal": spoken.decimal,
        "interval": interval,
        "ago": spoken.ago,
        "plural": spoken.plural,
        "duration": spoken.duration,
        "points": spoken.points,
        "tojson_text": lambda value: json.dumps(to_jsonable_python(value)),
    }
    return made


def names() -> dict[Label, str]:
    """The labels as the reader calls them."""
    return {label: say(name) for label, name in LABEL_NAMES.items()}
