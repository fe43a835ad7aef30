"""Machines' way in: a bearer token, made by `cloud token NAME`, of which only the hash is kept."""

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from fastapi import HTTPException, Request
from sqlalchemy import Engine, select, update

from cloud.store.schema import tokens
from contract.errors import ContractError

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)
_TOKEN = re.compile(r"Bearer (mf_[A-Za-z0-9_-]{43})", re.ASCII)
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="maskfleet"'}


def make_token(engine: Engine, name: str, now: datetime) -> str:
    """A new token for `name`; nobody can read it again. Raises ContractError for an odd name."""
    if not _NAME.fullmatch(name):
        raise ContractError(f"a token's name is 1 to 63 of a-z, 0-9, '.' and '-', not {name[:70]!r}")
    token = f"mf_{secrets.token_urlsafe(32)}"
    with engine.begin() as connection:
        connection.execute(tokens.insert().values(sha256=_hash(token), name=name, made_at=now))
    return token


def revoke_tokens(engine: Engine, name: str, now: datetime) -> int:
    """End every token of `name`; tells how many there were."""
    valid = (tokens.c.name == name) & tokens.c.revoked_at.is_(None)
    with engine.begin() as connection:
        return int(connection.execute(update(tokens).where(valid).values(revoked_at=now)).rowcount)


def new_require_machine(engine: Engine) -> Callable[[Request], str]:
    """A FastAPI dependency that answers the token's name, or 401."""

    def require_machine(request: Request) -> str:
        given = _TOKEN.fullmatch(request.headers.get("authorization", ""))
        if given is None:
            raise HTTPException(401, "this needs a machine's token: Authorization: Bearer ...", _CHALLENGE)
        valid = (tokens.c.sha256 == _hash(given[1])) & tokens.c.revoked_at.is_(None)
        with engine.connect() as connection:
            name: str | None = connection.execute(select(tokens.c.name).where(valid)).scalar()
        if name is None:
            raise HTTPException(401, "this token is unknown or was revoked", _CHALLENGE)
        return name

    return require_machine


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
