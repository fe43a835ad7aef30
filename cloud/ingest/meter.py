"""How much rubbish each sender may send before it is no longer looked at; knows neither broker nor clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from cloud.ingest.parcels import Parcel
from cloud.rules import MeterRules
from contract.errors import ContractError
from contract.identity import require_device_id
from contract.topics import FROM_DEVICE

SENDERS = 10_000  # that are remembered at once
BYTES_EACH = 16 * 1024  # of a misfit that count as one misfit more


class Sender(NamedTuple):
    """A door in one channel: one whose pictures are broken goes on counting. Two empty texts: everybody without a name."""

    device: str
    channel: str


NOBODY = Sender("", "")


@dataclass(slots=True)
class _Bucket:
    """What is left of a sender's budget at a moment; whoever has all of it has no bucket."""

    left: float
    at_s: float


class Meter:
    """A token bucket a sender, from which every misfit takes one and another for each 16 KiB of it.

    Whose bucket is empty is shut out for a while; what refilled meanwhile is its budget then. Times are seconds of any clock
    that only goes forward.
    """

    def __init__(self, rules: MeterRules, *, senders: int = SENDERS) -> None:
        self._budget, self._refill_s, self._cool_down_s = rules.misfits, rules.misfits_a_minute / 60, rules.cool_down_s
        self._most = senders
        self._buckets: dict[Sender, _Bucket] = {}  # the longest untouched first
        self._shut: dict[Sender, float] = {}  # until when

    @property
    def anybody_shut(self) -> bool:
        """Whether `is_shut` need be asked at all."""
        return bool(self._shut)

    def is_shut(self, sender: Sender, now_s: float) -> bool:
        """Whether nothing of this sender is looked at now."""
        return self._shut.get(sender, 0.0) > now_s

    def reopen(self, now_s: float) -> None:
        """Let those in again whose time is over; called now and then."""
        for sender in [one for one, until_s in self._shut.items() if until_s <= now_s]:
            del self._shut[sender]

    def charge(self, sender: Sender, size: int, now_s: float) -> bool:
        """A misfit of so many bytes came; True where the sender is shut out by it."""
        bucket = self._buckets.pop(sender, None) or _Bucket(self._budget, now_s)
        refilled = bucket.left + max(0.0, now_s - bucket.at_s) * self._refill_s
        bucket.left, bucket.at_s = max(0.0, min(self._budget, refilled) - 1 - size / BYTES_EACH), now_s
        self._buckets[sender] = bucket
        if len(self._buckets) > self._most:
            self._forget(now_s)
        if bucket.left > 0 or self.is_shut(sender, now_s):
            return False
        self._shut[sender] = now_s + self._cool_down_s
        return True

    def _forget(self, now_s: float) -> None:
        """Those that are full again; where that is nobody, whoever was quiet for the longest time."""
        for sender, one in list(self._buckets.items()):
            if one.left + (now_s - one.at_s) * self._refill_s >= self._budget:
                del self._buckets[sender]
        while len(self._buckets) > self._most:
            sender = next(iter(self._buckets))
            del self._buckets[sender]
            self._shut.pop(sender, None)


@lru_cache(maxsize=8_192)
def sender_of(topic: str) -> Sender:
    """By the broker's access list nobody can write under another's name; whatever the shard, it is the name that counts."""
    parts = topic.split("/", 5)
    try:
        _, _, _, device, channel = parts
        require_device_id(device)
    except (ValueError, ContractError):
        return NOBODY
    return Sender(device, channel if channel in FROM_DEVICE else "")


def in_turns(parcels: Sequence[Parcel]) -> list[Parcel]:
    """Every sender's first messages before anybody's later ones, by the passes in them; each sender's own stay in order."""
    had: dict[str, int] = {}
    ranks = []
    for one in parcels:
        rank = had.get(one.message.topic, 0)
        had[one.message.topic] = rank + max(1, len(one.passes))
        ranks.append(rank)
    return [parcels[index] for index in sorted(range(len(ranks)), key=ranks.__getitem__)]
