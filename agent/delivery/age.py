"""How long an outbox has lived, by clocks that may be wrong, so that what it holds can be too old."""

from dataclasses import dataclass, field
from typing import Self

from agent.clock import Reading

DAY_S = 86_400.0


@dataclass(slots=True)
class Age:
    """Seconds since the outbox was made: of running by the boot clock, and of standing dark where a right clock can tell.

    A time that is not trusted is never used: a clock that springs from 1970 to today makes nothing old.
    """

    s: float = 0.0
    known: tuple[float, float] | None = None  # a trusted time (seconds since 1970), and the age then
    _last_s: float | None = field(default=None)  # the boot clock at the last look

    @classmethod
    def restored(cls, values: dict[str, int]) -> Self:
        """From what `as_values` gave another process."""
        age = cls(float(values.get("age_s", 0)))
        if values.get("known_at"):
            age.known = (float(values["known_at"]), float(values.get("known_age_s", 0)))
        return age

    def as_values(self) -> dict[str, int]:
        """Whole seconds by name, to be kept on the disk."""
        values = {"age_s": int(self.s)}
        if self.known:
            values |= {"known_at": int(self.known[0]), "known_age_s": int(self.known[1])}
        return values

    def grow(self, now: Reading) -> float:
        """Look at the clocks; returns by how much a time in the dark, not noticed until now, made the outbox older."""
        dark_s = 0.0
        if self._last_s is not None:
            self.s += max(0.0, now.stamp.at_s - self._last_s)
        self._last_s = now.stamp.at_s
        if now.trusted:
            wall = now.at.timestamp()
            if self.known:
                at, age = self.known
                dark_s = max(0.0, age + wall - at - self.s)
                self.s += dark_s
            self.known = (wall, self.s)
        return dark_s
