"""Signing in over HTTP: forms, cookies, links, other people, and what is refused."""

import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select

from cloud.config import CloudSettings
from cloud.store import accounts as store
from cloud.store import audit
from cloud.store.blobs import BlobFolder
from cloud.store.schema import labels
from cloud.store.store import Store
from cloud.web.cookies import PLAIN, SECURE
from cloud.web.headers import ONLY_HTTPS
from cloud.web.roles import Role, Scope
from cloud.web.server import WebServer, listen
from cloud.web.signing import local
from cloud.web.site import new_site
from rehearsal.processes import wait_until
from tests.cloud.crop_kit import store_rows
from tests.cloud.people_kit import PASSWORD, add_person, machine_headers, new_people, session_token, signed_in
from tests.cloud.test_labelling import crop

NOW = datetime.now(UTC)


class Site:
    """A served site, and a browser that keeps cookies, sends its origin and follows no redirect by itself."""

    def __init__(self, engine: Engine, folder: Path, door: socket.socket) -> None:
        self.engine = engine
        self.address = f"http://127.0.0.1:{door.getsockname()[1]}"
        settings = CloudSettings.load(None, {"data": str(folder)})
        self.server = WebServer(partial(new_site, Store(engine), settings), door)
        self.browser = httpx.Client(base_url=self.address, headers={"Origin": self.address, "Accept": "text/html"})

    def sign_in(self, name: str = "Ada", password: str = PASSWORD, **query: str) -> httpx.Response:
        return self.browser.post("/sign-in", params=query, data={"name": name, "password": password})

    def enter(self) -> store.Account:
        """Signed in as Ada, an admin, without the form."""
        self.browser.cookies.set(PLAIN, session_token(self.engine))
        with self.engine.connect() as connection:
            ada = store.by_key(connection, "ada")
        assert ada is not None
        return ada

    def csrf(self) -> str:
        found = re.search(r'name="csrf" content="(\w{64})"', self.browser.get("/account").text)
        assert found is not None
        return found[1]

    def send(self, path: str, **fields: str) -> httpx.Response:
        return self.browser.post(path, data={"csrf": self.csrf(), **fields})

    def log(self) -> list[tuple[str, str, str]]:
        with self.engine.connect() as connection:
            return [(one.who, one.what, one.about) for one in reversed(audit.read(connection))]


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    served = Site(engine, tmp_path, listen("127.0.0.1", 0))
    thread = threading.Thread(target=served.server.run)
    thread.start()
    wait_until(lambda: served.server.started, within_s=10, what="the site serving")
    yield served
    served.browser.close()
    served.server.stop()
    thread.join(10)


def test_the_first_link_makes_an_admin_who_invites_another_person(site: Site) -> None:
    token = new_people(site.engine).first_link(NOW)
    page = site.browser.get(f"/welcome/{token}")
    assert (page.status_code, "with the role <strong>admin</strong>" in page.text) == (200, True)
    fields = {"name": "Ada", "password": PASSWORD, "again": PASSWORD}
    refused = site.browser.post(f"/welcome/{token}", data={**fields, "again": "another one, really"})
    assert (refused.status_code, "differ" in refused.text) == (422, True)
    assert site.browser.post(f"/welcome/{token}", data=fields).headers["location"] == "/"
    assert site.browser.get(f"/welcome/{token}").status_code == 404
    made = site.send("/users/invite", name="Bob", role="labeller")
    assert made.status_code == 201
    link = re.search(rf'<code id="link">{site.address}(/welcome/[\w-]+)</code>', made.text)
    assert link is not None
    assert "Bob" in site.browser.get("/users").text
    with httpx.Client(base_url=site.address, headers={"Origin": site.address}) as bob:
        bob.post(link[1], data={"password": PASSWORD, "again": PASSWORD})
        assert bob.get("/api/v1/me").json()["role"] == "labeller"
        assert bob.get("/users").status_code == 403
    assert [what for _, what, _ in site.log()] == [
        "invited", "account made", "signed in", "invited", "account made", "signed in",
    ]  # fmt: skip


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_do_not_get(site: Site) -> None:
    add_person(site.engine)
    answer = site.sign_in(next="/fleet")
    assert (answer.status_code, answer.headers["location"]) == (303, "/fleet")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{PLAIN}=")
    assert [one in cookie for one in ("HttpOnly", "SameSite=lax", "Path=/", "Secure", "Domain")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    out = site.send("/sign-out")
    assert (out.headers["location"], out.headers["clear-site-data"]) == ("/sign-in", '"cache", "storage"')
    assert site.browser.get("/fleet").headers["location"] == "/sign-in?next=/fleet"


def test_over_https_the_cookie_is_bound_to_this_host_and_https_stays(site: Site) -> None:
    add_person(site.engine)
    proxied = {"X-Forwarded-Proto": "https", "Host": "cloud.example.org", "Origin": "https://cloud.example.org"}
    answer = httpx.post(f"{site.address}/sign-in", headers=proxied, data={"name": "Ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{SECURE}=")
    assert [one in cookie for one in ("Secure", "HttpOnly", "Path=/", "Domain")] == [True, True, True, False]
    assert answer.headers[ONLY_HTTPS[0]] == ONLY_HTTPS[1]
    assert ONLY_HTTPS[0] not in site.browser.get("/sign-in").headers
    token = cookie.split(";")[0]
    for scheme, status in (("https", 200), ("http", 401)):
        headers = {**proxied, "X-Forwarded-Proto": scheme, "Cookie": token}
        assert httpx.get(f"{site.address}/api/v1/me", headers=headers).status_code == status


def test_a_password_does_not_travel_in_the_clear_from_another_machine(site: Site) -> None:
    add_person(site.engine)
    for host in ("cloud.example.org", "192.168.1.5:8000", "[::1", "localhost.example.org"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        answer = httpx.post(f"{site.address}/sign-in", headers=headers, data={"name": "Ada", "password": PASSWORD})
        assert answer.status_code == 403, host
        assert "set-cookie" not in answer.headers
    assert "https" in httpx.get(f"{site.address}/sign-in", headers={"Host": "cloud.example.org"}).text
    assert 'type="password"' not in httpx.get(f"{site.address}/sign-in", headers={"Host": "cloud.example.org"}).text


def test_who_mistypes_too_often_is_told_how_long_to_wait(site: Site) -> None:
    add_person(site.engine)
    answers = [site.sign_in(password="not it, not it") for _ in range(6)]
    assert [one.status_code for one in answers] == [403] * 5 + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
    assert "your account is not locked" in answers[-1].text


def test_another_sites_page_changes_nothing(site: Site) -> None:
    site.enter()
    fields = {"csrf": site.csrf(), "name": "Ada", "password": PASSWORD, "role": "admin"}
    origins = ("https://elsewhere.example", "null", "", "http://[::1", f"{site.address}.elsewhere.example")
    for path in ("/sign-in", "/account/password", "/users/invite", "/sign-out", "/account/sessions/end"):
        for headers in (*({"Origin": one} for one in origins), {"Sec-Fetch-Site": "same-site"}):
            assert site.browser.post(path, data=fields, headers=headers).status_code == 403, (path, headers)


def test_a_form_without_the_sessions_token_or_with_anothers_is_refused(site: Site) -> None:
    site.enter()
    for data in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "\u00e9"}):
        answer = site.browser.post("/users/invite", data={"role": "admin", **data})
        assert (answer.status_code, answer.headers.get("x-stale-token")) == (403, None), data
        assert "no longer current" in answer.text
    plain = site.browser.post("/users/invite", content=b'{"csrf": "x"}', headers={"Content-Type": "application/json"})
    assert plain.status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"name=%ff&password=%fe", 422), (b"\xff\xfe=1", 422), (b"name=%00&password=x", 422), (b"a" * 70_000, 413),
        (b"&".join(b"a%d=1" % one for one in range(99)), 422), (b"", 403), (b"name=Ada", 403), (b"name=Ada&name=Bob", 403),
        (b"name=" + b"%F0%9F%98%80" * 900 + b"&password=x", 403),
    ],
)  # fmt: skip
def test_a_form_that_no_browser_sends_is_a_plain_refusal(site: Site, body: bytes, status: int) -> None:
    add_person(site.engine)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.browser.post("/sign-in", content=body, headers=form).status_code == status
    assert site.browser.post("/sign-in", content=body).status_code == 415


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/users/invite", {"name": "<script>", "role": "viewer"}), ("/users/invite", {"role": "emperor"}),
        ("/users/invite", {"name": "ADA", "role": "viewer"}), ("/users/nobody/role", {"role": "viewer"}),
        ("/users/018bcfe5-6800-7000-8000-000000000001/role", {"role": "viewer"}),
        ("/users/018bcfe5-6800-7000-8000-000000000001/reset", {}), ("/account/password", {"old": "x", "password": "short"}),
    ],
)  # fmt: skip
def test_what_an_admin_cannot_mean_is_refused(site: Site, path: str, fields: dict[str, str]) -> None:
    site.enter()
    assert site.send(path, **fields).status_code == 422


def test_the_audit_page_shows_filters_and_pages_the_log_and_hostile_questions_do_no_harm(site: Site) -> None:
    site.enter()
    with site.engine.begin() as connection:
        for number in range(60):
            audit.write(connection, NOW, "person <b>Eve", "picture", f"crop {number}")
    page = site.browser.get("/audit", params={"what": "picture"}).text
    assert "person &lt;b&gt;Eve" in page
    assert "crop 59" in page
    assert "crop 9<" not in page
    older = re.search(r'href="(/audit\?[^"]+before=\d+)"', page)
    assert older is not None
    assert "crop 9<" in site.browser.get(older[1].replace("&amp;", "&")).text
    for query in ({"before": "0"}, {"before": "x"}, {"before": str(2**70)}, {"who": "\x00"}, {"who": "x" * 81}):
        assert site.browser.get("/audit", params=query).status_code == 422, query
    assert site.browser.get("/audit", params={"who": "%_'\";--"}).status_code == 200


def give(client: httpx.Client, number: int, **more: Any) -> httpx.Response:
    body = {"id": f"018bcfe5-6800-7000-8000-{number:012d}", "crop": str(crop(number).id), "answer": "with_mask", **more}
    return client.post("/api/v1/labels", json=body)


def test_a_label_bears_the_name_of_who_is_signed_in_whatever_the_page_sends(site: Site) -> None:
    store_rows(site.engine, [(crop(number), bytes([number])) for number in (1, 2, 3)], NOW)
    with signed_in(site.engine, site.address, Role.LABELLER) as person:
        assert give(person, 1, labeller="Somebody Else").status_code == 201
    machine = machine_headers(site.engine, Scope.LABELS, name="oracle")
    with httpx.Client(base_url=site.address, headers=machine) as client:
        assert give(client, 2, labeller="drawn truth").status_code == 201
        assert give(client, 3).status_code == 201
    with site.engine.connect() as connection:
        names = connection.execute(select(labels.c.labeller).order_by(labels.c.crop)).scalars().all()
    assert names == ["Labeller", "drawn truth", "oracle"]
    told = [(who, what, about) for who, what, about in site.log() if what == "label"]
    assert told == [
        ("person Labeller", "label", str(crop(1).id)), ("machine oracle", "label", str(crop(2).id)),
        ("machine oracle", "label", str(crop(3).id)),
    ]  # fmt: skip


def test_each_picture_that_is_served_is_a_row_of_the_log_and_stays_on_no_disk(site: Site, tmp_path: Path) -> None:
    digest = BlobFolder(tmp_path / "blobs").put(b"\xff\xd8 a picture")
    path = f"/api/v1/crops/{digest}.jpg"
    assert httpx.get(f"{site.address}{path}").status_code == 401
    with signed_in(site.engine, site.address, Role.VIEWER) as viewer:
        assert viewer.get(path).status_code == 403
    with signed_in(site.engine, site.address, Role.LABELLER) as person:
        answers = [person.get(path) for _ in range(2)]
        assert person.get(f"/api/v1/crops/{'0' * 64}.jpg").status_code == 404
    assert [one.headers["cache-control"] for one in answers] == ["no-store"] * 2
    assert [row for row in site.log() if row[1] == "picture"] == [("person Labeller", "picture", digest)] * 2


def test_no_picture_leaves_where_the_log_cannot_be_written(site: Site, tmp_path: Path) -> None:
    digest = BlobFolder(tmp_path / "blobs").put(b"\xff\xd8 a picture")
    with signed_in(site.engine, site.address, Role.LABELLER) as person:
        with site.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE audit RENAME TO elsewhere")
        answer = person.get(f"/api/v1/crops/{digest}.jpg")
    assert (answer.status_code, b"picture" in answer.content) == (503, False)


def test_answers_about_people_and_doors_are_kept_by_no_cache(site: Site) -> None:
    site.enter()
    for path in ("/", "/account", "/users", "/audit", "/api/v1/doors", "/api/v1/me", "/api/v1/openapi.json"):
        assert site.browser.get(path).headers["cache-control"] == "no-store", path


@pytest.mark.parametrize(
    "body", [b'{"id": NaN}', b"\xff\xfe", b"[" * 20_000, b'{"a":' * 5_000, b'{"id": 1e999}', b"null", b'"\\ud800"', b""]
)
def test_a_body_that_is_no_answer_is_a_plain_refusal(site: Site, body: bytes) -> None:
    site.enter()
    for path in ("/api/v1/labels", "/api/v1/labels/undo", "/api/v1/jobs"):
        for kind in ("application/json", "text/plain"):
            headers = {"Content-Type": kind, "X-CSRF-Token": site.csrf()}
            assert 400 <= site.browser.post(path, content=body, headers=headers).status_code < 500, (path, kind)


@pytest.mark.parametrize(
    ("goal", "kept"),
    [
        ("/fleet", "/fleet"), ("", "/"), ("//evil.example", "/"), ("/\\evil.example", "/"), ("https://evil.example", "/"),
        ("/%2f/evil", "/"), ("/fleet?x=1", "/"), ("javascript:alert(1)", "/"), ("/a\r\nSet-Cookie: x", "/"),
    ],
)  # fmt: skip
def test_after_signing_in_one_goes_to_this_site_only(goal: str, kept: str) -> None:
    assert local(goal) == kept


def test_disabling_and_roles_on_the_page_work_at_once_and_spare_the_last_admin(site: Site) -> None:
    ada = site.enter()
    bob = add_person(site.engine, "Bob", Role.VIEWER)
    with signed_in(site.engine, site.address, Role.VIEWER) as viewer:
        (third,) = [one for one in new_people(site.engine).accounts() if one.name == "Viewer"]
        assert "is operator now" in site.send(f"/users/{third.id}/role", role="operator").text
        assert viewer.get("/api/v1/me").json()["role"] == "operator"
        assert "cannot sign in any more" in site.send(f"/users/{third.id}/disable").text
        assert viewer.get("/api/v1/me").status_code == 401
    for path, fields in ((f"/users/{ada.id}/disable", {}), (f"/users/{ada.id}/role", {"role": "viewer"})):
        refused = site.send(path, **fields)
        assert (refused.status_code, "last admin" in refused.text) == (422, True)
    assert site.send(f"/users/{bob.id}/reset").status_code == 201
    links = re.findall(r'name="link" value="(\w{64})"', site.browser.get("/users").text)
    assert len(links) == 1
    assert site.send("/users/links/end", link=links[0]).status_code == 303
    assert 'name="link"' not in site.browser.get("/users").text
