"""Each server looks when its own certificates, lists and signatures end, and tells the database, where alerts are watched."""

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.config import CloudSettings
from cloud.fleet.alerts import Kind
from cloud.fleet.releases import Repository
from cloud.store import endings as store
from cloud.store.database import reason
from contract.errors import ContractError
from contract.tls import CERTIFICATE

log = logging.getLogger("cloud.endings")
EVERY_S = 60.0
LIST = b"-----BEGIN X509 CRL-----"

Ends = Callable[[], Mapping[Kind, Mapping[str, datetime]]]


class Teller:
    """One in every process that holds something which ends."""

    def __init__(self, engine: Engine, looks: tuple[Ends, ...]) -> None:
        """Each of `looks` says by kind and name when things end; it may raise ContractError or OSError."""
        self._engine, self._looks = engine, looks
        self._stop = threading.Event()
        self._told: set[str] = set()

    def run(self) -> None:
        """At once and then every minute until `stop`; what goes wrong is said once."""
        while True:
            try:
                self.turn(datetime.now(UTC))
            except SQLAlchemyError as error:
                log.warning("cannot tell what ends when (%s); trying again", reason(error))
            if self._stop.wait(EVERY_S):
                return

    def stop(self) -> None:
        """Ask `run` to return. Safe in any thread."""
        self._stop.set()

    def turn(self, now: datetime) -> None:
        """Look and tell. What cannot be read now keeps the end that was told last. Raises SQLAlchemyError."""
        found: list[tuple[Kind, Mapping[str, datetime]]] = []
        wrong: set[str] = set()
        for look in self._looks:
            try:
                found += look().items()
            except (ContractError, OSError) as error:
                wrong.add(str(error))
        for what in sorted(wrong - self._told):
            log.warning("cannot see when something ends: %s; trying again", what)
        self._told = wrong
        with self._engine.begin() as connection:
            for kind, ends in found:
                store.tell(connection, kind, ends, now)
            store.tidy(connection, now)


def consumer_look(settings: CloudSettings) -> Ends:
    """The consumer's own certificate."""

    def look() -> Mapping[Kind, Mapping[str, datetime]]:
        if settings.identity is None:
            return {}
        return {Kind.CERTIFICATE_ENDING: {f"consumer {settings.client_id}": _ends(settings.identity / CERTIFICATE)}}

    return look


def server_look(settings: CloudSettings, host: str | None = None) -> Ends:
    """The web server's own certificate."""

    def look() -> Mapping[Kind, Mapping[str, datetime]]:
        if settings.https.identity is None:
            return {}
        name = f"web server {(host or socket.gethostname())[:60]}"
        return {Kind.CERTIFICATE_ENDING: {name: _ends(settings.https.identity / CERTIFICATE)}}

    return look


def file_look(path: Path) -> Ends:
    """A file that the settings name: a certificate, or a revocation list."""

    def look() -> Mapping[Kind, Mapping[str, datetime]]:
        content = path.read_bytes()
        if LIST not in content:
            return {Kind.CERTIFICATE_ENDING: {str(path)[-120:]: _ends(path)}}
        try:
            ends = x509.load_pem_x509_crl(content).next_update_utc
        except ValueError as error:
            raise ContractError(f"{path} holds no revocation list") from error
        return {} if ends is None else {Kind.REVOCATIONS_ENDING: {str(path)[-120:]: ends}}

    return look


def signature_look(repository: Repository) -> Ends:
    """The releases' signatures; nothing where there is no repository."""

    def look() -> Mapping[Kind, Mapping[str, datetime]]:
        return {Kind.SIGNATURES_ENDING: repository.endings()} if repository.is_there() else {}

    return look


def _ends(path: Path) -> datetime:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except ValueError as error:
        raise ContractError(f"{path} holds no certificate") from error
