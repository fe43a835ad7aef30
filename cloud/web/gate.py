"""The gate before every route: who asks, whether they may, whether their own page sent it, and the log of it."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from hmac import compare_digest
from urllib.parse import quote, urlsplit

from fastapi import HTTPException, Request
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.store import audit
from cloud.store.database import reason
from cloud.web import asking
from cloud.web.asking import Asking
from cloud.web.cookies import LANGUAGE, session_token
from cloud.web.forms import again, bounded, is_form, parse_form, read_body
from cloud.web.language import N_, choose
from cloud.web.roles import Access, Machine, Person, Role, Verdict, Who, find, judge

log = logging.getLogger("cloud.web")
SAFE = ("GET", "HEAD", "OPTIONS")
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="maskfleet"'}
NEEDED = {
    Role.VIEWER: N_("that needs the role viewer"),
    Role.LABELLER: N_("that needs the role labeller"),
    Role.OPERATOR: N_("that needs the role operator"),
    Role.ADMIN: N_("that needs the role admin"),
}
STALE = N_("this page is no longer current: load it again, and try once more")
BRINGS_FILES = ("PUT /api/v1/releases/", "POST /api/v1/releases/")
NOT_LISTED = "no line in cloud/web/access.py says who may do that, so nobody may"


class RefusedError(Exception):
    """The request ends here, with this status and these words."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, dict(headers or {})


class Gate:
    """ASGI middleware around the whole site."""

    def __init__(
        self, app: ASGIApp, *, table: Mapping[str, Access], routes: list[BaseRoute], engine: Engine,
        person: Callable[[str], Person | None], machine: Callable[[str], Machine | None], public_counts: bool,
        clock: Callable[[], datetime], refusal: Callable[[int, str], Response], away: Callable[[Request], Response],
    ) -> None:  # fmt: skip
        self._app, self._table, self._routes, self._engine, self._clock = app, table, routes, engine, clock
        self._person, self._machine, self._public_counts = person, machine, public_counts
        self._refusal, self._away = refusal, away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no websockets here
        request = Request(scope)
        try:
            now, receive = await self._admit(request, receive)
        except RefusedError as refused:
            await self._refuse(request, refused)(scope, receive, send)
        except SQLAlchemyError as error:
            log.warning("%s %s: the database is away (%s)", scope["method"], scope["path"], reason(error))
            asking.begin(self._asking(request))
            await self._away(request)(scope, receive, send)
        else:
            most = receive if now.line.startswith(BRINGS_FILES) else bounded(receive)
            await self._answer(now, request, most, send)

    async def _admit(self, request: Request, receive: Receive) -> tuple[Asking, Receive]:
        """Who asks, and the body to read. Raises RefusedError, SQLAlchemyError."""
        scope = request.scope
        found = find(self._table, scope["method"], scope["path"])
        if found is None:
            if any(route.matches(scope)[0] is Match.FULL for route in self._routes):
                asking.begin(self._asking(request))
                log.error("%s %s: %s", scope["method"], scope["path"], NOT_LISTED)
                raise RefusedError(403, NOT_LISTED)
            now = self._asking(request)
            asking.begin(now)
            return now, receive  # there is no such address: the router says so
        line, access = found
        now = self._asking(request, line)
        asking.begin(now)
        if access.public:
            if scope["method"] not in SAFE:
                _require_own_origin(request)  # there is no session whose token it could carry
            return now, receive
        now.who = await run_in_threadpool(self._identify, request)
        verdict = judge(access, now.who, public_counts=self._public_counts)
        if verdict is Verdict.WHO_ARE_YOU:
            raise RefusedError(401, "sign in, or send a machine's token: Authorization: Bearer ...", CHALLENGE)
        if verdict is Verdict.NOT_YOU:
            raise RefusedError(403, _not_you(now.who, access))
        if isinstance(now.who, Person) and scope["method"] not in SAFE:
            _require_own_origin(request)
            receive = await _require_token(request, now.who.csrf, receive)
        return now, receive

    def _asking(self, request: Request, line: str = "") -> Asking:
        """A request of nobody yet, in the language that its browser asks for."""
        spoken = choose(request.headers.get("accept-language", ""), request.cookies.get(LANGUAGE, ""))
        path, query = request.url.path, request.url.query
        if (
            request.method not in SAFE
        ):  # where a form's answer is looked at, the page of the same address is, if there is one
            path, query = (path if find(self._table, "GET", path) else ""), ""
        return Asking(line=line, language=spoken, address=f"{path}?{query}" if query else path)

    def _identify(self, request: Request) -> Who:
        given = request.headers.get("authorization")
        if given is not None:
            machine = self._machine(given)
            if machine is None:
                raise RefusedError(401, "this token is unknown, was revoked or has ended", CHALLENGE)
            return machine
        token = session_token(request.scope)
        return None if token is None else self._person(token)

    async def _answer(self, now: Asking, request: Request, receive: Receive, send: Send) -> None:
        access = self._table.get(now.line)
        kept = True if access is None or not access.audit else None  # None: the log does not have it yet
        silent = False

        async def tell(message: Message) -> None:
            nonlocal kept, silent
            if message["type"] == "http.response.start":
                if kept is None and message["status"] < 400:
                    kept = await run_in_threadpool(self._keep, now, access.audit if access else "", request)
                    if not kept:
                        silent = True
                        await self._away(request)(request.scope, receive, send)
                if access is not None and not access.public:
                    MutableHeaders(scope=message).setdefault("cache-control", "no-store")
            if not silent:
                await send(message)

        await self._app(request.scope, receive, tell)

    def _refuse(self, request: Request, refused: RefusedError) -> Response:
        if not wants_page(request):
            return JSONResponse({"detail": refused.words}, refused.status, refused.headers)
        if refused.status == 401:
            here = f"?next={quote(request.url.path)}" if request.method == "GET" and request.url.path != "/" else ""
            return RedirectResponse(f"/sign-in{here}", 303, headers={"Cache-Control": "no-store"})
        return self._refusal(refused.status, refused.words)

    def _keep(self, now: Asking, what: str, request: Request) -> bool:
        """Whether the log has it: no answer leaves before."""
        about = request.url.path if now.about is None else now.about
        who = now.who.label if now.who else "nobody"
        try:
            with self._engine.begin() as connection:
                audit.write(connection, self._clock(), who, what, about, **now.detail)
        except SQLAlchemyError as error:
            log.warning("%s: the audit log cannot be written (%s)", now.line, reason(error))
            return False
        return True


def require_same_line(request: Request) -> None:
    """A dependency of every route: the route that answers is the one that the gate let in."""
    route = f"{'GET' if request.method == 'HEAD' else request.method} {request.scope['route'].path}"
    if route != asking.asking().line:
        raise HTTPException(403, NOT_LISTED)


def wants_page(request: Request) -> bool:
    """Whether a person looks at the answer."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _not_you(who: Who, access: Access) -> str:
    if isinstance(who, Machine):
        scopes = " or ".join(sorted(access.scopes))
        return f"this token has not the scope for that: {scopes}" if scopes else "that is for people, not for machines"
    return NEEDED[access.role] if access.role else "that is for machines, not for people"


def _require_own_origin(request: Request) -> None:
    """Browsers say which site's page sent a request, and other sites' pages cannot change that."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    try:
        host = urlsplit(request.headers.get("origin", "")).netloc
    except ValueError:
        host = ""
    if not host or host != request.headers.get("host") or site != "same-origin":
        raise RefusedError(403, "only this site's own pages may do that")


async def _require_token(request: Request, csrf: str, receive: Receive) -> Receive:
    """The session's token in the header, or in the form, which is then handed on; RefusedError without it."""
    given: str | None = request.headers.get(CSRF_HEADER)
    if given is None and is_form(request):
        try:
            body = await read_body(Request(request.scope, receive))
            given = parse_form(body).get(CSRF_FIELD)
        except HTTPException as error:
            raise RefusedError(error.status_code, error.detail) from error
        receive = again(body, receive)
    if given is None or not _same(given, csrf):
        raise RefusedError(403, STALE, {"X-Stale-Token": "1"})
    return receive


def _same(given: str, csrf: str) -> bool:
    return compare_digest(given.encode("utf-8", "replace"), csrf.encode())
