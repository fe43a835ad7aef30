"""What is done by hand at the server: machines' tokens, people's accounts, a look at the audit log and at who has which duty."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.duties import TAKEN_WITHIN_S, Duty
from cloud.store import audit, duties
from cloud.store.store import Store
from cloud.web.passwords import Passwords
from cloud.web.people import People
from cloud.web.roles import Role, Scope
from cloud.web.tokens import make_token, revoke_tokens

BY = "command line"  # as the audit log names who did it
STALE_S = 2 * TAKEN_WITHIN_S  # a holder that was silent for longer has died, and no other server is there
IDLE = 1  # exit code where a duty is nobody's
BROKEN = 1  # exit code where the audit log was tampered with


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> list[argparse.ArgumentParser]:
    """Add `token`, `user`, `audit` and `status`; returns those that take settings."""
    what = "print a new token for a machine, once; only its hash is kept"
    token = commands.add_parser("token", help=what, description=what)
    token.add_argument("name", metavar="NAME", help="whose it is, for example gpu-box")
    token.add_argument("--revoke", action="store_true", help="end every token of this name instead")
    token.add_argument(
        "--scope",
        type=Scope,
        choices=list(Scope),
        action="append",
        help="what it may do; may be repeated; trainer by default",
    )
    token.add_argument("--days", type=_days, metavar="N", help="it ends after so many days; absent: never")
    what = "people's accounts: list, invite, reset, disable, role"
    people = commands.add_parser("user", help=what, description=what).add_subparsers(dest="act", required=True)
    listing = people.add_parser("list", help="everybody, with role and state")
    invite = people.add_parser("invite", help="print a one-time link for a new account")
    invite.add_argument("name", nargs="?", default="", metavar="NAME", help="absent: whoever uses the link chooses")
    invite.add_argument("--role", type=Role, choices=list(Role), default=Role.ADMIN, help="admin by default")
    reset = people.add_parser(
        "reset", help="print a one-time link for a new password; a disabled account comes back by it"
    )
    disable = people.add_parser("disable", help="keep somebody out, from now on")
    role = people.add_parser("role", help="give another role, from now on")
    for one in (reset, disable, role):
        one.add_argument("name", metavar="NAME")
    role.add_argument("role", type=Role, choices=list(Role))
    what = "the audit log: verify"
    log = commands.add_parser("audit", help=what, description=what).add_subparsers(dest="act", required=True)
    what = "check every row's hash; exit 1 and the first broken row where somebody changed the log"
    verify = log.add_parser("verify", help=what, description=what)
    what = "NUMBER:HASH that an earlier run printed: that row must still be the same"
    verify.add_argument("--known", type=_known, metavar="NUMBER:HASH", help=what)
    what = "who has which duty, and whether a consumer is at work; exit 1 where a duty is nobody's"
    status = commands.add_parser("status", help=what, description=what)
    return [token, listing, invite, reset, disable, role, verify, status]


def _token(engine: Engine, _settings: CloudSettings, chosen: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    if chosen.revoke:
        print(f"revoked: {revoke_tokens(engine, chosen.name, now)}")
        return 0
    ends = now + chosen.days if chosen.days else None
    print(make_token(engine, chosen.name, now, scopes=chosen.scope or [Scope.TRAINER], expires_at=ends))
    return 0


def _user(engine: Engine, settings: CloudSettings, chosen: argparse.Namespace) -> int:
    people, now = People(engine, settings.accounts, Passwords()), datetime.now(UTC)
    if chosen.act == "list":
        for one in people.accounts():
            state = "disabled" if one.disabled_at else "active" if one.password or one.subject else "no password"
            print(f"{one.name}\t{one.role}\t{state}")
    elif chosen.act == "invite":
        print(_link(settings, people.invite(chosen.name, chosen.role, BY, now)))
    elif chosen.act == "reset":
        print(_link(settings, people.reset(chosen.name, BY, now)))
    elif chosen.act == "disable":
        print(f"{people.disable(chosen.name, BY, now)} cannot sign in any more")
    else:
        print(f"{people.set_role(chosen.name, chosen.role, BY, now)} is {chosen.role} now")
    return 0


def _audit(engine: Engine, _settings: CloudSettings, chosen: argparse.Namespace) -> int:
    with engine.connect() as connection:
        verdict = audit.verify(connection)
        known = audit.hash_at(connection, chosen.known[0]) if chosen.known else None
    fault = verdict.fault
    if fault is None and chosen.known and known != chosen.known[1]:
        fault = f"row {chosen.known[0]} is not what it was: the log was written anew"
    if fault is not None:
        print(f"broken: {fault}; {verdict.rows} rows before it are sound")
        return BROKEN
    print(f"sound: {verdict.rows} rows; write down {verdict.rows}:{verdict.head} for --known")
    return 0


def _status(engine: Engine, _settings: CloudSettings, _chosen: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    with engine.connect() as connection:
        rows = {row.duty: row for row in duties.read(connection)}
    idle = 0
    for duty in Duty:
        row = rows.get(duty)
        quiet = (now - row.beat_at).total_seconds() if row and row.holder else None
        if row is None or quiet is None:
            said, idle = "nobody", idle + (duty is not Duty.RELEASES)  # there may be no releases
        else:
            said = f"{row.holder}\tsince {row.since:%Y-%m-%d %H:%M:%S} UTC\tseen {max(quiet, 0):.0f} s ago"
            idle += quiet > STALE_S
        print(f"duty {duty}\t{said}")
    for one in Store(engine).consumers():
        broker = "at the broker" if one.connected else "without the broker"
        print(f"consumer {one.name}\t{broker}\tseen {max((now - one.alive_at).total_seconds(), 0):.0f} s ago")
    return IDLE if idle else 0


BY_HAND: dict[str, Callable[[Engine, CloudSettings, argparse.Namespace], int]] = {
    "token": _token,
    "user": _user,
    "audit": _audit,
    "status": _status,
}


def _link(settings: CloudSettings, token: str) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{settings.accounts.address or f'http://{host}:{settings.port}'}/welcome/{token}"


def _days(text: str) -> timedelta:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 3650:
        raise argparse.ArgumentTypeError(f"write 1 to 3650 days, not {text[:20]!r}")
    return timedelta(days=int(text))


def _known(text: str) -> tuple[int, str]:
    number, colon, digest = text.partition(":")
    if not colon or not number.isdigit() or len(digest) != 64:
        raise argparse.ArgumentTypeError("write it as NUMBER:HASH")
    return int(number), digest
