"""Machines' way in: a bearer token, made by `cloud token NAME`, of which only the hash is kept."""

import re
import secrets
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Engine, or_, select, update

from cloud.store import audit
from cloud.store.schema import tokens
from cloud.web.roles import Machine, Scope
from contract.errors import ContractError

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)
_TOKEN = re.compile(r"Bearer (mf_[A-Za-z0-9_-]{43})", re.ASCII)
BY = "command line"


def make_token(
    engine: Engine, name: str, now: datetime, *, scopes: Collection[Scope] = (Scope.TRAINER,),
    expires_at: datetime | None = None,
) -> str:  # fmt: skip
    """A new token for `name`; nobody can read it again. Raises ContractError for an odd name or no scope."""
    if not _NAME.fullmatch(name):
        raise ContractError(f"a token's name is 1 to 63 of a-z, 0-9, '.' and '-', not {name[:70]!r}")
    if not scopes:
        raise ContractError(f"a token needs a scope: {', '.join(Scope)}")
    if expires_at is not None and expires_at <= now:
        raise ContractError("a token's end lies in the future")
    token, told = f"mf_{secrets.token_urlsafe(32)}", " ".join(sorted(set(scopes)))
    with engine.begin() as connection:
        row = {"sha256": _hash(token), "name": name, "made_at": now, "scopes": told, "expires_at": expires_at}
        connection.execute(tokens.insert().values(**row))
        until = None if expires_at is None else expires_at.isoformat()
        audit.write(connection, now, BY, "token made", name, scopes=told, expires_at=until)
    return token


def revoke_tokens(engine: Engine, name: str, now: datetime) -> int:
    """End every token of `name`; tells how many there were."""
    valid = (tokens.c.name == name) & tokens.c.revoked_at.is_(None)
    with engine.begin() as connection:
        ended = int(connection.execute(update(tokens).where(valid).values(revoked_at=now)).rowcount)
        if ended:
            audit.write(connection, now, BY, "token revoked", name, tokens=ended)
    return ended


def find_machine(engine: Engine, authorization: str, now: datetime) -> Machine | None:
    """Whose token an `Authorization` header shows, where it is valid now."""
    given = _TOKEN.fullmatch(authorization)
    if given is None:
        return None
    lives = tokens.c.revoked_at.is_(None) & or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    query = select(tokens.c.name, tokens.c.scopes).where(lives, tokens.c.sha256 == _hash(given[1]))
    with engine.connect() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    known = {one.value for one in Scope}
    return Machine(row.name, frozenset(Scope(one) for one in row.scopes.split() if one in known))


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
