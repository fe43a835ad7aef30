"""An identity folder as a TLS client, the same at the door and in the cloud: who we are, and whom we believe."""

import socket
import ssl
from pathlib import Path

from contract.errors import ContractError

KEY = "key.pem"
CERTIFICATE = "certificate.pem"
CA = "ca.pem"
ANSWER_S = 3.0  # how long a peer may take to say why it refuses us

# What OpenSSL says, and what it means to whoever stands before the device.
_MEANINGS = (
    ("certificate is not yet valid", "its certificate is not valid yet by this machine's clock: set the clock"),
    ("certificate has expired", "its certificate has expired, or this machine's clock is wrong"),
    ("hostname mismatch", "its certificate is for another host name"),
    ("ip address mismatch", "its certificate is for another address"),
    ("self-signed certificate", f"its certificate is of another CA than our {CA}"),
    ("self signed certificate", f"its certificate is of another CA than our {CA}"),
    ("unable to get local issuer", f"its certificate is of another CA than our {CA}"),
    ("alert unknown ca", "it does not know our certificate's CA: enrol with the CA that this broker trusts"),
    ("alert certificate revoked", "our certificate was revoked: enrol again with a new token"),
    ("alert certificate expired", "our certificate has expired: enrol again with a new token"),
    ("alert certificate required", "it wants a certificate, and we have none"),
    ("wrong version number", "it does not speak TLS there: use the port of its TLS listener"),
)


def client_context(identity: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with the key and certificate of `identity`, believing only its `ca.pem`; host names are checked.

    Raises ContractError that names the file and says what to do.
    """
    for name in (KEY, CERTIFICATE, CA):
        try:
            (identity / name).read_bytes()
        except OSError as error:
            raise ContractError(
                f"cannot read {identity / name} ({error.strerror}): an identity folder holds {KEY}, {CERTIFICATE} and "
                f"{CA}; `provisioning enrol` makes a door's, `provisioning service` the cloud's"
            ) from error
    try:
        context = ssl.create_default_context(cafile=str(identity / CA))
    except ssl.SSLError as error:
        raise ContractError(f"{identity / CA} holds no certificate; copy the CA's there again") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(identity / CERTIFICATE, identity / KEY)
    except ssl.SSLError as error:
        raise ContractError(
            f"{identity / CERTIFICATE} and {identity / KEY} do not belong together, or one is damaged; enrol again"
        ) from error
    return context


def why_refused(host: str, port: int, context: ssl.SSLContext | None) -> str:
    """Knock once and say in words what is wrong; "" where nothing is. Takes up to a few seconds, sends no message."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_S) as plain:
            if context is None:
                return ""
            with context.wrap_socket(plain, server_hostname=host) as secure:
                secure.recv(1)  # by TLS 1.3 a peer refuses a certificate only after the handshake
    except TimeoutError:
        return ""
    except ssl.SSLError as error:
        return meaning(str(error))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def meaning(text: str) -> str:
    """What a line of OpenSSL means; the line itself where nobody has met it yet."""
    plain = text.lower()
    return next((said for key, said in _MEANINGS if key in plain), text)
