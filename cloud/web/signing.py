"""Signing in and out, and the one-time link that greets a newcomer."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from cloud.web.asking import require_person, say
from cloud.web.cookies import clear_session, client_address, may_sign_in, session_token, set_session
from cloud.web.forms import form_of
from cloud.web.language import N_
from cloud.web.names import LONGEST
from cloud.web.pages import Pages
from cloud.web.passwords import LEAST
from cloud.web.people import People, UnknownLinkError, Visit, WrongError, hash_of
from cloud.web.roles import Person
from cloud.web.throttle import WaitError
from contract.errors import ContractError

Form = Annotated[dict[str, str], Depends(form_of)]
ONLY_SAFE = N_("a password may only travel by https; open this site by its https address")


def new_signing(
    people: People, pages: Pages, *, session_s: int, oidc_button: str, clock: Callable[[], datetime]
) -> APIRouter:
    """`/sign-in`, `/sign-out` and `/welcome/TOKEN`; an empty `oidc_button` means that there is no such way in."""
    site = APIRouter(include_in_schema=False)

    def page(request: Request, status: int = 200, *, fault: str = "", name: str = "", wait: int = 0) -> Response:
        goal = local(request.query_params.get("next", ""))
        return pages.plain(
            "sign_in.html", status, fault=fault, name=name, wait=wait, safe=may_sign_in(request.scope),
            query=urlencode({"next": goal}) if goal != "/" else "", oidc=oidc_button, longest=LONGEST,
        )  # fmt: skip

    @site.get("/sign-in")
    def sign_in_page(request: Request) -> Response:
        return page(request)

    @site.post("/sign-in")
    def sign_in(request: Request, form: Form) -> Response:
        name, password = form.get("name", "")[:200], form.get("password", "")[:1000]
        if not may_sign_in(request.scope):
            return page(request, 403, fault=say(ONLY_SAFE))
        try:
            token = people.sign_in(name, password, visit_of(request), clock())
        except WaitError as error:
            answer = page(request, 429, wait=error.seconds, name=name)
            answer.headers["Retry-After"] = str(error.seconds)
            return answer
        except WrongError as error:
            return page(request, 403, fault=sentence(error), name=name)
        return let_in(request, local(request.query_params.get("next", "")), token, session_s)

    @site.post("/sign-out")
    def sign_out(request: Request, person: Annotated[Person, Depends(require_person)]) -> Response:
        people.sign_out(person, clock())
        answer = RedirectResponse("/sign-in", 303, headers={"Clear-Site-Data": '"cache", "storage"'})
        clear_session(answer, request.scope)
        return answer

    def greeting(token: str, request: Request, status: int = 200, *, fault: str = "", name: str = "") -> Response:
        try:
            link, known = people.invitation(token, clock())
        except UnknownLinkError:
            return pages.plain("link_gone.html", 404)
        return pages.plain(
            "welcome.html", status, link=link, known=known, fault=fault, name=name, longest=LONGEST, least=LEAST,
            safe=may_sign_in(request.scope),
        )  # fmt: skip

    @site.get("/welcome/{token}")
    def welcome_page(token: str, request: Request) -> Response:
        return greeting(token, request)

    @site.post("/welcome/{token}")
    def welcome(token: str, request: Request, form: Form) -> Response:
        if not may_sign_in(request.scope):
            return greeting(token, request, 403, fault=say(ONLY_SAFE))
        name, password = form.get("name", "")[:200], form.get("password", "")[:1000]
        if password != form.get("again", "")[:1000]:
            return greeting(token, request, 422, fault=say("The two passwords differ."), name=name)
        try:
            session = people.welcome(token, name, password, visit_of(request), clock())
        except UnknownLinkError:
            return pages.plain("link_gone.html", 404)
        except ContractError as error:
            return greeting(token, request, 422, fault=sentence(error), name=name)
        return let_in(request, "/", session, session_s)

    return site


def visit_of(request: Request) -> Visit:
    """From where this request comes."""
    token = session_token(request.scope)
    browser = request.headers.get("user-agent", "")[:200]
    return Visit(client_address(request.scope), printable(browser), hash_of(token) if token else None)


def let_in(request: Request, goal: str, token: str, session_s: int) -> Response:
    """On to `goal`, signed in."""
    answer = RedirectResponse(goal, 303, headers={"Cache-Control": "no-store"})
    set_session(answer, request.scope, token, session_s)
    return answer


def local(goal: str) -> str:
    """An address on this site, where it is one; else the first page."""
    return goal if goal.startswith("/") and "//" not in goal and set(goal) <= PATH else "/"


def sentence(error: Exception) -> str:
    """A message with a capital and a full stop, in the reader's language where it is one of the known ones."""
    text = say(str(error))
    return f"{text[:1].upper()}{text[1:]}."


def printable(text: str) -> str:
    """What every database keeps as it is."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


PATH = frozenset("abcdefghijklmnopqrstuvwxyz0123456789/-")
