"""Statements about people: accounts, sessions, one-time links and attempts to sign in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.schema_accounts import accounts, attempts, invitations, sessions


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in; `password` is the argon2 hash."""

    id: UUID
    name: str
    key: str
    role: str
    password: str | None
    subject: str | None
    made_at: datetime
    signed_in_at: datetime | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that is signed in."""

    sha256: str
    account: UUID
    made_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    browser: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """A one-time link that nobody used yet."""

    sha256: str
    account: UUID | None
    name: str | None
    role: str
    made_at: datetime
    made_by: str
    expires_at: datetime


def add_account(connection: Connection, now: datetime, *, name: str, key: str, role: str, **values: Any) -> Account:
    """A new account. Raises IntegrityError where the name or the subject has one."""
    account = uuid4()
    connection.execute(accounts.insert().values(id=account, name=name, key=key, role=role, made_at=now, **values))
    return by_id(connection, account)


def by_id(connection: Connection, account: UUID) -> Account:
    """The account of this id."""
    return _account(connection.execute(select(accounts).where(accounts.c.id == account)).one())


def by_key(connection: Connection, key: str) -> Account | None:
    """The account of this folded name."""
    row = connection.execute(select(accounts).where(accounts.c.key == key)).first()
    return None if row is None else _account(row)


def by_subject(connection: Connection, subject: str) -> Account | None:
    """The account of this identity at a provider."""
    row = connection.execute(select(accounts).where(accounts.c.subject == subject)).first()
    return None if row is None else _account(row)


def all_accounts(connection: Connection) -> list[Account]:
    """Every account, by name."""
    return [_account(row) for row in connection.execute(select(accounts).order_by(accounts.c.key))]


def change(connection: Connection, account: UUID, **values: Any) -> None:
    """Set columns of an account."""
    connection.execute(update(accounts).where(accounts.c.id == account).values(**values))


def hold_admins(connection: Connection) -> int:
    """How many admins there are; nobody else changes an account's role or state until the transaction ends."""
    admin = (accounts.c.role == "admin") & accounts.c.disabled_at.is_(None)
    connection.execute(update(accounts).where(admin).values(role=accounts.c.role))
    return int(connection.execute(select(func.count()).select_from(accounts).where(admin)).scalar_one())


def is_empty(connection: Connection) -> bool:
    """Whether nobody has an account yet."""
    return connection.execute(select(accounts.c.id).limit(1)).first() is None


def add_session(connection: Connection, session: Session) -> None:
    """A browser is signed in; sessions that are over are swept on the way."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= session.made_at))
    values = {name: getattr(session, name) for name in Session.__slots__}
    connection.execute(sessions.insert().values(**values))


def find_session(connection: Connection, sha256: str) -> tuple[Session, Account] | None:
    """The session and whose it is, however old."""
    query = select(sessions, accounts).join(accounts, accounts.c.id == sessions.c.account)
    row = connection.execute(query.where(sessions.c.sha256 == sha256)).first()
    if row is None:
        return None
    width = len(sessions.c)
    return Session(*row[:width]), Account(*row[width:])


def touch_session(connection: Connection, sha256: str, now: datetime) -> None:
    """It was used."""
    connection.execute(update(sessions).where(sessions.c.sha256 == sha256).values(seen_at=now))


def sessions_of(connection: Connection, account: UUID) -> list[Session]:
    """Where somebody is signed in, the latest used first."""
    query = select(sessions).where(sessions.c.account == account).order_by(sessions.c.seen_at.desc(), sessions.c.sha256)
    return [Session(*row) for row in connection.execute(query)]


def end_sessions(connection: Connection, account: UUID, *, only: str | None = None, but: str | None = None) -> int:
    """End an account's sessions: all, `only` one, or all `but` one; how many they were."""
    which: ColumnElement[bool] = sessions.c.account == account
    if only is not None:
        which &= sessions.c.sha256 == only
    if but is not None:
        which &= sessions.c.sha256 != but
    return int(connection.execute(delete(sessions).where(which)).rowcount)


def add_invitation(connection: Connection, invitation: Invitation) -> None:
    """A link; those that are over are swept on the way."""
    connection.execute(delete(invitations).where(invitations.c.expires_at <= invitation.made_at))
    values = {name: getattr(invitation, name) for name in Invitation.__slots__}
    connection.execute(invitations.insert().values(**values))


def find_invitation(connection: Connection, sha256: str, now: datetime) -> Invitation | None:
    """The link, where it may still be used."""
    valid = (invitations.c.sha256 == sha256) & (invitations.c.expires_at > now)
    row = connection.execute(select(invitations).where(valid)).first()
    return None if row is None else Invitation(*row)


def use_invitation(connection: Connection, sha256: str, now: datetime) -> bool:
    """Whether the link was still there to be used up; only one caller is ever told so."""
    valid = (invitations.c.sha256 == sha256) & (invitations.c.expires_at > now)
    return bool(connection.execute(delete(invitations).where(valid)).rowcount)


def open_invitations(connection: Connection, now: datetime) -> list[Invitation]:
    """Links that nobody used yet, the newest first."""
    query = select(invitations).where(invitations.c.expires_at > now).order_by(invitations.c.made_at.desc())
    return [Invitation(*row) for row in connection.execute(query)]


def end_invitations(connection: Connection, which: ColumnElement[bool]) -> int:
    """Take links back."""
    return int(connection.execute(delete(invitations).where(which)).rowcount)


@dataclass(frozen=True, slots=True)
class Tries:
    """How often somebody failed lately, and when last; `good_at`: when it last went well."""

    failures: int
    last_at: datetime
    good_at: datetime | None


def hold_tries(connection: Connection, keys: Sequence[str], now: datetime) -> dict[str, Tries]:
    """What is known of each key; other transactions wait for these keys until this one ends."""
    found = {}
    for key in sorted(keys):
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(attempts)
        fresh = insert.values(key=key, failures=0, last_at=now)
        held = fresh.on_conflict_do_update(index_elements=[attempts.c.key], set_={"failures": attempts.c.failures})
        row = connection.execute(held.returning(attempts.c.failures, attempts.c.last_at, attempts.c.good_at)).one()
        found[key] = Tries(*row)
    return found


def add_failure(connection: Connection, keys: Sequence[str], now: datetime, forgotten_before: datetime) -> None:
    """One more for each key; what failed before `forgotten_before` no longer counts."""
    again = case((attempts.c.last_at < forgotten_before, 1), else_=attempts.c.failures + 1)
    connection.execute(update(attempts).where(attempts.c.key.in_(keys)).values(failures=again, last_at=now))


def forgive(connection: Connection, keys: Sequence[str], now: datetime) -> None:
    """It went well: these keys begin anew."""
    connection.execute(update(attempts).where(attempts.c.key.in_(keys)).values(failures=0, good_at=now))


def take_back(connection: Connection, keys: Sequence[str]) -> None:
    """The last attempt was no failure, but the earlier ones still count."""
    less = case((attempts.c.failures > 0, attempts.c.failures - 1), else_=0)
    connection.execute(update(attempts).where(attempts.c.key.in_(keys)).values(failures=less))


def sweep_tries(connection: Connection, before: datetime) -> None:
    """Forget keys that nobody tried for long."""
    connection.execute(delete(attempts).where(attempts.c.last_at < before))


def _account(row: Row[Any]) -> Account:
    return Account(*tuple(row))
