"""An identity folder: a key that is made where it is used and never leaves, its request, and the certificate it gets."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contract.errors import ContractError
from contract.identity import require_device_id
from contract.tls import CA, CERTIFICATE, KEY
from provisioning import durable
from provisioning.ca import certificate_text, key_text, read_certificate, read_key

REQUEST = "request.csr"


def make_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """The folder's P-256 key, made now where there is none.

    Raises ContractError where others could read the key, or it is broken.
    """
    durable.make_folder(folder)
    path = folder / KEY
    if not path.exists():
        durable.write_once(path, key_text(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
    if path.stat().st_mode & 0o077:
        raise ContractError(f"others may have read {path}: remove it, and enrol with a new one")
    return read_key(durable.read(path))


def make_request(device: str, folder: Path) -> Path:
    """Write `request.csr` for `device`, and the key first where there is none; returns the request's path.

    May be repeated: the key stays. Raises ContractError for a name that no device can have.
    """
    require_device_id(device)
    key = make_key(folder)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    path = folder / REQUEST
    durable.write(path, request.public_bytes(serialization.Encoding.PEM))
    return path


def store_certificate(folder: Path, certificate: x509.Certificate, ca: bytes) -> None:
    """Put a certificate and its CA into `folder`; the certificate is last, in one step, over an older one.

    Raises ContractError, and changes nothing, where the folder's key is another's.
    """
    durable.make_folder(folder)
    key = folder / KEY
    if key.exists() and read_key(durable.read(key)).public_key() != certificate.public_key():
        raise ContractError(f"the certificate is for another key than {key}; send this folder's {REQUEST}")
    read_certificate(ca)
    durable.write(folder / CA, ca)
    durable.write(folder / CERTIFICATE, certificate_text(certificate))
