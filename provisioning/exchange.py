"""What a device and the enrolment service say to each other, and the device's half of it."""

import http.client
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from pydantic import Field

from contract.errors import ContractError, TryAgainError
from contract.identity import require_device_id
from contract.tls import meaning
from contract.wire import Wire
from provisioning import durable
from provisioning.ca import REQUEST_LIMIT, name_in, read_certificate
from provisioning.csr import make_request, store_certificate

PATH = "/enrol"
EXCHANGE_LIMIT = 16 * 1024  # bytes of a question or an answer
ANSWER_S = 20.0


class Question(Wire):
    """`POST /enrol`: a one-time token and a CSR."""

    token: str = Field(max_length=200)
    csr: str = Field(max_length=REQUEST_LIMIT, description="PEM")


class Granted(Wire):
    """The certificate for it."""

    certificate: str = Field(max_length=REQUEST_LIMIT, description="PEM")


class Refused(Wire):
    """Any other answer: one line that says why, and what to do."""

    detail: str = Field(max_length=2000)


def enrol_at(url: str, ca: Path, token: str, device: str, folder: Path) -> None:
    """Make the device's key and CSR in `folder`, send the CSR to `url`, and keep the certificate beside the key.

    The key never leaves, and may be there already. `ca` is the CA's certificate (or the folder with its `ca.pem`): only a
    server and a certificate of this CA are believed. Raises ContractError for what is refused or wrong, TryAgainError where
    the service is away or asks for patience.
    """
    require_device_id(device)
    host, port = _address(url)
    place = ca / "ca.pem" if ca.is_dir() else ca
    authority = durable.read(place)
    trusted = read_certificate(authority)
    try:
        context = ssl.create_default_context(cadata=authority.decode())
    except (ssl.SSLError, ValueError) as error:
        raise ContractError(f"{place} holds no certificate; copy the CA's there again") from error
    csr = durable.read(make_request(device, folder), limit=REQUEST_LIMIT)
    answer = _ask(host, port, context, Question(token=token, csr=csr.decode()))
    certificate = read_certificate(answer.certificate.encode())
    try:
        certificate.verify_directly_issued_by(trusted)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ContractError(f"{host} sent a certificate of another CA than {place}; nothing was kept") from error
    if name_in(certificate) != device:
        raise ContractError(f"{host} sent the certificate of {name_in(certificate)[:60]!r}; nothing was kept")
    store_certificate(folder, certificate, authority)


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "https" or parts.path not in ("", "/") or "@" in url:
        raise ContractError(f"write the enrolment service as https://HOST:PORT, not {url[:80]!r}")
    return host, port


def _ask(host: str, port: int, context: ssl.SSLContext, question: Question) -> Granted:
    line = http.client.HTTPSConnection(host, port, timeout=ANSWER_S, context=context)
    try:
        line.request("POST", PATH, question.encode(), {"Content-Type": "application/json"})
        answer = line.getresponse()
        status, content = answer.status, answer.read(EXCHANGE_LIMIT + 1)
    except ssl.SSLError as error:
        raise ContractError(f"{host}:{port} is not believed: {meaning(str(error))}") from error
    except (OSError, http.client.HTTPException) as error:
        raise TryAgainError(f"cannot reach {host}:{port} ({error}); is `provisioning serve` running there?") from error
    finally:
        line.close()
    if status == 200:
        return Granted.decode(content, limit=EXCHANGE_LIMIT)
    try:
        why = Refused.decode(content, limit=EXCHANGE_LIMIT).detail
    except ContractError:
        why = f"{host}:{port} answers {status}; is this the enrolment service?"
    raise (TryAgainError if status in (429, 503) else ContractError)(why)
