"""Who asks and what each may do: roles of people, scopes of machines, and the rule that compares them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a person may do; each may do what those before it may."""

    VIEWER = "viewer"
    LABELLER = "labeller"
    OPERATOR = "operator"
    ADMIN = "admin"

    def reaches(self, least: "Role") -> bool:
        """Whether this role is `least` or more."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(least)


class Scope(StrEnum):
    """What a machine's token may do; a token has one or more."""

    TRAINER = "trainer"
    LABELS = "labels"
    READ = "read"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in; `session` is the hash of the cookie's token, `csrf` what forms must carry."""

    id: UUID
    name: str
    role: Role
    session: str
    csrf: str
    local: bool  # has a password here

    @property
    def label(self) -> str:
        """As the audit log names them."""
        return f"person {self.name}"

    def may(self, role: str) -> bool:
        """For pages: whether to show what needs `role`."""
        return self.role.reaches(Role(role))


@dataclass(frozen=True, slots=True)
class Machine:
    """A program with a token."""

    name: str
    scopes: frozenset[Scope]

    @property
    def label(self) -> str:
        """As the audit log names it."""
        return f"machine {self.name}"


Who = Person | Machine | None  # None: nobody that we know


@dataclass(frozen=True, slots=True)
class Access:
    """What one route asks for.

    `role` is the least role of a person, None: no person may; `scopes` are those of which a machine needs one. `public`
    lets everybody in without asking; `counts` lets everybody in where the setting `accounts.public_counts` says so.
    `audit` is what the log says of a successful request; empty: it says nothing.
    """

    role: Role | None = None
    scopes: frozenset[Scope] = frozenset()
    public: bool = False
    counts: bool = False
    audit: str = ""


class Verdict(StrEnum):
    """What becomes of a request."""

    COME_IN = "come in"
    WHO_ARE_YOU = "who are you"
    NOT_YOU = "not you"


def judge(access: Access, who: Who, *, public_counts: bool = False) -> Verdict:
    """Whether `who` may."""
    if access.public or (access.counts and public_counts):
        return Verdict.COME_IN
    if who is None:
        return Verdict.WHO_ARE_YOU
    if isinstance(who, Machine):
        return Verdict.COME_IN if access.scopes & who.scopes else Verdict.NOT_YOU
    return Verdict.COME_IN if access.role is not None and who.role.reaches(access.role) else Verdict.NOT_YOU


def find(table: Mapping[str, Access], method: str, path: str) -> tuple[str, Access] | None:
    """The line of the table for a request and its name, as in `GET /crops/{digest}.jpg`.

    A path that is written out goes before one with names in braces; `/static/` stands for everything below it.
    """
    method = "GET" if method == "HEAD" else method
    exact = table.get(f"{method} {path}")
    if exact is not None:
        return f"{method} {path}", exact
    for line, access in table.items():
        verb, _, shape = line.partition(" ")
        if verb == method and _fits(shape, path):
            return line, access
    return None


def _fits(shape: str, path: str) -> bool:
    if shape.endswith("/") and shape != "/":
        return path.startswith(shape)
    pieces, parts = shape.split("/"), path.split("/")
    return len(pieces) == len(parts) and all(_piece(piece, part) for piece, part in zip(pieces, parts, strict=True))


def _piece(piece: str, part: str) -> bool:
    before, brace, rest = piece.partition("{")
    if not brace:
        return piece == part
    after = rest.partition("}")[2]
    return len(part) > len(before) + len(after) and part.startswith(before) and part.endswith(after)
