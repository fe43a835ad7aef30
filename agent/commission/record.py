"""The acceptance record: what was measured at a door, without a picture, signed with the door's own key."""

import base64
import binascii
import json
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from contract.crops import Digest
from contract.errors import ContractError
from contract.events import Accelerator
from contract.fleet import DoorPlan
from contract.identity import DeviceId
from contract.tls import CERTIFICATE, KEY
from contract.wire import Count, Instant, Wire

RECORD_LIMIT = 256 * 1024  # bytes of a record's file
ALGORITHM: Literal["ecdsa-p256-sha256"] = "ecdsa-p256-sha256"


class WalkRecord(Wire):
    """One stretch of time: what was said to happen, and what was counted."""

    entered: Count
    left: Count
    counted_in: Count
    counted_out: Count
    faces: Count = Field(description="Faces that were followed.")
    lasted_s: Annotated[float, Field(ge=0)]


class Acceptance(Wire):
    """What was found at a door when it was put into service."""

    schema_version: Literal[1] = 1
    device: DeviceId
    at: Instant
    software: str = Field(max_length=60)
    release: Count
    model_digest: Digest
    accelerator: Accelerator
    source: Literal["walks", "clip"]
    frame_size: tuple[Count, Count] = Field(description="Width and height in px.")
    fps: Annotated[float, Field(ge=0)] = Field(description="Frames a second that were looked at.")
    door: DoorPlan = Field(description="The line that was measured.")
    fitted: bool = Field(description="Whether the line was found from these walks, or stood in the settings before.")
    walks: Annotated[tuple[WalkRecord, ...], Field(min_length=1, max_length=200)]
    entered: Count
    left: Count
    counted_in: Count
    counted_out: Count
    error_percent: Annotated[float, Field(ge=0)] = Field(
        description="Crossings too many and too few, of each walk and direction, as a share of those that were walked."
    )


class Signature(Wire):
    """Over the record as canonical JSON: keys sorted, no spaces, ASCII."""

    algorithm: Literal["ecdsa-p256-sha256"] = ALGORITHM
    value: Annotated[str, Field(max_length=200)] = Field(description="Base64 of the DER signature.")


class Signed(Wire):
    """The file: a record, and its signature where the door had an identity."""

    record: Acceptance
    signature: Signature | None = None


def sign(record: Acceptance, identity: Path) -> Signed:
    """Sign with the folder's key. Raises ContractError where there is no key, it is no P-256 key, or no `openssl` to use it."""
    key = identity / KEY
    try:
        key.read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read {key} ({error.strerror}): the record stays unsigned") from error
    value = _openssl("dgst", "-sha256", "-sign", str(key), given=canonical(record))
    signed = Signed(record=record, signature=Signature(value=base64.b64encode(value).decode()))
    if (identity / CERTIFICATE).exists():
        verify(
            signed, identity / CERTIFICATE
        )  # a key that the certificate does not belong to would only be found out later
    return signed


def verify(signed: Signed, certificate: Path) -> None:
    """Raises ContractError unless the certificate's key signed the record, for its device, while it was valid.

    Who issued the certificate is not asked: take it from where you trust it.
    """
    if signed.signature is None:
        raise ContractError("the record is not signed: it proves nothing")
    name, key, since, until = _read_certificate(certificate)
    if name != signed.record.device:
        raise ContractError(f"the record is of {signed.record.device}, but the certificate is of {name[:60]!r}")
    if not since <= signed.record.at.timestamp() <= until:
        raise ContractError(
            f"the record was made at {signed.record.at:%Y-%m-%d %H:%M}, when its certificate was not valid"
        )
    try:
        value = base64.b64decode(signed.signature.value, validate=True)
    except binascii.Error as error:
        raise ContractError("the signature is not base64") from error
    with tempfile.TemporaryDirectory() as folder:
        public, signature = Path(folder, "public.pem"), Path(folder, "signature")
        public.write_bytes(key)
        signature.write_bytes(value)
        try:
            _openssl(
                "dgst", "-sha256", "-verify", str(public), "-signature", str(signature), given=canonical(signed.record)
            )
        except ContractError as error:
            raise ContractError(
                "the signature does not fit: the record was changed, or another key signed it"
            ) from error


def canonical(record: Acceptance) -> bytes:
    """The bytes that are signed."""
    return json.dumps(json.loads(record.encode()), sort_keys=True, separators=(",", ":")).encode()


def read(path: Path) -> Signed:
    """Raises ContractError for a file that is missing or no record."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read the record {path}: {error.strerror}") from error
    try:
        return Signed.decode(content, limit=RECORD_LIMIT)
    except ContractError as error:
        raise ContractError(f"{path} is no acceptance record: {error}") from error


def write(signed: Signed, path: Path) -> None:
    """Raises ContractError where it cannot be written."""
    try:
        path.write_text(json.dumps(json.loads(signed.encode()), indent=2) + "\n")
    except OSError as error:
        raise ContractError(f"cannot write the record {path}: {error.strerror}") from error


def _read_certificate(path: Path) -> tuple[str, bytes, float, float]:
    """Common name, public key as PEM, and from when to when it is valid, s since 1970."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ContractError(f"cannot read the certificate {path}: {error.strerror}") from error
    ask = ("x509", "-noout", "-subject", "-nameopt", "multiline,utf8", "-startdate", "-enddate")
    name, dates = "", {}
    for line in _openssl(*ask, given=content).decode(errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "commonName":
            name = value.strip()
        elif key in ("notBefore", "notAfter"):
            dates[key] = float(ssl.cert_time_to_seconds(value))
    public = _openssl("x509", "-noout", "-pubkey", given=content)
    return name, public, dates["notBefore"], dates["notAfter"]


def _openssl(*arguments: str, given: bytes) -> bytes:
    """`openssl` with `given` on its standard input; the agent brings no cryptography of its own."""
    try:
        done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, timeout=20, check=False)
    except FileNotFoundError as error:
        raise ContractError("no `openssl` here: apt install openssl") from error
    except subprocess.TimeoutExpired as error:
        raise ContractError("`openssl` does not answer: is the key protected by a password?") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        raise ContractError(f"`openssl {arguments[0]}` refused: {said[0][:200]}")
    return done.stdout
