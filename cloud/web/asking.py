"""Who asks, for as long as a request is answered: set by the gate, read by pages, routes and the audit log."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException

from cloud.web.language import DEFAULT, Language, language
from cloud.web.roles import Machine, Person, Who


@dataclass(slots=True)
class Asking:
    """One request: who it is, and what the audit log shall say of it beyond its address."""

    who: Who = None
    line: str = ""  # of the table of routes
    language: Language = field(default_factory=lambda: language(DEFAULT))
    address: str = ""  # path and query of the page that is looked at; empty: there is none to come back to
    about: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


_asking: ContextVar[Asking | None] = ContextVar("asking", default=None)  # each request has its own


def begin(asking: Asking) -> None:
    """For the gate: this is the request that is answered from here on."""
    _asking.set(asking)


def asking() -> Asking:
    """The request that is being answered; outside of one, a blank."""
    return _asking.get() or Asking()


def person() -> Person | None:
    """The person who asks, where it is one."""
    who = asking().who
    return who if isinstance(who, Person) else None


def say(text: str) -> str:
    """A text in the language of whoever asks."""
    return asking().language.say(text)


def require_person() -> Person:
    """The person who asks; 403 for others, which the table of routes keeps out already."""
    who = person()
    if who is None:
        raise HTTPException(403, "this is for people who are signed in")
    return who


def require_machine() -> str:
    """A FastAPI dependency: the name of the machine that asks; 401 for others, which the table keeps out already."""
    who = asking().who
    if not isinstance(who, Machine):
        raise HTTPException(401, "this needs a machine's token: Authorization: Bearer ...")
    return who.name


def name_of(claimed: str | None) -> str:
    """Under which name an answer is kept: a person's own, whatever was sent; a machine may name whom it speaks for."""
    who = asking().who
    if isinstance(who, Person):
        return who.name
    if claimed:
        return claimed
    if isinstance(who, Machine):
        return who.name
    raise HTTPException(403, "nobody knows whose answer this is")


def note(about: str, **detail: Any) -> None:
    """What the audit log shall say of this request."""
    now = asking()
    now.about, now.detail = about, {**now.detail, **detail}
