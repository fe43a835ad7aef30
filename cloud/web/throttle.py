"""How long somebody who mistyped must wait before the next try: twice as long each time, never for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network
from math import ceil

from sqlalchemy import Connection

from cloud.store import accounts as store
from cloud.store.accounts import Tries
from contract.errors import TryAgainError

FORGOTTEN = timedelta(hours=24)
KNOWN = timedelta(days=30)  # so long an address counts as the account's own after it went well there


class WaitError(TryAgainError):
    """Too many tries; `seconds` says when the next is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many tries: please wait {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures are free; then 1 s, 2 s, 4 s ... up to `most_s`."""

    free: int
    most_s: int

    def wait_s(self, tries: Tries, now: datetime) -> int:
        """Whole seconds until the next try, 0 for now."""
        if tries.failures < self.free or now - tries.last_at >= FORGOTTEN:
            return 0
        pause: int = min(1 << min(tries.failures - self.free, 20), self.most_s)
        return max(0, ceil(pause - (now - tries.last_at).total_seconds()))


PAIR = Limit(free=5, most_s=900)  # one name from one address
ADDRESS = Limit(free=30, most_s=900)  # an address, whatever the name: many people may share it
NAME = Limit(free=20, most_s=60)  # a name, whatever the address; addresses where it went well before are spared


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in: whose, and from where."""

    pair: str
    address: str
    name: str

    @classmethod
    def of(cls, key: str, address: str) -> "Attempt":
        """`key` is the folded name; whoever reads the table learns neither."""
        whose = (("pair", key, _network(address)), ("address", _network(address)), ("name", key))
        return cls(*(sha256(repr(one).encode()).hexdigest() for one in whose))

    @property
    def keys(self) -> tuple[str, str, str]:
        return self.pair, self.address, self.name


def admit(connection: Connection, attempt: Attempt, now: datetime) -> None:
    """Count a try before it is looked at, so that many at once are counted too. Raises WaitError: it is not looked at."""
    held = store.hold_tries(connection, attempt.keys, now)
    wait = wait_s(attempt, held, now)
    if wait:
        raise WaitError(wait)
    store.add_failure(connection, attempt.keys, now, now - FORGOTTEN)


def went_well(connection: Connection, attempt: Attempt, now: datetime) -> None:
    """The try was right: this name begins anew from here; what others failed at only loses this one."""
    store.forgive(connection, (attempt.pair,), now)
    store.take_back(connection, (attempt.address, attempt.name))
    store.sweep_tries(connection, now - KNOWN)


def wait_s(attempt: Attempt, held: Mapping[str, Tries], now: datetime) -> int:
    """The longest of the waits that apply, in s."""
    pair = held[attempt.pair]
    known_here = pair.good_at is not None and now - pair.good_at < KNOWN
    return max(
        PAIR.wait_s(pair, now),
        ADDRESS.wait_s(held[attempt.address], now),
        0 if known_here else NAME.wait_s(held[attempt.name], now),
    )


def _network(address: str) -> str:
    """An IPv6 address by its /64, as one customer has all of those."""
    try:
        known = IPv6Address(address)
    except ValueError:
        return address
    return str(known.ipv4_mapped or IPv6Network((int(known) >> 64 << 64, 64)))
