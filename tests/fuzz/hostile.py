"""Values that were never meant: what the fuzzers put where a sound one stood."""

from typing import Any
from uuid import UUID

NIL = UUID(int=0)
SCRIPT = "<script>alert(1)</script>"
TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", SCRIPT, "\"><img src=x onerror=alert(1)>", "'; DROP TABLE events; --",
    "' OR '1'='1", "{{ 7 * 7 }}", "${7*7}", "%s%n%x", "../../../etc/passwd", "..\\..\\boot.ini", "/dev/null", "a/b", "+", "#",
    "$SYS/broker", "\u202egnp.exe", "\u200b", "e\u0301" * 40, "\U0001f637" * 20, "x" * 5_000, "\r\nSet-Cookie: a=b", "NaN", "null",
    "-0", "1e400", "\ufeff", "\ufffe", "İ", "ß" * 100, str(NIL), "mf/v1/00/x/events", "javascript:alert(1)", "=cmd|' /C calc'!A0",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0, 1e-320, 1e308, 1.5,
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TIMES = (
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999-14:00", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2038-01-19T03:14:08Z",
    "2016-12-31T23:59:60Z", "2024-02-29T24:00:00Z", "2023-02-29T00:00:00Z", "2026-03-29T02:30:00+01:00", "10000-01-01T00:00:00Z",
    "2026-05-04T12:30:00", "2026-05-04", "2026-05-04T12:30:00+99:99", "now", "253402300799", "-62135596800",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, {"id": 1}, [1] * 200)
NAMES = (
    "..", ".", "../x", "dev/../x", "A", "front\0", "front ", " front", "front\n", "-front", "x" * 40, "x" * 300, "+", "#", "$SYS",
    "frönt", "front%2f..", "'; DROP TABLE devices; --", SCRIPT, "", "x",
)  # fmt: skip
EVERYTHING = TEXTS + NUMBERS + TIMES + OTHERS
