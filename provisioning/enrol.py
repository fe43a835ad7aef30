"""Enrolment: a one-time token and a CSR for a certificate; the same rules for files now and for HTTPS later."""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509

from contract.errors import ContractError
from contract.identity import require_device_id
from provisioning.ca import Request, read_request
from provisioning.office import Office
from provisioning.registry import Token

TOKEN_LIFE = timedelta(hours=24)


def new_token(office: Office, device: str, *, now: datetime) -> str:
    """A token that lets `device`, and no other, enrol once within 24 hours. Only its digest is kept."""
    require_device_id(device)
    token = secrets.token_urlsafe(32)
    with office.registry.writing():
        office.registry.add_token(Token(_digest(token), device, now + TOKEN_LIFE))
        office.registry.note("token", device, "made", now=now)
    return token


def enrol(office: Office, token: str, csr: bytes, *, now: datetime) -> x509.Certificate:
    """Exchange `token` and `csr` (PEM) for a certificate; the token is spent with it, in one transaction.

    Raises ContractError for a CSR that breaks the rules, and for a token that is unknown, spent, another device's or past
    its time: the refusal stands in the audit, and nothing else has changed. An answer lost on its way needs a new token.
    """
    try:
        request = read_request(csr)
    except ContractError as error:
        _note_refusal(office, "", str(error), now)
        raise
    with office.registry.writing():
        known = office.registry.token(_digest(token))
        objection = _objection(known, request, now)
        if objection is None:
            certificate = office.authority.issue_device(request, now=now)
            office.registry.spend(_digest(token), now=now)
            office.record(certificate)
            office.registry.note("enrolled", request.device, f"serial {certificate.serial_number:x}", now=now)
    if objection is not None:
        _note_refusal(office, request.device, objection, now)
        raise ContractError(f"{objection}; make a new one with `provisioning token {request.device}`")
    return certificate


def _objection(token: Token | None, request: Request, now: datetime) -> str | None:
    if token is None:
        return "the token is unknown"
    if token.device != request.device:
        return "the token was made for another device"
    if token.spent:
        return "the token was used already"
    if now >= token.expires_at:
        return f"the token ran out at {token.expires_at:%Y-%m-%d %H:%M} UTC"
    return None


def _note_refusal(office: Office, device: str, why: str, now: datetime) -> None:
    with office.registry.writing():
        office.registry.note("refused", device, why, now=now)


def _digest(token: str) -> str:
    return sha256(token.encode(errors="surrogatepass")).hexdigest()  # 256 random bits need no slow hash
