"""Slows down whoever guesses: each refusal doubles the pause before the same address is listened to again."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

FREE = 3  # refusals without a pause: people mistype
LONGEST = timedelta(minutes=10)
FORGET = timedelta(hours=1)  # after so long without a refusal
REMEMBERED = 4096  # addresses


@dataclass(slots=True)
class Brake:
    """Refusals by address; IPv6 counts by its /64, as one house has all of it."""

    _refusals: dict[str, tuple[int, datetime]] = field(default_factory=dict)

    def pause(self, address: str, now: datetime) -> timedelta:
        """How long this address is not listened to yet; nought where it may speak."""
        count, at = self._refusals.get(_house(address), (0, now))
        if count <= FREE or now - at >= FORGET:
            return timedelta()
        return max(timedelta(), at + min(timedelta(seconds=2.0 ** min(count - FREE, 20)), LONGEST) - now)

    def refused(self, address: str, now: datetime) -> None:
        """Count one."""
        house = _house(address)
        count, at = self._refusals.pop(house, (0, now))
        if len(self._refusals) >= REMEMBERED:
            del self._refusals[next(iter(self._refusals))]  # whoever was refused longest ago
        self._refusals[house] = (1 if now - at >= FORGET else count + 1, now)


def _house(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed)
