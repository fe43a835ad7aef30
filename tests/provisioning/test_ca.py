"""The authority's rules: what a certificate says, which requests are refused, and a CA that is never overwritten."""

import base64
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ContractError
from contract.identity import require_device_id
from provisioning.ca import BROKER, Authority, Request, Role, certificate_text, key_text, name_in, read_request
from provisioning.office import CRL, Office, found_office, open_office

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AUTHORITY = Authority.found("test CA", now=NOW)
KEY = ec.generate_private_key(ec.SECP256R1())


def csr(*names: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = KEY, ca: bool = False) -> bytes:
    """A request for any name at all, as an attacker would write it."""
    with warnings.catch_warnings(action="ignore"):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_devices_certificate_says_its_name_and_no_more_than_it_may() -> None:
    certificate = AUTHORITY.issue_device(read_request(csr("door-1")), now=NOW)
    certificate.verify_directly_issued_by(AUTHORITY.certificate)
    assert name_in(certificate) == "door-1"
    assert certificate.public_key() == KEY.public_key()
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)
    assert certificate.not_valid_before_utc <= NOW
    assert certificate.serial_number > 2**64
    extensions = certificate.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_two_certificates_never_share_a_serial() -> None:
    request = read_request(csr("door-1"))
    assert len({AUTHORITY.issue_device(request, now=NOW).serial_number for _ in range(50)}) == 50


def test_what_a_request_asks_for_beyond_its_name_is_not_given() -> None:
    certificate = AUTHORITY.issue_device(read_request(csr("door-1", ca=True)), now=NOW)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "name",
    [
        "+", "#", "/", "..", "door/1", "../../x", "dev/../x", "door+", "mf/v1/#", "door\x00", "\x00", "d" * 300, "d" * 40,
        "a", "-door", "Door", "door_1", "dör", "door 1", "door\n", "$SYS", "*", "door.1", "d\u043e\u043er-1",
        Role.CLOUD.user, BROKER,
    ],
)  # fmt: skip
def test_a_name_that_means_something_elsewhere_is_not_signed(name: str) -> None:
    """[60] The last but two is written with Cyrillic letters; the last two are services."""
    with pytest.raises(ContractError, match="cannot name a device"):
        AUTHORITY.issue_device(read_request(csr(name)), now=NOW)
    with pytest.raises(ContractError, match="cannot name a device"):
        AUTHORITY.issue_device(Request(name, KEY.public_key()), now=NOW)


@pytest.mark.parametrize(
    ("request_text", "fault"),
    [
        (csr("door-1", "door-2"), "2 names"),
        (csr(), "0 names"),
        (csr("door-1", key=rsa.generate_private_key(65537, 2048)), "P-256"),
        (csr("door-1", key=ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (b"", "not a sound CSR"),
        (b"x" * 9000, "9000 bytes"),
        (certificate_text(AUTHORITY.certificate), "not a sound CSR"),
        (key_text(KEY), "not a sound CSR"),
    ],
)
def test_a_request_that_breaks_the_rules_is_refused_with_its_fault(request_text: bytes, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        read_request(request_text)


def test_a_request_whose_signature_is_wrong_is_refused() -> None:
    """Somebody else's public key under one's own name: only the key's owner may ask."""
    der = x509.load_pem_x509_csr(csr("door-1")).public_bytes(serialization.Encoding.DER)
    forged = x509.load_der_x509_csr(der.replace(b"door-1", b"door-2"))
    with pytest.raises(ContractError, match="signature is wrong"):
        read_request(forged.public_bytes(serialization.Encoding.PEM))


@given(st.binary(max_size=600), st.integers(0, 400))
def test_any_bytes_are_a_request_or_refused(noise: bytes, at: int) -> None:
    whole = x509.load_pem_x509_csr(csr("door-1")).public_bytes(serialization.Encoding.DER)
    broken = whole[:at] + noise + whole[at + len(noise) :]
    armoured = b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n"
    for text in (noise, armoured % base64.encodebytes(broken)):
        try:
            require_device_id(read_request(text).device)
        except ContractError:
            continue


def test_a_ca_near_its_end_signs_nothing_that_outlives_it() -> None:
    late = AUTHORITY.certificate.not_valid_after_utc - timedelta(days=89)
    with pytest.raises(ContractError, match="make a new CA"):
        AUTHORITY.issue_device(read_request(csr("door-1")), now=late)


def test_a_ca_is_never_overwritten(tmp_path: Path) -> None:
    found_office(tmp_path / "ca", "first", now=NOW)
    before = {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()}
    with pytest.raises(ContractError, match="never overwritten"):
        found_office(tmp_path / "ca", "second", now=NOW)
    assert {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["ca"]  # and no draft is left


def test_the_cas_key_is_its_owners_alone(tmp_path: Path) -> None:
    found_office(tmp_path / "ca", "test CA", now=NOW)
    key = tmp_path / "ca" / "ca-key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(ContractError, match="chmod 600"), open_office(tmp_path / "ca"):
        pass


def test_a_folder_that_holds_no_ca_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="provisioning ca"), open_office(tmp_path):
        pass


def test_a_key_and_certificate_of_two_cas_are_refused() -> None:
    other = Authority.found("test CA", now=NOW)
    with pytest.raises(ContractError, match="do not belong together"):
        Authority.read(certificate_text(other.certificate), key_text(AUTHORITY.key))


def revocations(office: Office) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((office.folder / CRL).read_bytes())


def test_the_revocation_list_is_good_for_a_week_and_its_number_only_grows(office: Office) -> None:
    """[64] Issued anew every day, it is at most a day old; without that it shuts everybody out after a week."""
    numbers = []
    for day in range(3):
        office.write_revocations(now=NOW + timedelta(days=day))
        issued = revocations(office)
        assert issued.next_update_utc == NOW + timedelta(days=day + 7)
        key = office.authority.certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert issued.is_signature_valid(key)
        numbers.append(issued.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    assert numbers == sorted(set(numbers))


def test_a_revocation_is_listed_until_its_certificate_has_run_out(office: Office) -> None:
    certificate = office.authority.issue_device(read_request(csr("door-1")), now=NOW)
    with office.registry.writing():
        office.record(certificate)
    assert office.revoke("door-1", now=NOW) == 1
    for after, listed in ((timedelta(days=1), True), (timedelta(days=89), True), (timedelta(days=91), False)):
        office.write_revocations(now=NOW + after)
        found = revocations(office).get_revoked_certificate_by_serial_number(certificate.serial_number)
        assert (found is not None) == listed


def test_a_revocation_can_be_repeated_and_an_unknown_name_is_refused(office: Office, tmp_path: Path) -> None:
    office.certify_service(Role.CLOUD, tmp_path / "cloud", now=NOW)
    assert [office.revoke(Role.CLOUD.user, now=NOW) for _ in range(2)] == [1, 0]
    with pytest.raises(ContractError, match=r"service\.cloud"):
        office.revoke("door-9", now=NOW)
