"""The switch of the language: what it sets, where it leads back to, and that no page trusts a text from outside."""

import re
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from cloud.fleet.alerts import RULES
from cloud.web.codes import ALERT_TITLES, ROLES
from cloud.web.pages import TEMPLATES
from cloud.web.roles import Role
from cloud.web.speaking import page_here
from tests.cloud.site_kit import served


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/doors?text=a%20b&state=silent", "/doors?text=a%20b&state=silent"),
        ("/welcome/abc_-", "/welcome/abc_-"),
        ("/audit?about=//x", "/audit?about=//x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/x//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/a\nSet-Cookie: x", "/"),
        ("/ä", "/"),
        ("", "/"),
        ("/" + "a" * 3_000, "/"),
    ],
)
def test_the_way_back_is_a_page_of_this_site(address: str, page: str) -> None:
    assert page_here(address) == page


def test_whoever_chooses_a_language_gets_it_from_then_on(engine: Engine, tmp_path: Path) -> None:
    with (
        served(engine, tmp_path) as site,
        httpx.Client(base_url=site.address, headers={"Origin": site.address.rstrip("/")}) as visitor,
    ):
        assert '<html lang="en">' in visitor.get("/sign-in").text
        assert '<html lang="de">' in visitor.get("/sign-in", headers={"Accept-Language": "de-AT"}).text
        answer = visitor.post("/language", data={"language": "de", "next": "/sign-in"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert {"HttpOnly", "SameSite=lax"} <= set(answer.headers["set-cookie"].split("; "))
        assert '<h1 id="title">Anmelden</h1>' in visitor.get("/sign-in").text
        assert visitor.post("/language", data={"language": "xx", "next": "/"}).status_code == 422
        other = {"Origin": "https://evil.example"}
        assert visitor.post("/language", data={"language": "de", "next": "/"}, headers=other).status_code == 403


def test_the_answer_to_a_form_leads_back_to_the_page_with_the_form(engine: Engine, tmp_path: Path) -> None:
    with served(engine, tmp_path) as site:
        got = site.client.get("/audit?who=Ada").text
        assert '<input type="hidden" name="next" value="/audit?who=Ada">' in got
        invited = site.client.post("/users/invite", data={"name": "Bo", "role": "viewer"}).text
        assert '<input type="hidden" name="next" value="/users">' in invited


def test_every_kind_of_alert_and_every_role_is_in_the_catalogue() -> None:
    assert {kind: rule.title for kind, rule in RULES.items()} == dict(ALERT_TITLES)
    assert set(ROLES) == {role.value for role in Role}


def test_only_texts_of_the_templates_themselves_are_taken_for_markup() -> None:
    """What `_()` gives is markup, so what comes from outside goes through `language.say`, which is escaped."""
    loose = [
        f"{path.name}: {found[0]}"
        for path in sorted(TEMPLATES.glob("*.html"))
        for found in re.finditer(r"(?<![\w.])_\((?!\").{0,40}", path.read_text())
    ]
    assert loose == []
