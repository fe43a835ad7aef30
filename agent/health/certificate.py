"""The three things of a certificate that a door must know of its own: for whom, from when, until when."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from contract.errors import ContractError

_COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3
_SEQUENCE, _INTEGER, _OID, _UTC_TIME, _TIME, _VERSION = 0x30, 0x02, 0x06, 0x17, 0x18, 0xA0
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Read, not believed: TLS checks signatures."""

    name: str  # the subject's common name; "" where it has none
    begins: datetime
    ends: datetime

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """The first certificate in `text`; raises ContractError where there is none."""
        _, begun, rest = text.partition(_BEGIN)
        body, ended, _ = rest.partition(_END)
        try:
            der = base64.b64decode("".join(body.split()), validate=True)
        except ValueError:
            der = b""
        if not (begun and ended and der):
            raise ContractError("it holds no PEM certificate")
        return cls.from_der(der)

    @classmethod
    def from_der(cls, der: bytes) -> Self:
        """X.509 (RFC 5280, 4.1); raises ContractError for anything else."""
        try:
            ((kind, outer),) = _parts(der)
            (inner, *_) = _parts(outer)
            fields = [one for one in _parts(inner[1]) if one[0] != _VERSION]
            serial, _, _, validity, subject = fields[:5]
            begins, ends = (_time(*one) for one in _parts(validity[1]))
            if kind != _SEQUENCE or serial[0] != _INTEGER:
                raise ContractError("it is no certificate")
            return cls(_common_name(subject[1]), begins, ends)
        except (ValueError, IndexError) as error:
            raise ContractError("it is no certificate") from error


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element; raises ValueError or IndexError where they do not fill `der` exactly."""
    at = 0
    while at < len(der):
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:
            octets = size & 0x7F
            if not 1 <= octets <= 4:
                raise ValueError("length")
            size = int.from_bytes(der[at : at + octets])
            at += octets
        if at + size > len(der):
            raise ValueError("cut off")
        yield tag, der[at : at + size]
        at += size


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits; 50 and above are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _common_name(subject: bytes) -> str:
    for _, one in _parts(subject):
        for _, pair in _parts(one):
            (kind, oid), (_, value) = _parts(pair)
            if kind == _OID and oid == _COMMON_NAME:
                return value.decode("utf-8", errors="replace")
    return ""
