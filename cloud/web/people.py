"""People come and go: signing in and out, one-time links, passwords, roles; each act stands in the audit log with it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, NoResultFound

from cloud.rules import AccountRules
from cloud.store import accounts as store
from cloud.store import audit
from cloud.store.accounts import Account, Invitation, Session
from cloud.store.schema_accounts import invitations
from cloud.web.asking import say
from cloud.web.language import N_
from cloud.web.names import name_key, require_name
from cloud.web.passwords import Passwords, require_good
from cloud.web.roles import Person, Role
from cloud.web.throttle import Attempt, admit, went_well
from contract.errors import ContractError

LINK_LIFE = timedelta(hours=24)
TOUCH = timedelta(minutes=1)  # how stale a session's last use may be on disk
NOBODY = "nobody"
WRONG = N_("the name or the password is not right")


class WrongError(ContractError):
    """Nobody is let in with this."""


class UnknownLinkError(ContractError):
    """The link was used, is too old, or never was."""


@dataclass(frozen=True, slots=True)
class Visit:
    """From where somebody comes."""

    address: str
    browser: str
    session: str | None = None  # hash of the token that the browser showed, which a new one replaces


class People:
    """Everything that may be done to accounts."""

    def __init__(self, engine: Engine, rules: AccountRules, passwords: Passwords) -> None:
        self._engine, self._rules, self._passwords = engine, rules, passwords

    @property
    def engine(self) -> Engine:
        return self._engine

    def sign_in(self, name: str, password: str, visit: Visit, now: datetime) -> str:
        """A new session's token. Raises WrongError, or WaitError while tries are not looked at."""
        key = name_key(name)
        attempt = Attempt.of(key, visit.address)
        with self._engine.begin() as connection:
            admit(connection, attempt, now)
        with self._engine.connect() as connection:
            account = store.by_key(connection, key)
        usable = account is not None and account.disabled_at is None
        known = account.password if account and usable else None
        fits = self._passwords.fits(known, password)
        anew = self._passwords.hash(password) if fits and known and self._passwords.is_old(known) else known
        with self._engine.begin() as connection:
            account = store.by_key(connection, key)
            if account is None or not fits or account.password != known or account.disabled_at is not None:
                about = account.name if account else "(an unknown name)"
                audit.write(connection, now, NOBODY, "sign-in refused", about, address=visit.address)
                token = None
            else:
                went_well(connection, attempt, now)
                store.change(connection, account.id, password=anew)
                token = self.begin(connection, account, visit, now, how="password")
        if token is None:
            raise WrongError(WRONG)
        return token

    def sign_in_stranger(self, subject: str, name: str, role: Role, visit: Visit, now: datetime) -> str:
        """A session's token for somebody whom a provider vouches for, with the role it gives; an account is made once.

        Raises ContractError where the name is no name or another's, or the account is disabled here.
        """
        try:
            with self._engine.begin() as connection:
                account, first = store.by_subject(connection, subject), ""
                if account is None:
                    kept = require_name(name)
                    account = store.add_account(
                        connection, now, name=kept, key=name_key(kept), role=role.value, subject=subject
                    )
                    first = "account made"
                elif account.disabled_at is not None:
                    raise WrongError(N_("this account is disabled here; ask an admin"))
                elif account.role != role:
                    store.change(connection, account.id, role=role.value)
                    account, first = store.by_id(connection, account.id), "role changed by provider"
                return self.begin(connection, account, visit, now, how="provider", first=first)
        except IntegrityError as error:
            raise ContractError(f"another account is called {name[:60]} here; ask an admin") from error

    def begin(
        self, connection: Connection, account: Account, visit: Visit, now: datetime, *, how: str, first: str = ""
    ) -> str:
        """A new session's token; the one that the browser showed ends. `first` is what the log says before that."""
        if visit.session is not None:
            shown = store.find_session(connection, visit.session)
            if shown is not None:
                store.end_sessions(connection, shown[1].id, only=visit.session)
        token = secrets.token_urlsafe(32)
        ends = now + timedelta(seconds=self._rules.session_s)
        session = Session(hash_of(token), account.id, now, now, ends, visit.address[:45], visit.browser[:200])
        store.add_session(connection, session)
        store.change(connection, account.id, signed_in_at=now)
        who = f"person {account.name}"  # the log comes last: its lock is what every other act waits for
        if first:
            audit.write(connection, now, who, first, account.name, role=account.role)
        audit.write(connection, now, who, "signed in", account.name, how=how, address=visit.address)
        return token

    def whose(self, token: str, now: datetime) -> Person | None:
        """Who shows this token; None where the session is over or the account is disabled."""
        hashed = hash_of(token)
        with self._engine.connect() as connection:
            found = store.find_session(connection, hashed)
        if found is None:
            return None
        session, account = found
        idle = now - session.seen_at >= timedelta(seconds=self._rules.idle_s)
        if idle or now >= session.expires_at or account.disabled_at is not None:
            return None
        if now - session.seen_at >= TOUCH:
            with self._engine.begin() as connection:
                store.touch_session(connection, hashed, now)
        csrf = sha256(f"csrf {token}".encode()).hexdigest()
        return Person(account.id, account.name, Role(account.role), hashed, csrf, account.password is not None)

    def sign_out(self, person: Person, now: datetime) -> None:
        """End this session."""
        with self._engine.begin() as connection:
            store.end_sessions(connection, person.id, only=person.session)
            audit.write(connection, now, person.label, "signed out", person.name)

    def sign_out_elsewhere(self, person: Person, now: datetime) -> int:
        """End every other session of theirs; how many they were."""
        with self._engine.begin() as connection:
            ended = store.end_sessions(connection, person.id, but=person.session)
            audit.write(connection, now, person.label, "signed out elsewhere", person.name, sessions=ended)
        return ended

    def change_password(self, person: Person, old: str, new: str, visit: Visit, now: datetime) -> str:
        """Set it, end every session, and begin a fresh one: its token. Raises ContractError, WrongError, WaitError."""
        require_good(new, person.name)
        attempt = Attempt.of(name_key(person.name), visit.address)
        with self._engine.begin() as connection:
            admit(connection, attempt, now)
        with self._engine.connect() as connection:
            account = store.by_id(connection, person.id)
        if not self._passwords.fits(account.password, old):
            raise WrongError(N_("the present password is not right"))
        hashed = self._passwords.hash(new)
        with self._engine.begin() as connection:
            went_well(connection, attempt, now)
            store.change(connection, person.id, password=hashed)
            store.end_sessions(connection, person.id)
            return self.begin(connection, account, visit, now, how="new password", first="password changed")

    def sessions(self, account: UUID, now: datetime) -> list[Session]:
        """Where somebody is signed in now."""
        idle = now - timedelta(seconds=self._rules.idle_s)
        with self._engine.connect() as connection:
            known = store.sessions_of(connection, account)
        return [one for one in known if one.expires_at > now and one.seen_at > idle]

    def accounts(self) -> list[Account]:
        """Everybody, by name."""
        with self._engine.connect() as connection:
            return store.all_accounts(connection)

    def invitations(self, now: datetime) -> list[Invitation]:
        """Links that nobody used yet."""
        with self._engine.connect() as connection:
            return store.open_invitations(connection, now)

    def invite(self, name: str, role: Role, by: str, now: datetime) -> str:
        """A link's token for a new account; an empty name lets the visitor choose. Raises ContractError."""
        wanted = require_name(name) if name else None
        with self._engine.begin() as connection:
            if wanted and store.by_key(connection, name_key(wanted)):
                raise ContractError(say("{name} has an account already: reset it instead").format(name=wanted))
            token = self._link(connection, now, by=by, role=role, name=wanted)
            audit.write(connection, now, by, "invited", wanted or "(name to be chosen)", role=role.value)
        return token

    def first_link(self, now: datetime) -> str | None:
        """While nobody has an account: a link's token for the first admin; the one before it ends. Else None."""
        with self._engine.begin() as connection:
            if not store.is_empty(connection):
                return None
            store.end_invitations(connection, invitations.c.made_by == NOBODY)
            token = self._link(connection, now, by=NOBODY, role=Role.ADMIN)
            audit.write(connection, now, NOBODY, "invited", "(the first admin)", role=Role.ADMIN.value)
        return token

    def end_link(self, sha256: str, by: str, now: datetime) -> None:
        """Take a link back."""
        with self._engine.begin() as connection:
            if store.end_invitations(connection, invitations.c.sha256 == sha256):
                audit.write(connection, now, by, "link taken back")

    def invitation(self, token: str, now: datetime) -> tuple[Invitation, str | None]:
        """The link and the name it is for, if it is for one. Raises UnknownLinkError."""
        with self._engine.connect() as connection:
            found = store.find_invitation(connection, hash_of(token), now)
            if found is None:
                raise UnknownLinkError(N_("this link was used already, or is too old"))
            return found, store.by_id(connection, found.account).name if found.account else found.name

    def welcome(self, token: str, name: str, password: str, visit: Visit, now: datetime) -> str:
        """Use the link up: set the password, let them in; the session's token. Raises ContractError."""
        link, known = self.invitation(token, now)
        chosen = known or require_name(name)
        require_good(password, chosen)
        hashed = self._passwords.hash(password)
        try:
            with self._engine.begin() as connection:
                if not store.use_invitation(connection, link.sha256, now):
                    raise UnknownLinkError(N_("this link was used already, or is too old"))
                if link.account is None:
                    account = store.add_account(
                        connection, now, name=chosen, key=name_key(chosen), role=link.role, password=hashed
                    )
                else:
                    store.change(connection, link.account, password=hashed, disabled_at=None)
                    store.end_sessions(connection, link.account)
                    account = store.by_id(connection, link.account)
                first = "password set by link" if link.account else "account made"
                return self.begin(connection, account, visit, now, how="link", first=first)
        except IntegrityError as error:
            raise ContractError(
                say("somebody is called {name} already: choose another name").format(name=chosen)
            ) from error

    def reset(self, name_or_id: str | UUID, by: str, now: datetime) -> str:
        """A link's token for a new password; the old one and every session end. Raises ContractError."""
        with self._engine.begin() as connection:
            account = self._find(connection, name_or_id)
            store.end_invitations(connection, invitations.c.account == account.id)
            store.end_sessions(connection, account.id)
            store.change(connection, account.id, password=None)
            token = self._link(connection, now, by=by, role=Role(account.role), account=account.id)
            audit.write(connection, now, by, "password reset", account.name)
        return token

    def disable(self, name_or_id: str | UUID, by: str, now: datetime) -> str:
        """Keep somebody out from now on; their name. Raises ContractError for the last admin."""

        def act(connection: Connection, account: Account) -> None:
            store.change(connection, account.id, disabled_at=now)
            store.end_sessions(connection, account.id)
            store.end_invitations(connection, invitations.c.account == account.id)
            audit.write(connection, now, by, "account disabled", account.name)

        return self._change(name_or_id, act, spares_admin=False)

    def set_role(self, name_or_id: str | UUID, role: Role, by: str, now: datetime) -> str:
        """Give another role, at once; their name. Raises ContractError for the last admin."""

        def act(connection: Connection, account: Account) -> None:
            store.change(connection, account.id, role=role.value)
            audit.write(connection, now, by, "role changed", account.name, before=account.role, after=role.value)

        return self._change(name_or_id, act, spares_admin=role is Role.ADMIN)

    def _change(self, name_or_id: str | UUID, act: Callable[[Connection, Account], None], *, spares_admin: bool) -> str:
        with self._engine.begin() as connection:
            admins = store.hold_admins(connection)
            account = self._find(connection, name_or_id)
            is_admin = account.role == Role.ADMIN and account.disabled_at is None
            if is_admin and not spares_admin and admins <= 1:
                raise ContractError(say("{name} is the last admin: make another one first").format(name=account.name))
            act(connection, account)
        return account.name

    def _find(self, connection: Connection, name_or_id: str | UUID) -> Account:
        try:
            if isinstance(name_or_id, UUID):
                return store.by_id(connection, name_or_id)
        except NoResultFound as error:
            raise ContractError(N_("there is no such account")) from error
        account = store.by_key(connection, name_key(name_or_id))
        if account is None:
            raise ContractError(f"nobody is called {name_or_id[:60]}")
        return account

    def _link(
        self, connection: Connection, now: datetime, *, by: str, role: Role, name: str | None = None,
        account: UUID | None = None,
    ) -> str:  # fmt: skip
        token = secrets.token_urlsafe(32)
        link = Invitation(hash_of(token), account, name, role.value, now, by[:80], now + LINK_LIFE)
        store.add_invitation(connection, link)
        return token


def hash_of(token: str) -> str:
    """Under which a token is kept."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()
