"""The gate before any decoder: reads a JPEG's segment headers and lets only plain small baseline pictures through."""

from dataclasses import dataclass

from contract.errors import ContractError

SOI, EOI, SOF0, DHT, DQT, DRI, SOS, APP0, COM = 0xD8, 0xD9, 0xC0, 0xC4, 0xDB, 0xDD, 0xDA, 0xE0, 0xFE
OTHER_FRAMES = frozenset(range(0xC1, 0xD0)) - {DHT, 0xC8, 0xCC}
APPS = frozenset(range(0xE1, 0xF0))


@dataclass(frozen=True, slots=True)
class Picture:
    """What the header says: px, px, and 1 (grey) or 3 components."""

    width: int
    height: int
    components: int


def require_plain_jpeg(
    data: bytes, *, least_side: int = 8, greatest_side: int = 512, greatest_bytes: int = 100_000
) -> Picture:
    """Return the size of a picture that is safe to hand to a decoder; looks at headers only, in microseconds.

    Safe is: one baseline frame with sides from `least_side` to `greatest_side` px and 1 or 3 components, one scan, no
    metadata but a plain JFIF header, and nothing after the end. A 691-byte file may otherwise ask for 1.5 GB.
    Raises ContractError that names the first fault.
    """
    if len(data) > greatest_bytes:
        raise ContractError(f"a picture of {len(data)} bytes, but at most {greatest_bytes} are allowed")
    if data[:2] != bytes((0xFF, SOI)):
        raise ContractError("not a JPEG: it does not start with SOI")
    picture: Picture | None = None
    tables: set[int] = set()
    at = 2
    while True:
        marker, body, at = _segment(data, at)
        if marker == SOF0:
            if picture is not None:
                raise ContractError("a JPEG with two frame headers")
            picture = _frame(body, least_side, greatest_side)
        elif marker == SOS:
            break
        elif marker in (DHT, DQT, DRI):
            tables.add(marker)
        elif marker == APP0:
            _require_plain_jfif(body)
        else:
            raise ContractError(_why_not(marker))
    if picture is None:
        raise ContractError("a JPEG scan without a frame header")
    if not {DHT, DQT} <= tables:
        raise ContractError("a JPEG without its tables")
    if not body or body[0] != picture.components or len(body) != 4 + 2 * picture.components:
        raise ContractError("a JPEG whose scan does not hold all components")
    _require_one_scan(data, at)
    return picture


def _segment(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The marker at `at`, its body, and where the next one starts."""
    if len(data) < at + 4 or data[at] != 0xFF:
        raise ContractError("a JPEG that ends or loses its markers before its scan")
    marker = data[at + 1]
    if marker == 0xFF or marker < SOF0 or SOI - 8 <= marker <= EOI:
        raise ContractError(f"a JPEG with marker {marker:02x} where a segment should begin")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    end = at + 2 + length
    if length < 2 or end > len(data):
        raise ContractError("a JPEG segment that reaches beyond the file")
    return marker, data[at + 4 : end], end


def _frame(body: bytes, least: int, greatest: int) -> Picture:
    if len(body) < 6 or body[0] != 8:
        raise ContractError("a JPEG frame header that is not 8 bits a sample")
    height, width, components = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5]
    if components not in (1, 3) or len(body) != 6 + 3 * components:
        raise ContractError(f"a JPEG with {components} components; 1 or 3 are allowed")
    if not (least <= width <= greatest and least <= height <= greatest):
        raise ContractError(f"a JPEG of {width} x {height} px; sides from {least} to {greatest} are allowed")
    for sampling in body[7::3]:
        if not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4):
            raise ContractError("a JPEG with an impossible sampling factor")
    return Picture(width, height, components)


def _require_plain_jfif(body: bytes) -> None:
    if len(body) != 14 or body[:5] != b"JFIF\0" or body[12:14] != b"\0\0":
        raise ContractError("a JPEG with an APP0 segment that is not a plain JFIF header")


def _require_one_scan(data: bytes, at: int) -> None:
    """Walk the entropy-coded bytes: only stuffing and restart markers until EOI, and EOI is the end."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise ContractError("a JPEG without an end")
        marker = data[at + 1]
        if marker == EOI:
            if at + 2 != len(data):
                raise ContractError(f"{len(data) - at - 2} bytes after the end of the JPEG")
            return
        if marker != 0 and not 0xD0 <= marker <= 0xD7:
            raise ContractError("a JPEG with more than one scan")
        at += 2


def _why_not(marker: int) -> str:
    if marker in OTHER_FRAMES:
        return "a JPEG that is not baseline"
    if marker in APPS or marker == COM:
        return "a JPEG with metadata"
    return f"a JPEG with an unexpected segment {marker:02x}"
