"""One's own account: the password, where one is signed in, and who one is for scripts."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from cloud.web.asking import asking, require_person, say
from cloud.web.cookies import set_session
from cloud.web.forms import form_of
from cloud.web.language import N_
from cloud.web.pages import Pages
from cloud.web.passwords import LEAST
from cloud.web.people import People
from cloud.web.roles import Machine, Person
from cloud.web.signing import sentence, visit_of
from cloud.web.throttle import WaitError
from contract.errors import ContractError

Form = Annotated[dict[str, str], Depends(form_of)]
Me = Annotated[Person, Depends(require_person)]
DONE = {
    "password": N_("Your password is changed, and every other browser is signed out."),
    "elsewhere": N_("Every other browser is signed out."),
}


def new_account(people: People, pages: Pages, *, session_s: int, clock: Callable[[], datetime]) -> APIRouter:
    """`/account` and what it sends, and `/api/v1/me`."""
    site = APIRouter()

    def page(person: Person, status: int = 200, *, fault: str = "", done: str = "") -> Response:
        now = clock()
        return pages.plain(
            "account.html", status, now=now, sessions=people.sessions(person.id, now), fault=fault,
            done=say(DONE[done]) if done in DONE else "", least=LEAST,
        )  # fmt: skip

    @site.get("/account", include_in_schema=False)
    def account(person: Me, done: str = "") -> Response:
        return page(person, done=done)

    @site.post("/account/password", include_in_schema=False)
    def password(person: Me, request: Request, form: Form) -> Response:
        old, new = form.get("old", "")[:1000], form.get("password", "")[:1000]
        if new != form.get("again", "")[:1000]:
            return page(person, 422, fault=say("The two new passwords differ."))
        try:
            token = people.change_password(person, old, new, visit_of(request), clock())
        except WaitError as error:
            answer = page(person, 429, fault=sentence(error))
            answer.headers["Retry-After"] = str(error.seconds)
            return answer
        except ContractError as error:
            return page(person, 422, fault=sentence(error))
        answer = RedirectResponse("/account?done=password", 303)
        set_session(answer, request.scope, token, session_s)
        return answer

    @site.post("/account/sessions/end", include_in_schema=False)
    def elsewhere(person: Me) -> Response:
        people.sign_out_elsewhere(person, clock())
        return RedirectResponse("/account?done=elsewhere", 303)

    @site.get(
        "/api/v1/me", tags=["service"], summary="Who asks, and the token that this site's pages send with changes"
    )
    def me() -> dict[str, Any]:
        who = asking().who
        if isinstance(who, Machine):
            return {"machine": who.name, "scopes": sorted(who.scopes)}
        person = require_person()
        return {"name": person.name, "role": person.role, "csrf": person.csrf}

    return site
