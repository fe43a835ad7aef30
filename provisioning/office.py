"""The CA's folder: its key, certificate, registry and revocation list, made whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from contract.errors import ContractError
from provisioning import durable
from provisioning.ca import BROKER, Authority, Role, certificate_text, key_text, name_in
from provisioning.csr import make_key, store_certificate
from provisioning.registry import Registry

KEY = "ca-key.pem"
CERTIFICATE = "ca.pem"
REGISTRY = "registry.db"
CRL = "crl.pem"


@dataclass(frozen=True, slots=True)
class Office:
    """An opened CA folder."""

    folder: Path
    authority: Authority
    registry: Registry

    @property
    def ca(self) -> bytes:
        """The CA's certificate as PEM, for everybody."""
        return certificate_text(self.authority.certificate)

    def record(self, certificate: x509.Certificate) -> None:
        """Remember a certificate, so that it can be revoked; within a transaction."""
        self.registry.add_certificate(certificate.serial_number, name_in(certificate), certificate.not_valid_after_utc)

    def certify_service(
        self, role: Role, folder: Path, *, now: datetime, hosts: Sequence[str] = (), number: int = 1
    ) -> None:
        """Make or renew a service's identity in `folder`; its key stays. `number` tells several of one role apart.

        Raises ContractError where `hosts`, the names clients call it by, are missing for a server or given to a client,
        and for a number that the broker's access list does not know.
        """
        if number != 1 and role is not Role.CLOUD:
            raise ContractError(f"only {Role.CLOUD} has numbers: several consumers may share the work")
        role.numbered(number)  # before a key is made
        if hosts and role is not Role.WEB:
            raise ContractError(f"nobody calls {role.user}, so it has no --host")
        if role is Role.WEB and not hosts:  # before a key is made
            raise ContractError(f"{role.user} needs a name that its clients call it by: --host NAME")
        public_key = make_key(folder).public_key()
        if role is Role.WEB:
            certificate = self.authority.issue_server(hosts, public_key, now=now, user=role.user)
        else:
            certificate = self.authority.issue_service(role, public_key, now=now, number=number)
        self._deliver(certificate, folder, now)

    def certify_broker(self, hosts: list[str], folder: Path, *, now: datetime) -> None:
        """Make or renew the broker's identity in `folder`; its key stays."""
        certificate = self.authority.issue_server(hosts, make_key(folder).public_key(), now=now)
        self._deliver(certificate, folder, now)

    def revoke(self, name: str, *, now: datetime) -> int:
        """Revoke every certificate of a device or service and take back its tokens; returns how many certificates.

        The list is written too, also where nothing is new: so a revocation cut short can be repeated.
        """
        with self.registry.writing():
            if not self.registry.knows(name):
                raise ContractError(
                    f"no certificate was issued to {name[:60]!r}; devices go by their names, services by "
                    f"{', '.join([BROKER, *(role.user for role in Role)])}"
                )
            count = self.registry.revoke(name, now=now)
            self.registry.spend_all(name, now=now)
            self.registry.note("revoked", name, f"{count} certificates", now=now)
        self.write_revocations(now=now)
        return count

    def write_revocations(self, *, now: datetime) -> bytes:
        """Issue the revocation list anew, good for a week from `now`; returns it."""
        with self.registry.writing():
            number = self.registry.next_list(now=now)
            text = self.authority.revocations(self.registry.revoked(now=now), number=number, now=now)
            durable.write(self.folder / CRL, text)  # inside, so that an older list never replaces a newer one
        return text

    def _deliver(self, certificate: x509.Certificate, folder: Path, now: datetime) -> None:
        with self.registry.writing():
            self.record(certificate)
            self.registry.note("certified", name_in(certificate), f"serial {certificate.serial_number:x}", now=now)
        store_certificate(folder, certificate, self.ca)


def found_office(folder: Path, name: str, *, now: datetime) -> None:
    """Make a CA in `folder`, all of it in one step; raises ContractError, and changes nothing, where something is."""
    durable.make_folder(folder.absolute().parent)
    try:
        draft = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise ContractError(f"cannot write beside {folder}: {error.strerror}") from error
    try:
        authority = Authority.found(name, now=now)
        durable.write_once(draft / KEY, key_text(authority.key), mode=0o600)
        durable.write_once(draft / CERTIFICATE, certificate_text(authority.certificate))
        with closing(Registry.open(draft / REGISTRY)) as registry:
            Office(draft, authority, registry).write_revocations(now=now)
        try:
            draft.rename(folder)  # replaces an empty folder, never a full one
        except OSError as error:
            raise ContractError(f"{folder} is not empty, and a CA is never overwritten; name another folder") from error
        durable.sync_folder(folder.absolute().parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def open_office(folder: Path) -> Iterator[Office]:
    """The CA in `folder`; raises ContractError where there is none, or others could read its key."""
    key = folder / KEY
    if not key.exists():
        raise ContractError(f"no CA in {folder}; make one with `provisioning ca {folder}`, or name it with --ca")
    if key.stat().st_mode & 0o077:
        raise ContractError(f"others may read {key}; run `chmod 600 {key}`, and ask who has")
    authority = Authority.read(durable.read(folder / CERTIFICATE), durable.read(key))
    with closing(Registry.open(folder / REGISTRY)) as registry:
        yield Office(folder, authority, registry)
