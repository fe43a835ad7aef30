"""For admins: who has an account, links for newcomers, roles; and the audit log."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from cloud.store import audit
from cloud.web.asking import require_person, say
from cloud.web.forms import form_of
from cloud.web.language import N_
from cloud.web.names import LONGEST
from cloud.web.pages import Pages
from cloud.web.people import People
from cloud.web.roles import Person, Role
from cloud.web.signing import sentence
from contract.errors import ContractError

Form = Annotated[dict[str, str], Depends(form_of)]
Me = Annotated[Person, Depends(require_person)]
Filter = Annotated[str, Query(max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")]
ABOUT_ROLES = {
    Role.VIEWER: N_("sees counts, doors and releases"),
    Role.LABELLER: N_("also sees crops and says what they show"),
    Role.OPERATOR: N_("also asks for trainings and stops rollouts"),
    Role.ADMIN: N_("also manages people and reads the audit log"),
}


def new_users(people: People, pages: Pages, *, address: str, clock: Callable[[], datetime]) -> APIRouter:
    """`/users` and `/audit`; `address` begins the links, empty: as the admin's browser calls this site."""
    site = APIRouter(include_in_schema=False)

    def page(status: int = 200, *, fault: str = "", done: str = "", link: str = "", whose: str = "") -> Response:
        now = clock()
        return pages.plain(
            "users.html", status, now=now, accounts=people.accounts(), links=people.invitations(now),
            roles=ABOUT_ROLES, fault=fault, done=done, link=link, whose=whose, longest=LONGEST,
        )  # fmt: skip

    def with_link(request: Request, make: Callable[[], str], whose: str) -> Response:
        try:
            token = make()
        except ContractError as error:
            return page(422, fault=sentence(error))
        return page(201, link=f"{address or str(request.base_url).rstrip('/')}/welcome/{token}", whose=whose)

    def change(act: Callable[[], str], words: str) -> Response:
        try:
            return page(done=words.format(name=act()))
        except ContractError as error:
            return page(422, fault=sentence(error))

    @site.get("/users")
    def users() -> Response:
        return page()

    @site.post("/users/invite")
    def invite(request: Request, me: Me, form: Form) -> Response:
        name, role = form.get("name", "").strip(), _role(form)
        return with_link(request, lambda: people.invite(name, role, me.label, clock()), name or say("the newcomer"))

    @site.post("/users/links/end")
    def end_link(me: Me, form: Form) -> Response:
        people.end_link(form.get("link", "")[:64], me.label, clock())
        return RedirectResponse("/users", 303)

    @site.post("/users/{account}/reset")
    def reset(account: UUID, request: Request, me: Me) -> Response:
        return with_link(request, lambda: people.reset(account, me.label, clock()), say("a new password"))

    @site.post("/users/{account}/disable")
    def disable(account: UUID, me: Me) -> Response:
        return change(lambda: people.disable(account, me.label, clock()), say("{name} cannot sign in any more."))

    @site.post("/users/{account}/role")
    def role(account: UUID, me: Me, form: Form) -> Response:
        chosen = _role(form)
        words = say("{name} is {role} now.").replace("{role}", say(chosen))
        return change(lambda: people.set_role(account, chosen, me.label, clock()), words)

    @site.get("/audit")
    def log(
        who: Filter = "", what: Filter = "", about: Filter = "",
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    ) -> Response:  # fmt: skip
        with people.engine.connect() as connection:
            rows = audit.read(connection, who=who, what=what, about=about, before=before)
            kinds = audit.kinds(connection)
        shown = rows[: audit.PER_PAGE]
        older = shown[-1].number if len(rows) > len(shown) else None
        filters = {"who": who, "what": what, "about": about}
        return pages.plain("audit.html", now=clock(), rows=shown, kinds=kinds, filters=filters, older=older)

    return site


def _role(form: dict[str, str]) -> Role:
    try:
        return Role(form.get("role", ""))
    except ValueError as error:
        raise HTTPException(422, "there is no such role") from error
