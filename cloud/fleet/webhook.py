"""Posts a signed message to somebody else's server, and to no address that was not meant."""

import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contract.errors import ContractError, TryAgainError
from contract.settings import LOOPBACK

SIGNATURE = "X-Maskfleet-Signature"
WAIT_S = 5.0  # for one step of the way
WHOLE_S = 15.0  # for all of it
LEAST_SECRET = 16  # bytes
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotDeliveredError(TryAgainError):
    """It did not arrive; the message says why, without the address's path: that may be a secret."""


class Webhook:
    """Any 2xx answer means delivered. Redirects are not followed."""

    def __init__(self, secret: bytes, *, private: bool, tls: ssl.SSLContext, whole_s: float = WHOLE_S) -> None:
        """`private` lets it go to private networks; all of one delivery takes `whole_s` at most, but for the name."""
        self._secret, self._private, self._tls, self._whole_s = secret, private, tls, whole_s

    def send(self, url: str, body: bytes, message_id: str, now: datetime) -> None:
        """POST `body`, JSON. Raises NotDeliveredError."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = self._resolve(host, port, loopback=parts.scheme == "http")
        headers = {
            "Host": parts.netloc, "Content-Type": "application/json", "User-Agent": "maskfleet", "Connection": "close",
            "X-Maskfleet-Delivery": message_id, SIGNATURE: sign(self._secret, body, now),
        }  # fmt: skip
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            with socket.create_connection((str(address), port), timeout=WAIT_S) as raw:
                status = self._post(raw, host if parts.scheme == "https" else "", target, body, headers)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NotDeliveredError(f"{host}: {_why(error)}") from error
        if not 200 <= status < 300:
            raise NotDeliveredError(f"{host} answers {status}")

    def _post(self, raw: socket.socket, tls_name: str, target: str, body: bytes, headers: dict[str, str]) -> int:
        """The answer's status; whoever sends it a byte now and then is cut off."""
        stream = raw
        if tls_name:
            stream = self._tls.wrap_socket(raw, server_hostname=tls_name, do_handshake_on_connect=False)
        cut = threading.Timer(self._whole_s, _cut, [stream])
        cut.start()
        connection = http.client.HTTPConnection(headers["Host"])
        connection.sock = stream
        try:
            if isinstance(stream, ssl.SSLSocket):
                stream.do_handshake()
            connection.request("POST", target, body, headers)
            return connection.getresponse().status
        finally:
            cut.cancel()
            connection.close()

    def _resolve(self, host: str, port: int, *, loopback: bool) -> Address:
        """An address that may be spoken to, all of the name's being so: what was looked at is what is connected to."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotDeliveredError(f"{host}: no such name") from error
        addresses = [_plain(ipaddress.ip_address(str(one[4][0]).partition("%")[0])) for one in found]
        for address in addresses:
            fine = address.is_loopback if loopback else self._allowed(address, host)
            if not fine:
                raise NotDeliveredError(f"{host} is {address}, which webhooks may not go to (alerts.private_addresses)")
        return addresses[0]

    def _allowed(self, address: Address, host: str) -> bool:
        if address.is_loopback:
            return host in LOOPBACK
        if address.is_global and not address.is_multicast:
            return True
        reachable = not (address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved)
        return self._private and reachable


def sign(secret: bytes, body: bytes, now: datetime) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds since 1970 as text, a dot and the body."""
    at = str(int(now.timestamp()))
    return f"t={at},v1={hmac.new(secret, at.encode() + b'.' + body, sha256).hexdigest()}"


def read_secret(path: Path) -> bytes:
    """The file's content without space around it. Raises ContractError where it is too short or cannot be read."""
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ContractError(f"cannot read alerts.webhook_secret {path}: {error.strerror}") from error
    if len(secret) < LEAST_SECRET:
        raise ContractError(
            f"{path} holds {len(secret)} bytes; a secret needs {LEAST_SECRET}: openssl rand -hex 32 > {path}"
        )
    return secret


def _plain(address: Address) -> Address:
    """The IPv4 address within one of IPv6, where there is one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _cut(raw: socket.socket) -> None:
    try:
        socket.socket.shutdown(raw, socket.SHUT_RDWR)  # of TCP: TLS would be waited for
    except OSError:
        return  # it is closed already


def _why(error: Any) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {WAIT_S:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:200]
