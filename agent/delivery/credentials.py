"""Who the door is to the broker: its identity folder, read again for each connection, so that a new certificate needs no restart."""

import logging
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from agent.health.certificate import Certificate
from contract.errors import ContractError
from contract.tls import CA, CERTIFICATE, KEY, client_context

log = logging.getLogger("agent.uplink")


@dataclass(frozen=True, slots=True)
class _Identity:
    digest: str  # of its files
    context: ssl.SSLContext
    ends: datetime | None  # of its certificate; None where that cannot be told


class Credentials:
    """To paho it is a TLS context; it may be used in any thread.

    While a new identity was not yet accepted, it and the one before take turns, the new one first.
    """

    check_hostname = True

    def __init__(self, folder: Path) -> None:
        """Raises ContractError as `client_context` does."""
        self._folder = folder
        self._held = self._used = _read(folder, _digest(folder))
        self._new: _Identity | None = None
        self._refused = self._unfit = (
            ""  # digests: by the broker while it took the one before; not even fit to be tried
        )
        self._lock = threading.Lock()

    @property
    def context(self) -> ssl.SSLContext:
        """What the last connection was tried with."""
        return self._used.context

    @property
    def ends(self) -> datetime | None:
        """When the certificate that was accepted last ends."""
        return self._held.ends

    @property
    def fault(self) -> str:
        """What is wrong with the files, though the door has a certificate that is accepted; empty where nothing."""
        if self._unfit:
            return "the new certificate cannot be used; the one before still is: enrol again"
        if self._new and self._new.digest == self._refused:
            return "the broker refuses the new certificate; the one before is still in use: enrol again"
        return ""

    def wrap_socket(self, plain: socket.socket, **options: Any) -> ssl.SSLSocket:
        """As SSLContext has it."""
        with self._lock:
            self._read()
            self._used = self._new if self._new and self._used is not self._new else self._held
        return self._used.context.wrap_socket(plain, **options)

    def accepted(self) -> None:
        """The last connection stands."""
        with self._lock:
            if self._used is self._new:
                self._held, self._new, self._refused = self._used, None, ""
                log.info("the new certificate is in use")
            elif self._new and self._new.digest != self._refused:
                self._refused = self._new.digest
                log.warning("%s", self.fault)

    def renewed(self) -> bool:
        """Whether there is a new identity that ought to be tried; not one that was refused, before it has another chance."""
        with self._lock:
            self._read()
            return self._new is not None and self._new.digest != self._refused

    def _read(self) -> None:
        digest = _digest(self._folder)
        if digest == (self._new.digest if self._new else self._unfit):
            return
        if digest == self._held.digest:
            self._new, self._unfit = None, ""
            return
        try:
            self._new, self._unfit = _read(self._folder, digest), ""
        except ContractError as error:
            self._new, self._unfit = None, digest
            log.warning("the certificate of now stays in use: %s", error)


def _read(folder: Path, digest: str) -> _Identity:
    context = client_context(folder)
    try:
        ends = Certificate.from_pem((folder / CERTIFICATE).read_text(errors="replace")).ends
    except (OSError, ContractError):  # TLS could use it: that is what counts
        ends = None
    return _Identity(digest, context, ends)


def _digest(folder: Path) -> str:
    """Of the three files, whatever is in them or missing."""
    found = sha256()
    for name in (KEY, CERTIFICATE, CA):
        try:
            found.update(sha256((folder / name).read_bytes()).digest())
        except OSError:
            found.update(bytes(1))
    return found.hexdigest()
