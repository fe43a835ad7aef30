"""Which minutes a door was looked at, so that a gap is shown as a gap; a clock that is set invents none."""

from collections.abc import Mapping
from datetime import UTC, datetime

from agent.health.opening import HOUR_S, Opening
from contract.health import COVERAGE_HOURS
from contract.health import Coverage as Said

GAP_S = 3.0  # two looks further apart than this leave a hole between them
ENOUGH_S = 30.0  # of a minute that was looked at, for it to count

Hours = Mapping[int, int]
"""Minutes as 60 bits, the first minute lowest, by hours since 1970 UTC."""


class Coverage:
    """Looks are kept on a clock that only grows; which wall minutes they were is worked out when asked.

    So a clock that is set moves what this start has seen, and can neither stretch it nor repeat it. Once the clock was
    right, its offset then is believed until it is right again; what is remembered for the next start waits for that.
    """

    def __init__(self, opening: Opening, earlier: Hours, *, begun_s: float, offset_s: float) -> None:
        """`earlier` is what `to_keep` gave an earlier start; `begun_s + offset_s` is s since 1970."""
        self.opening = opening
        self._earlier = dict(earlier)
        self._begun_s = self._last_s = begun_s
        self._looked: dict[int, float] = {}  # s looked at, by minutes of the growing clock
        self._offset_s = offset_s
        self.placed = False  # whether the clock was right at some time since the start

    def set_clock(self, offset_s: float, *, synchronised: bool) -> None:
        """What to add to the growing clock to get s since 1970, and whether the clock is said to be right."""
        if synchronised or not self.placed:
            self._offset_s = offset_s
        self.placed = self.placed or synchronised

    def look(self, now_s: float) -> None:
        """A frame was looked at."""
        since, self._last_s = now_s - self._last_s, now_s
        if 0 < since <= GAP_S:
            minute = int(now_s // 60)
            self._looked[minute] = self._looked.get(minute, 0.0) + since

    def to_keep(self, now_s: float) -> dict[int, int]:
        """The last eight days for the next start; what was never placed in time is left out."""
        oldest = self._hour(now_s) - COVERAGE_HOURS + 1
        for minute in [one for one in self._looked if one < now_s // 60 - COVERAGE_HOURS * 60]:
            del self._looked[minute]
        hours = self._seen() if self.placed else self._earlier
        return {hour: bits for hour, bits in hours.items() if oldest <= hour and bits}

    def report(self, now_s: float, *, hours: int) -> Said:
        """The last `hours` hours, this one included, from when the door was first heard of."""
        seen, last = self._seen(), self._hour(now_s)
        known = min([hour for hour in self._earlier if hour <= last] + [self._hour(self._begun_s)])
        first = max(known, last - min(hours, COVERAGE_HOURS) + 1)
        begun_s = 0.0 if self._earlier else self._begun_s + self._offset_s
        pairs = [self._count(hour, seen, begun_s, now_s + self._offset_s) for hour in range(first, last + 1)]
        return Said(
            since=datetime.fromtimestamp(first * HOUR_S, UTC), open=tuple(pair[0] for pair in pairs),
            seen=tuple(pair[1] for pair in pairs), today=self._today(now_s + self._offset_s, seen, max(begun_s, known * HOUR_S)),
            clock_synchronised=self.placed,
        )  # fmt: skip

    def _today(self, at_s: float, seen: Hours, begun_s: float) -> float | None:
        begin_s = max(begun_s, self.opening.day_begins(self.opening.day_of(at_s)))
        pairs = [
            self._count(hour, seen, begin_s, at_s) for hour in range(int(begin_s // HOUR_S), int(at_s // HOUR_S) + 1)
        ]
        total = sum(pair[0] for pair in pairs)
        return round(sum(pair[1] for pair in pairs) / total, 4) if total else None

    def _count(self, hour: int, seen: Hours, from_s: float, until_s: float) -> tuple[int, int]:
        """Minutes of an hour open, and those looked at, of the whole ones between two times in s since 1970."""
        begin = min(60, max(0, -int((hour * HOUR_S - from_s) // 60)))
        end = min(60, max(0, int((until_s - hour * HOUR_S) // 60)))
        within = ((1 << end) - 1) & ~((1 << begin) - 1)
        is_open = self.opening.in_hour(hour) & within
        return is_open.bit_count(), (is_open & seen.get(hour, 0)).bit_count()

    def _seen(self) -> dict[int, int]:
        hours = dict(self._earlier)
        for minute, looked in self._looked.items():
            if looked >= ENOUGH_S:
                at = int((minute * 60 + 30 + self._offset_s) // 60)
                hours[at // 60] = hours.get(at // 60, 0) | 1 << at % 60
        return hours

    def _hour(self, now_s: float) -> int:
        return int((now_s + self._offset_s) // HOUR_S)
