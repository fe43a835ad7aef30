"""Every route against everybody who may knock: what the table does not say, nobody may."""

import asyncio
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
from fastapi import Depends, FastAPI, Response
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.fleet.keys import make_keys
from cloud.store.database import migrate, open_database
from cloud.store.store import Store
from cloud.web.access import ROUTES
from cloud.web.gate import Gate, require_same_line
from cloud.web.roles import Access, Machine, Role, Scope, Verdict, find, judge
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from rehearsal.processes import wait_until
from tests.cloud.people_kit import machine_headers, person_headers

HOW_TO_MEND = 'add a line to ROUTES in cloud/web/access.py, for example: "{}": _for(VIEWER, READ),'
EXAMPLES = {"{release}": "1", "{verb}": "pause", "{name}": "x", "{digest}": "a" * 64, "{token}": "a" * 43}
AN_ID = "018bcfe5-6800-7000-8000-000000000001"


def every_route(routes: list[Any], prefix: str = "") -> Iterator[str]:
    """`METHOD /path` of every route of the site, of included routers and mounts too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from every_route(inner.routes, prefix)
        elif getattr(route, "methods", None):
            yield from (f"{method} {prefix}{route.path}" for method in sorted(route.methods - {"HEAD"}))
        else:
            yield f"GET {prefix}{route.path}/"


def a_site(engine: Engine, folder: Path, **settings: str) -> FastAPI:
    return new_site(Store(engine), CloudSettings.load(None, {"data": str(folder), **settings}), threading.Event())


class Served:
    """A site, and one visitor of each kind."""

    def __init__(self, folder: Path, door: socket.socket, **settings: str) -> None:
        self.engine = open_database(f"sqlite:///{folder / 'a.sqlite'}")
        migrate(self.engine)
        make_keys(folder / "releases", datetime.now(UTC))
        self.address = f"http://127.0.0.1:{door.getsockname()[1]}"
        chosen = CloudSettings.load(None, {"data": str(folder), **settings})
        self.server = WebServer(partial(new_site, Store(self.engine), chosen), door)
        self.visitors: dict[Role | Scope | None, dict[str, str]] = {None: {}}
        for role in Role:
            self.visitors[role] = person_headers(self.engine, self.address, role.value, role)
        for scope in Scope:
            self.visitors[scope] = machine_headers(self.engine, scope, name=scope.value)
        self.client = httpx.Client(base_url=self.address, timeout=30)

    def ask(self, line: str, visitor: Role | Scope | None) -> httpx.Response:
        method, path = line.split(" ")
        for name, example in EXAMPLES.items():
            path = path.replace(name, example)
        path = re.sub(r"\{\w+\}", AN_ID, path) + ("page.css" if path == "/static/" else "")
        with self.client.stream(method, path, headers=self.visitors[visitor]) as answer:
            if not (line == "GET /api/v1/live" and answer.status_code == 200):  # that one does not end
                answer.read()
        return answer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("site"))


def serve(folder: Path, **settings: str) -> Iterator[Served]:
    site = Served(folder, listen("127.0.0.1", 0), **settings)
    thread = threading.Thread(target=site.server.run)
    thread.start()
    wait_until(lambda: site.server.started, within_s=10, what="the site serving")
    yield site
    site.client.close()
    site.server.stop()
    thread.join(10)
    site.engine.dispose()


def test_every_route_has_a_line_and_every_line_a_route(engine: Engine, tmp_path: Path) -> None:
    routes = set(every_route(a_site(engine, tmp_path).router.routes))
    missing = sorted(routes - set(ROUTES))
    assert missing == [], "\n".join(HOW_TO_MEND.format(line) for line in missing)
    assert sorted(set(ROUTES) - routes) == [], "take these lines out of ROUTES in cloud/web/access.py: no such route"


def statuses(app: FastAPI, served: Served, visitor: Role | Scope | None, *paths: str) -> list[int]:
    """What a site in this process answers."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=transport, base_url=served.address) as client:
            return [(await client.get(path, headers=served.visitors[visitor])).status_code for path in paths]

    return asyncio.run(ask())


def visitors() -> list[Role | Scope | None]:
    return [None, *Role, *Scope]


@pytest.mark.parametrize("visitor", visitors(), ids=lambda one: f"{type(one).__name__}-{one}")
@pytest.mark.parametrize("line", sorted(ROUTES))
def test_each_route_lets_in_whom_the_table_says_and_nobody_else(
    served: Served, line: str, visitor: Role | Scope | None
) -> None:
    answer = served.ask(line, visitor)
    if line == "POST /sign-out" and isinstance(visitor, Role):
        served.visitors[visitor] = person_headers(served.engine, served.address, visitor.value, visitor)
    access = ROUTES[line]
    if access.public:
        refused = (401, 403) if line.startswith("GET") else (401,)  # a form without Origin is nobody's
        assert answer.status_code not in refused, answer.text
        return
    if isinstance(visitor, Role):
        allowed = access.role is not None and list(Role).index(visitor) >= list(Role).index(access.role)
    else:
        allowed = visitor in access.scopes
    if allowed:
        assert answer.status_code < 500, answer.text
        assert answer.status_code not in (401, 403), answer.text
    else:
        assert answer.status_code == (401 if visitor is None else 403), answer.text
        assert set(answer.json()) == {"detail"}


def test_a_route_without_a_line_is_refused_whoever_asks_and_whatever_it_is(served: Served) -> None:
    assert find(ROUTES, "GET", "/secret") is None
    app = a_site(served.engine, Path("unused"))

    @app.get("/secret")
    def secret() -> str:
        return "told"

    app.mount("/files", FastAPI())
    assert statuses(app, served, Role.ADMIN, "/secret", "/files/docs", "/healthz", "/nowhere") == [403, 403, 200, 404]


def test_a_route_that_the_router_chose_and_the_gate_did_not_is_refused(served: Served) -> None:
    app = FastAPI(dependencies=[Depends(require_same_line)])

    @app.get("/{kind}/b")
    def guarded(kind: str) -> str:
        return kind

    @app.get("/a/{name}")
    def free(name: str) -> str:
        return name

    table = {"GET /a/{name}": Access(public=True), "GET /{kind}/b": Access(Role.ADMIN)}
    app.add_middleware(
        Gate, table=table, routes=app.router.routes, engine=served.engine, clock=lambda: datetime.now(UTC),
        person=lambda _: None, machine=lambda _: None, public_counts=False,
        refusal=lambda status, words: Response(words, status), away=lambda _: Response(status_code=503),
    )  # fmt: skip
    assert statuses(app, served, None, "/a/c", "/c/b", "/a/b") == [200, 401, 403]


def test_odd_spellings_of_a_path_open_nothing(served: Served) -> None:
    for path in (
        "/static",
        "/static//etc",
        "/static/%2e%2e/%2e%2e/site.py",
        "//fleet",
        "/fleet%2F",
        "/FLEET",
        "/users/a/b/role",
    ):
        assert served.client.get(path, headers={"Accept": "text/html"}).status_code in (303, 307, 400, 401, 404), path


def test_without_the_setting_counts_are_for_those_who_signed_in_and_with_it_for_all(tmp_path: Path) -> None:
    for open_, status in (("false", 401), ("true", 200)):
        folder = tmp_path / open_
        folder.mkdir()
        for site in serve(folder, **{"accounts.public_counts": open_}):
            for path in ("/", "/api/v1/doors", "/api/v1/counts"):
                assert site.client.get(path).status_code == status, path
            for path in ("/fleet", "/api/v1/quarantine", "/api/v1/jobs", "/api/v1/labels/next", "/users"):
                assert site.client.get(path).status_code == 401, path
            page = site.client.get("/", headers={"Accept": "text/html"})
            assert (page.status_code, "/sign-in" in page.text or "/sign-in" in page.headers["location"]) == (
                (200 if status == 200 else 303), True,
            )  # fmt: skip


def test_the_rule_is_a_table_of_roles_and_scopes() -> None:
    page, machines = Access(Role.OPERATOR, frozenset({Scope.READ})), Access(None, frozenset({Scope.TRAINER}))
    trainer, reader = (Machine("box", frozenset({scope})) for scope in (Scope.TRAINER, Scope.READ))
    for access, who, verdict in (
        (page, None, Verdict.WHO_ARE_YOU), (page, reader, Verdict.COME_IN), (page, trainer, Verdict.NOT_YOU),
        (machines, trainer, Verdict.COME_IN), (machines, reader, Verdict.NOT_YOU),
        (Access(public=True), None, Verdict.COME_IN), (Access(), trainer, Verdict.NOT_YOU),
    ):  # fmt: skip
        assert judge(access, who) is verdict
    assert judge(Access(Role.VIEWER, counts=True), None, public_counts=True) is Verdict.COME_IN
    assert judge(Access(Role.VIEWER, counts=True), None) is Verdict.WHO_ARE_YOU
