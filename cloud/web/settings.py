"""Sites and doors for people and programs: what is set, how far it has come, and how it is changed."""

import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from cloud.config import require_time_zone
from cloud.fleet import doors as rules
from cloud.fleet.doors import ChangedError, DoorSettings, Stage, UnknownError, stage_of
from cloud.store import doors as store
from cloud.store.doors import DoorRow, Site
from cloud.web.answers import Answer
from contract.errors import ContractError
from contract.fleet import MOST_CLOSED, MOST_LINES, DoorLine, DoorPlan, SamplingPlan
from contract.wire import Ratio


def _one_line(text: str) -> str:
    clean = " ".join(unicodedata.normalize("NFC", text).split())
    if not clean.isprintable():
        raise ValueError("use printable characters")
    return clean


def _lines(text: str) -> str:
    return "\n".join(_one_line(line) for line in text.splitlines()).strip()


Line = Annotated[str, AfterValidator(_one_line)]
Note = Annotated[str, AfterValidator(_lines)]
Slug = Annotated[str, Path(pattern=f"^{rules.SLUG}$", description="The site's name in addresses.")]
Device = Annotated[str, Path(max_length=39, pattern=r"^[^\x00]*$", description="The device's name.")]
Match = Annotated[
    str | None,
    Header(
        max_length=40,
        description="The quoted version that was read: 412 where it is another by now. Without it, whatever is there is replaced.",
    ),
]
NoneMatch = Annotated[
    Literal["*"] | None, Header(description="Only make a new one: 412 where there is one of this name already.")
]
WeekText = Annotated[list[Annotated[str, Field(max_length=80)]], Field(min_length=7, max_length=7)]


class Form(BaseModel):
    """Base of what is sent here; a typo is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class SiteForm(Form):
    """A site as people set it."""

    name: Annotated[Line, Field(min_length=1, max_length=80)]
    time_zone: Annotated[str, Field(max_length=60), AfterValidator(require_time_zone)]
    """IANA name, like Europe/Paris."""
    week: WeekText = [""] * 7
    """Monday first, each like `08:00-12:00, 14:00-18:00`; an empty day is closed, seven of them are always open."""
    closed: Annotated[list[date], Field(max_length=MOST_CLOSED)] = []
    """Days on which it stays shut."""


class DoorForm(Form):
    """A door as people set it; what is null is left to the device, or to the site."""

    title: Annotated[Line, Field(max_length=80)] = ""
    """Shown instead of the device's name."""
    site: str | None = None
    note: Annotated[Note, Field(max_length=500)] = ""
    installed_at: date | None = None
    lines: Annotated[list[DoorLine], Field(max_length=MOST_LINES)] = []
    """Crossing to a line's right-hand side, y down, is `in`. Empty: the device's own."""
    zone: Annotated[list[tuple[Ratio, Ratio]], Field(max_length=32)] = []
    """Corners of the part of the picture in which faces are followed; empty: everywhere."""
    sampling: SamplingPlan | None = None
    week: WeekText | None = None
    """Hours of its own, as a site's; null: the site's."""


class SiteAnswer(SiteForm):
    """A site, and how many doors it has."""

    slug: str
    doors: int
    version: str
    """Another after each change; for `If-Match`."""


class DoorAnswer(DoorForm):
    """A door's settings, and how far the newest word to it has come."""

    device: str
    stage: Stage
    reason: str
    """What the door says against a part that it refused."""
    number: int
    """Of the newest word to it; 0: it was never told anything."""
    version: str
    """Another after each change of what is set; for `If-Match`."""


class Saved(Answer):
    """The answer to a change."""

    saved: bool = True


class Sites:
    """What the pages and the API are told of sites and doors."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sites(self) -> list[SiteAnswer]:
        """All sites, by name."""
        with self._engine.connect() as connection:
            rows, doors = store.read_sites(connection), store.read_doors(connection)
        held = [row.site for row in doors]
        return [
            SiteAnswer(
                slug=row.slug, name=row.name, time_zone=row.time_zone, week=list(row.week), closed=list(row.closed),
                doors=held.count(row.slug), version=rules.version_of(row),
            )
            for row in rows
        ]  # fmt: skip

    def doors(self) -> list[DoorAnswer]:
        """All devices, by name, described or not."""
        with self._engine.connect() as connection:
            return [_answer(row) for row in store.read_doors(connection)]

    def door(self, device: str) -> DoorAnswer | None:
        """One device; None where it never spoke here."""
        with self._engine.connect() as connection:
            return next((_answer(row) for row in store.read_doors(connection, [device])), None)


def new_settings_api(engine: Engine, sites: Sites, *, clock: Callable[[], datetime]) -> APIRouter:
    """Sites and doors, to read and to change."""
    api = APIRouter(prefix="/api/v1", tags=["settings"])

    @api.get("/sites", summary="All sites with their clocks and opening hours")
    def read_sites() -> list[SiteAnswer]:
        return sites.sites()

    @api.put("/sites/{slug}", summary="Make or change a site; its doors are told")
    def write_site(
        slug: Slug, form: SiteForm, response: Response, if_match: Match = None, if_none_match: NoneMatch = None
    ) -> Saved:
        site = Site(slug, form.name, form.time_zone, tuple(form.week), tuple(form.closed))
        seen = rules.NOTHING if if_none_match else _version(if_match)
        return _done(lambda: _tag(response, rules.save_site(engine, site, clock(), seen=seen)))

    @api.delete("/sites/{slug}", summary="Remove a site that has no doors")
    def remove_site(slug: Slug) -> Saved:
        return _done(lambda: rules.remove_site(engine, slug), wrong=409)

    @api.get("/door-settings", summary="What is set for each door, and whether the door has taken it")
    def read_doors() -> list[DoorAnswer]:
        return sites.doors()

    @api.put("/door-settings/{device}", summary="Change a door's settings; it is told")
    def write_door(device: Device, form: DoorForm, response: Response, if_match: Match = None) -> Saved:
        settings, seen = _settings(form), _version(if_match)
        return _done(lambda: _tag(response, rules.save_door(engine, device, settings, clock(), seen=seen)))

    @api.delete("/door-settings/{device}", summary="Back to the device's own settings")
    def forget_door(device: Device) -> Saved:
        return _done(lambda: rules.forget_door(engine, device, clock()))

    return api


def _done(act: Callable[[], None], wrong: int = 422) -> Saved:
    try:
        act()
    except UnknownError as error:
        raise HTTPException(404, str(error)) from error
    except ChangedError as error:
        raise HTTPException(412, str(error)) from error
    except ContractError as error:
        raise HTTPException(wrong, str(error)) from error
    return Saved()


def _tag(response: Response, version: str) -> None:
    response.headers["ETag"] = f'"{version}"'


def _version(match: str | None) -> str | None:
    """What stands between the quotes, weakened by a proxy or not; `*` and nothing ask for none."""
    return match.removeprefix("W/").strip('"') if match and match != "*" else None


def _settings(form: DoorForm) -> DoorSettings:
    if form.zone and not form.lines:
        raise HTTPException(422, "a zone needs a line within it")
    plan = DoorPlan(lines=tuple(form.lines), zone=tuple(form.zone)) if form.lines else None
    return DoorSettings(
        title=form.title, site=form.site, note=form.note, installed_at=form.installed_at, plan=plan,
        sampling=form.sampling, week=tuple(form.week) if form.week is not None else None,
    )  # fmt: skip


def _answer(row: DoorRow) -> DoorAnswer:
    stage, reason = stage_of(row)
    plan = DoorPlan.from_parsed(row.plan) if row.plan else None
    return DoorAnswer(
        device=row.device, title=row.title, site=row.site, note=row.note, installed_at=row.installed_at,
        lines=list(plan.lines) if plan else [], zone=list(plan.zone) if plan else [],
        sampling=SamplingPlan.from_parsed(row.sampling) if row.sampling else None,
        week=list(row.week) if row.week else None, stage=stage, reason=reason, number=row.number,
        version=rules.version_of(row),
    )  # fmt: skip
