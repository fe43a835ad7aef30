"""People and machines for tests: accounts straight in the database, and HTTP clients that are signed in."""

from datetime import UTC, datetime

import httpx
from argon2 import PasswordHasher
from sqlalchemy import Engine

from cloud.rules import AccountRules
from cloud.store import accounts as store
from cloud.web.cookies import PLAIN
from cloud.web.names import name_key
from cloud.web.passwords import Passwords
from cloud.web.people import People, Visit
from cloud.web.roles import Role, Scope
from cloud.web.tokens import make_token

QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))  # argon2 all the same
PASSWORD = "a quiet lamp by the door"
HERE = Visit("127.0.0.1", "a test")


def new_people(engine: Engine, rules: AccountRules | None = None) -> People:
    return People(engine, rules or AccountRules(), QUICK)


def add_person(engine: Engine, name: str = "Ada", role: Role = Role.ADMIN, password: str = PASSWORD) -> store.Account:
    with engine.begin() as connection:
        return store.add_account(
            connection, datetime.now(UTC), name=name, key=name_key(name), role=role, password=QUICK.hash(password)
        )


def session_token(engine: Engine, name: str = "Ada", role: Role = Role.ADMIN, now: datetime | None = None) -> str:
    """The token of a fresh session, as a browser would show it; the account is made where it is missing."""
    with engine.connect() as connection:
        account = store.by_key(connection, name_key(name))
    account = account or add_person(engine, name, role)
    with engine.begin() as connection:
        return new_people(engine).begin(connection, account, HERE, now or datetime.now(UTC), how="test")


def person_headers(
    engine: Engine, address: str, name: str = "Ada", role: Role = Role.ADMIN, now: datetime | None = None
) -> dict[str, str]:
    """What a browser sends for somebody who is signed in at `address` and looks at its own page."""
    token = session_token(engine, name, role, now)
    person = new_people(engine).whose(token, now or datetime.now(UTC))
    assert person is not None
    return {"Cookie": f"{PLAIN}={token}", "Origin": address.rstrip("/"), "X-CSRF-Token": person.csrf}


def machine_headers(
    engine: Engine, *scopes: Scope, name: str = "gpu-box", now: datetime | None = None
) -> dict[str, str]:
    token = make_token(engine, name, now or datetime.now(UTC), scopes=scopes or (Scope.TRAINER,))
    return {"Authorization": f"Bearer {token}"}


def signed_in(engine: Engine, address: str, role: Role = Role.ADMIN, now: datetime | None = None) -> httpx.Client:
    """A client of somebody with this role, named after it."""
    headers = person_headers(engine, address, role.value.capitalize(), role, now)
    return httpx.Client(base_url=address, headers=headers, timeout=30)
