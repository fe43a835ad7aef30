"""Signing in by an identity provider: what it vouches for comes in, and what does not fit stays out."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.store import audit
from cloud.store.store import Store
from cloud.web.oidc import best_role
from cloud.web.roles import Role
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from contract.errors import ContractError
from rehearsal.processes import wait_until
from tests.cloud.people_kit import add_person, new_people
from tests.cloud.provider_kit import CLIENT, SECRET, Provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    served = Provider()
    yield served
    served.close()


class Site:
    """A site that knows the provider, and a browser."""

    def __init__(self, engine: Engine, folder: Path, provider: Provider) -> None:
        door = listen("127.0.0.1", 0)
        self.address, self.engine = f"http://127.0.0.1:{door.getsockname()[1]}", engine
        (folder / "secret").write_text(f"{SECRET}\n")
        values: dict[str, Any] = {
            "data": str(folder), "accounts.address": self.address, "oidc.issuer": provider.issuer, "oidc.client_id": CLIENT,
            "oidc.secret_file": str(folder / "secret"), "oidc.roles": {"staff": "labeller", "chiefs": "operator"},
        }  # fmt: skip
        self._server = WebServer(partial(new_site, Store(engine), CloudSettings.load(None, values)), door)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started, within_s=10, what="the site serving")
        self.browser = httpx.Client(base_url=self.address, headers={"Accept": "text/html"}, timeout=20)

    def out(self, **query: str) -> str:
        """To the provider; the address to which it sends back."""
        answer = self.browser.get("/sign-in/oidc", params=query)
        assert answer.status_code == 303, answer.text
        return httpx.get(answer.headers["location"]).headers["location"]

    def sign_in(self, **query: str) -> httpx.Response:
        return self.browser.get(self.out(**query))

    def me(self) -> Any:
        return self.browser.get("/api/v1/me").json()

    def close(self) -> None:
        self.browser.close()
        self._server.stop()
        self._thread.join(10)


@pytest.fixture
def site(engine: Engine, tmp_path: Path, provider: Provider) -> Iterator[Site]:
    served = Site(engine, tmp_path, provider)
    yield served
    served.close()


def refused(site: Site, answer: httpx.Response, status: int = 403) -> str:
    assert answer.status_code == status, answer.text
    assert site.browser.get("/api/v1/me").status_code == 401
    assert new_people(site.engine).accounts() == []
    return answer.text


def test_who_is_vouched_for_gets_an_account_once_with_the_role_of_today(site: Site, provider: Provider) -> None:
    answer = site.sign_in(next="/fleet")
    assert (answer.status_code, answer.headers["location"]) == (303, "/fleet")
    assert (site.me()["name"], site.me()["role"]) == ("Zoë", "labeller")
    provider.claims |= {"groups": ["staff", "chiefs", "others"], "preferred_username": "Zoë the Second"}
    site.sign_in()
    assert (site.me()["name"], site.me()["role"]) == ("Zoë", "operator")
    (account,) = new_people(site.engine).accounts()
    assert (account.password, account.subject) == (None, f"{provider.issuer} 248289761001")
    with site.engine.connect() as connection:
        told = [one.what for one in reversed(audit.read(connection))]
    assert told == ["account made", "signed in", "role changed by provider", "signed in"]


def test_the_way_out_asks_for_a_code_with_pkce_state_and_nonce(site: Site) -> None:
    answer = site.browser.get("/sign-in/oidc")
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (asked["response_type"], asked["code_challenge_method"]) == (["code"], ["S256"])
    assert asked["redirect_uri"] == [f"{site.address}/sign-in/oidc/back"]
    values = [asked[name][0] for name in ("state", "nonce", "code_challenge")]
    assert all(len(one) >= 43 for one in values)
    assert len(set(values)) == 3
    trip = answer.headers["set-cookie"]
    assert [one in trip for one in ("HttpOnly", "SameSite=lax", "Max-Age=600")] == [True] * 3
    assert asked["code_challenge"][0] not in trip
    assert "Sign in with your organisation" in site.browser.get("/sign-in").text


@pytest.mark.parametrize(
    "twist",
    [
        {"nonce": "another"}, {"nonce": None}, {"aud": "another-site"}, {"aud": None}, {"aud": []},
        {"aud": [CLIENT, "another-site"]}, {"aud": [CLIENT, "another-site"], "azp": "another-site"},
        {"iss": "https://elsewhere.example"}, {"iss": None}, {"exp": timedelta(minutes=-10)}, {"exp": None},
        {"exp": "soon"}, {"iat": timedelta(minutes=100)}, {"nbf": timedelta(minutes=100)},
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256}, {"sub": "a\x00b"},
        {"groups": None}, {"groups": []}, {"groups": ["others"]}, {"groups": {"staff": True}}, {"groups": [["staff"]]},
        {"groups": "Staff"}, {"preferred_username": None}, {"preferred_username": "<b>"}, {"preferred_username": ["Ada"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_word_that_does_not_fit_lets_nobody_in(site: Site, provider: Provider, twist: dict[str, Any]) -> None:
    now = time.time()
    provider.twist = {
        name: int(now + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in twist.items()
    }
    refused(site, site.sign_in())


def test_a_token_that_another_key_signed_lets_nobody_in(site: Site, provider: Provider) -> None:
    provider.forged = True
    assert "cannot be believed" in refused(site, site.sign_in())


def test_a_token_of_an_algorithm_that_is_not_expected_lets_nobody_in(site: Site, provider: Provider) -> None:
    provider.algorithm = "RS512"
    refused(site, site.sign_in())


def test_a_way_back_that_did_not_begin_in_this_browser_lets_nobody_in(site: Site) -> None:
    back = site.out()
    site.browser.cookies.clear()
    assert "begin again" in refused(site, site.browser.get(back))  # somebody else's link
    for change in (
        {"state": "x" * 43},
        {"state": ""},
        {"state": "\u00e9"},
        {"code": ""},
        {"code": "x" * 5000},
        {"code": "guessed"},
    ):
        query = {key: values[0] for key, values in parse_qs(urlsplit(site.out()).query).items()}
        refused(site, site.browser.get("/sign-in/oidc/back", params={**query, **change}))
    refused(site, site.browser.get("/sign-in/oidc/back", params={"error": "access_denied"}))


def test_a_code_works_once(site: Site) -> None:
    back = site.out()
    trip = dict(site.browser.cookies)
    assert site.browser.get(back).status_code == 303
    again = httpx.get(back, cookies=trip)
    assert again.status_code == 403
    assert "set-cookie" not in again.headers


def test_a_provider_that_is_away_or_calls_itself_something_else_is_said_so(site: Site, provider: Provider) -> None:
    provider.name = "https://elsewhere.example"
    answer = site.browser.get("/sign-in/oidc")
    assert (answer.status_code, "oidc.issuer" in answer.text) == (503, True)
    provider.name = ""
    back = site.out()
    provider.close()
    assert "does not answer" in refused(site, site.browser.get(back), 503)
    assert site.browser.get("/sign-in/oidc").status_code == 503


def test_a_provider_cannot_take_over_an_account_by_its_name_nor_bring_a_disabled_one_back(
    site: Site, provider: Provider
) -> None:
    add_person(site.engine, "ZOË", Role.ADMIN)
    taken = site.sign_in()
    assert (taken.status_code, "nother account" in taken.text) == (403, True)
    provider.twist = {"preferred_username": "Zora"}
    assert site.sign_in().status_code == 303
    new_people(site.engine).disable("Zora", "a test", new_people(site.engine).accounts()[0].made_at)
    site.browser.cookies.clear()
    assert "disabled" in site.sign_in().text
    assert site.browser.get("/api/v1/me").status_code == 401


def test_the_highest_role_counts_and_none_is_a_refusal() -> None:
    roles = {"a": "viewer", "b": "admin", "c": "operator"}
    assert best_role(frozenset("abc"), roles) is Role.ADMIN
    assert best_role(frozenset("ax"), roles) is Role.VIEWER
    with pytest.raises(ContractError, match="not given you a role"):
        best_role(frozenset("x"), roles)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"oidc.issuer": "http://idp.example"}, "write the issuer"),
        ({"oidc.issuer": "https://idp.example"}, "accounts.address"),
        ({"accounts.address": "http://cloud.example.org"}, "write the site's address"),
        ({"accounts.address": "https://cloud.example.org/path"}, "write the site's address"),
        ({"oidc.roles": {"a": "emperor"}}, "roles"),
    ],
)
def test_settings_that_would_not_be_safe_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        CloudSettings.load(None, values)
