"""Wall time, and whether it can be trusted: a Pi has no clock of its own and wakes up in the past."""

import ctypes
from datetime import UTC, datetime

_TIME_ERROR = 5  # what adjtimex answers while the kernel's clock is not disciplined (adjtimex(2))
_TIMEX_BYTES = 256  # struct timex is 208 bytes on 64-bit Linux; all zero asks without changing


def now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)


def synchronised() -> bool:
    """Whether the kernel says that NTP has set the clock; False where it cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return bool(0 <= state < _TIME_ERROR)
