"""Signing in by an OpenID Connect provider: out with a fresh state, back with a code, and a role or no entry."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Protocol

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from cloud.web.asking import say
from cloud.web.cookies import PLAIN, SECURE, is_secure, may_sign_in
from cloud.web.language import N_
from cloud.web.pages import Pages
from cloud.web.people import People
from cloud.web.roles import Role
from cloud.web.signing import let_in, local, sentence, visit_of
from contract.errors import ContractError, TryAgainError

TRIP_S = 600  # so long somebody may take at the provider


@dataclass(frozen=True, slots=True)
class Stranger:
    """Whom the provider vouches for: issuer and subject, a name if it says one, and the values of the role claim."""

    subject: str
    name: str
    values: frozenset[str]


class Provider(Protocol):
    """What the site asks of an identity provider."""

    def address(self, *, state: str, nonce: str, verifier: str) -> str: ...

    def stranger(self, code: str, *, nonce: str, verifier: str, now: datetime) -> Stranger: ...


def new_oidc(
    people: People, pages: Pages, provider: Provider | None, *, roles: Mapping[str, str], session_s: int,
    clock: Callable[[], datetime],
) -> APIRouter:  # fmt: skip
    """`/sign-in/oidc` and the way back; without a `provider` they are not there."""
    site = APIRouter(include_in_schema=False)

    def refuse(status: int, words: str) -> Response:
        return pages.plain("no_entry.html", status, words=words)

    @site.get("/sign-in/oidc")
    def out(request: Request) -> Response:
        if provider is None:
            raise HTTPException(404)
        if not may_sign_in(request.scope):
            return refuse(403, say("Signing in needs https; open this site by its https address."))
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        try:
            address = provider.address(state=state, nonce=nonce, verifier=verifier)
        except TryAgainError as error:
            return refuse(503, sentence(error))
        answer = RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})
        goal, secure = local(request.query_params.get("next", "")), is_secure(request.scope)
        trip = ".".join((state, nonce, verifier, goal))
        answer.set_cookie(
            _cookie(request), trip, max_age=TRIP_S, path="/", secure=secure, httponly=True, samesite="lax"
        )
        return answer

    @site.get("/sign-in/oidc/back")
    def back(request: Request) -> Response:
        if provider is None:
            raise HTTPException(404)
        trip = request.cookies.get(_cookie(request), "").split(".")
        given, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        if len(trip) != 4 or not compare_digest(given.encode(), trip[0].encode()) or not may_sign_in(request.scope):
            return refuse(403, say("This is not the end of a sign-in that began in this browser. Please begin again."))
        if not code or len(code) > 4096:
            return refuse(403, say("The provider let nobody in. Please begin again."))
        _, nonce, verifier, goal = trip
        try:
            stranger = provider.stranger(code, nonce=nonce, verifier=verifier, now=clock())
            token = people.sign_in_stranger(
                stranger.subject, stranger.name, best_role(stranger.values, roles), visit_of(request), clock()
            )
        except TryAgainError as error:
            return refuse(503, sentence(error))
        except ContractError as error:
            return refuse(403, sentence(error))
        answer = let_in(request, local(goal), token, session_s)
        secure = is_secure(request.scope)
        answer.delete_cookie(_cookie(request), path="/", secure=secure, httponly=True, samesite="lax")
        return answer

    return site


def best_role(values: frozenset[str], roles: Mapping[str, str]) -> Role:
    """The highest role that these values stand for. Raises ContractError where they stand for none."""
    known = [Role(roles[one]) for one in values if one in roles]
    if not known:
        raise ContractError(N_("your organisation has not given you a role here; ask an admin"))
    return max(known, key=list(Role).index)


def _cookie(request: Request) -> str:
    return f"{SECURE if is_secure(request.scope) else PLAIN}-trip"
