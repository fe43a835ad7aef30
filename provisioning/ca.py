"""The certificate authority's rules: requests and a time in, certificates and revocation lists out."""

import ipaddress
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contract.errors import ContractError
from contract.identity import require_device_id

CA_LIFE = timedelta(days=3650)
DEVICE_LIFE = timedelta(days=90)
SERVICE_LIFE = timedelta(days=365)  # services are renewed by hand: run their command again
CRL_LIFE = timedelta(days=7)  # re-issued daily; a list that has run out shuts everybody out
BACKDATED = timedelta(hours=1)  # for clocks that are a little behind
REQUEST_LIMIT = 8192  # bytes

BROKER = "service.broker"
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,8}", re.ASCII)

MOST_OF_A_ROLE = 16  # consumers side by side; the broker's access list names them all


class Role(StrEnum):
    """What a service does; it is in the service's name."""

    CLOUD = "cloud"
    HOME_ASSISTANT = "home-assistant"  # reads what the cloud tells it, where the broker was told to let it
    WEB = "web"  # a server, called by the names in its certificate; the others are clients

    @property
    def user(self) -> str:
        """The name in the certificate: its dot is outside a device's grammar, so no device can bear it."""
        return f"service.{self}"

    def numbered(self, number: int) -> str:
        """The name of one of several that do the same; the first has none but the role's. Raises ContractError."""
        if not 1 <= number <= MOST_OF_A_ROLE:
            raise ContractError(f"{self} number {number}? Use 1 to {MOST_OF_A_ROLE}")
        return self.user if number == 1 else f"{self.user}-{number}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is believed of a device's CSR once its signature holds: a name and a key; nothing else it asks for."""

    device: str
    public_key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Authority:
    """A key that vouches for names."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def found(cls, name: str, *, now: datetime) -> Self:
        """A new authority of its own, on P-256, that signs no other authorities."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        certificate = (
            _builder(subject, subject, key.public_key(), now, CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def read(cls, certificate: bytes, key: bytes) -> Self:
        """The authority in these PEM texts; raises ContractError where they are broken or do not belong together."""
        private = read_key(key)
        parsed = read_certificate(certificate)
        if parsed.public_key() != private.public_key():
            raise ContractError("the CA's certificate and key do not belong together; restore both from one backup")
        return cls(parsed, private)

    def issue_device(self, request: Request, *, now: datetime) -> x509.Certificate:
        """90 days for a device, as a client only."""
        return self._issue(
            require_device_id(request.device), request.public_key, ExtendedKeyUsageOID.CLIENT_AUTH, now, DEVICE_LIFE
        )

    def issue_service(
        self, role: Role, public_key: ec.EllipticCurvePublicKey, *, now: datetime, number: int = 1
    ) -> x509.Certificate:
        """A year for a service, as a client only; `number` tells several of one role apart."""
        return self._issue(role.numbered(number), public_key, ExtendedKeyUsageOID.CLIENT_AUTH, now, SERVICE_LIFE)

    def issue_server(
        self, hosts: Sequence[str], public_key: ec.EllipticCurvePublicKey, *, now: datetime, user: str = BROKER
    ) -> x509.Certificate:
        """A year for a server under these names or addresses, and as no client; raises ContractError for bad ones."""
        if not hosts:
            raise ContractError(f"{user} needs a name that its clients call it by: --host NAME")
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._issue(user, public_key, ExtendedKeyUsageOID.SERVER_AUTH, now, SERVICE_LIFE, names)

    def revocations(self, revoked: Iterable[tuple[int, datetime]], *, number: int, now: datetime) -> bytes:
        """The list of revoked serials as PEM, good for a week; `number` only grows."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update((now - BACKDATED).replace(microsecond=0))
            .next_update((now + CRL_LIFE).replace(microsecond=0))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for serial, at in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at.replace(microsecond=0))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _issue(
        self,
        name: str,
        public_key: ec.EllipticCurvePublicKey,
        purpose: x509.ObjectIdentifier,
        now: datetime,
        life: timedelta,
        names: x509.SubjectAlternativeName | None = None,
    ) -> x509.Certificate:
        if now + life > self.certificate.not_valid_after_utc:
            ends = f"{self.certificate.not_valid_after_utc:%Y-%m-%d}"
            raise ContractError(f"the CA ends on {ends}, before this certificate would; make a new CA")
        builder = (
            _builder(_named(name), self.certificate.subject, public_key, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def read_request(csr: bytes) -> Request:
    """What a device's CSR (PEM) says; raises ContractError for anything but one permitted name on one P-256 key."""
    if len(csr) > REQUEST_LIMIT:
        raise ContractError(f"a CSR of {len(csr)} bytes; at most {REQUEST_LIMIT} are allowed")
    try:
        request = x509.load_pem_x509_csr(csr)
        sound = request.is_signature_valid
        with warnings.catch_warnings(action="ignore"):  # of names too long for X.509, which our grammar refuses
            names = [attribute.value for attribute in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        public_key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ContractError("not a sound CSR in PEM; make one with `provisioning csr DEVICE FOLDER`") from error
    if not sound:
        raise ContractError("the CSR's signature is wrong; make it again with `provisioning csr DEVICE FOLDER`")
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp256r1":
        raise ContractError("the CSR's key is not on P-256; make it with `provisioning csr DEVICE FOLDER`")
    if len(names) != 1 or not isinstance(names[0], str):
        raise ContractError(f"the CSR has {len(names)} names where one belongs; make it with `provisioning csr`")
    return Request(require_device_id(names[0]), public_key)


def read_certificate(pem: bytes) -> x509.Certificate:
    """Raises ContractError where `pem` is no certificate."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ContractError("not a certificate in PEM; restore it from a backup") from error


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ContractError where `pem` is no unencrypted P-256 key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ContractError("not a private key in PEM; restore it from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ContractError("the private key is not on P-256; make another")
    return key


def key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PEM, not encrypted: whoever writes it guards it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_text(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def name_in(certificate: x509.Certificate) -> str:
    """The name the broker will know its bearer by."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before((now - BACKDATED).replace(microsecond=0))
        .not_valid_after((now + life).replace(microsecond=0))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not _HOST.fullmatch(text):
            raise ContractError(
                f"{text[:60]!r} is no host; use a name such as broker.example.org, or an address"
            ) from None
        return x509.DNSName(text)
