"""Topics as values: `Topic(device, channel)` <-> `mf/v1/{shard}/{device}/{channel}`; no other file knows the text."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Self

from contract.errors import ContractError
from contract.identity import require_device_id

PREFIX = "mf/v1"


class Channel(StrEnum):
    """What travels under a device's name, and which way."""

    EVENTS = "events"  # device -> cloud: passes
    CROPS = "crops"  # device -> cloud: pictures worth a label
    HEALTH = "health"  # device -> cloud: heartbeats, and the last will
    REPORTED = "reported"  # device -> cloud: what the device runs
    ACKS = "acks"  # cloud -> device: what is safely stored
    DESIRED = "desired"  # cloud -> device: what it should run (retained)


FROM_DEVICE = (Channel.EVENTS, Channel.CROPS, Channel.HEALTH, Channel.REPORTED)
TO_DEVICE = (Channel.ACKS, Channel.DESIRED)


def shard_of(device: str) -> str:
    """Two hex digits that both sides compute from the device's name, so that consumers can split the fleet between them."""
    return sha256(device.encode()).hexdigest()[:2]


@dataclass(frozen=True, slots=True)
class Topic:
    """One channel of one device."""

    device: str
    channel: Channel

    @property
    def text(self) -> str:
        """The topic as the broker sees it."""
        return f"{PREFIX}/{shard_of(self.device)}/{self.device}/{self.channel}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `text`. Raises ContractError for another grammar, an unknown channel or a wrong shard."""
        parts = text.split("/")
        if len(parts) != 5 or "/".join(parts[:2]) != PREFIX:
            raise ContractError(f"topic {text[:120]!r} is not of the form {PREFIX}/<shard>/<device>/<channel>")
        _, _, shard, device, channel = parts
        require_device_id(device)
        if channel not in Channel.__members__.values():
            raise ContractError(f"topic {text[:120]!r} has an unknown channel; known: {', '.join(Channel)}")
        if shard != shard_of(device):
            raise ContractError(
                f"topic {text[:120]!r} has shard {shard[:8]!r}, but {device} belongs to {shard_of(device)}"
            )
        return cls(device, Channel(channel))


def every(channel: Channel) -> str:
    """The filter that matches `channel` of every device."""
    return f"{PREFIX}/+/+/{channel}"


def shared(group: str, topic_filter: str) -> str:
    """The filter by which the members of `group` divide its messages among themselves (MQTT 5)."""
    return f"$share/{group}/{topic_filter}"


def device_patterns() -> Iterator[str]:
    """The broker's access list for devices: `%u` is the name in the certificate. Mosquitto grants these to every user."""
    yield from (f"pattern write {PREFIX}/+/%u/{channel}" for channel in FROM_DEVICE)
    yield from (f"pattern read {PREFIX}/+/%u/{channel}" for channel in TO_DEVICE)


def cloud_patterns() -> Iterator[str]:
    """The broker's access list for the cloud's user: leaves, never `#`."""
    yield from (f"topic read {every(channel)}" for channel in FROM_DEVICE)
    yield from (f"topic write {every(channel)}" for channel in TO_DEVICE)
