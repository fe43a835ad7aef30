"""One token, one device, one certificate; every refusal stands in the audit."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.errors import ContractError
from provisioning.ca import name_in
from provisioning.csr import make_request
from provisioning.enrol import enrol, new_token
from provisioning.office import Office, open_office
from provisioning.registry import Registry
from tests.provisioning.conftest import enrolled

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def request(folder: Path, device: str = "door-1") -> bytes:
    return make_request(device, folder / device).read_bytes()


def audit(office: Office) -> list[tuple[str, str, str]]:
    return [(entry.what, entry.name, entry.detail) for entry in office.registry.audit()]


def test_a_token_and_a_request_become_a_certificate(office: Office, tmp_path: Path) -> None:
    token = new_token(office, "door-1", now=NOW)
    certificate = enrol(office, token, request(tmp_path), now=NOW + timedelta(hours=23, minutes=59))
    assert name_in(certificate) == "door-1"
    assert audit(office)[-1] == ("enrolled", "door-1", f"serial {certificate.serial_number:x}")


def test_a_token_is_stored_only_as_a_digest(office: Office) -> None:
    token = new_token(office, "door-1", now=NOW)
    files = [path for path in office.folder.iterdir() if path.is_file()]
    assert len(token) >= 43  # 256 bits
    assert [path for path in files if token.encode() in path.read_bytes()] == []


def test_a_used_token_is_refused_and_audited(office: Office, tmp_path: Path) -> None:
    """[62] Also for the very same request."""
    token = new_token(office, "door-1", now=NOW)
    enrol(office, token, request(tmp_path), now=NOW)
    with pytest.raises(ContractError, match="was used already"):
        enrol(office, token, request(tmp_path), now=NOW)
    assert audit(office)[-1] == ("refused", "door-1", "the token was used already")


def test_an_expired_token_is_refused_and_audited(office: Office, tmp_path: Path) -> None:
    """[62]"""
    token = new_token(office, "door-1", now=NOW)
    with pytest.raises(ContractError, match="ran out at 2026-03-02 12:00"):
        enrol(office, token, request(tmp_path), now=NOW + timedelta(hours=24))
    assert audit(office)[-1][:2] == ("refused", "door-1")


def test_another_devices_token_is_refused_audited_and_not_spent(office: Office, tmp_path: Path) -> None:
    """[62]"""
    token = new_token(office, "door-1", now=NOW)
    with pytest.raises(ContractError, match="another device"):
        enrol(office, token, request(tmp_path, "door-2"), now=NOW)
    assert audit(office)[-1] == ("refused", "door-2", "the token was made for another device")
    assert name_in(enrol(office, token, request(tmp_path, "door-1"), now=NOW)) == "door-1"


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "\ud800", "' or 1=1 --"])
def test_an_unknown_token_is_refused_and_audited_without_being_repeated(
    office: Office, tmp_path: Path, token: str
) -> None:
    """[62]"""
    with pytest.raises(ContractError, match="the token is unknown"):
        enrol(office, token, request(tmp_path), now=NOW)
    assert audit(office) == [("refused", "door-1", "the token is unknown")]


def test_a_broken_request_is_refused_audited_and_spends_no_token(office: Office, tmp_path: Path) -> None:
    token = new_token(office, "door-1", now=NOW)
    with pytest.raises(ContractError, match="not a sound CSR"):
        enrol(office, token, b"rubbish", now=NOW)
    assert audit(office)[-1][0] == "refused"
    enrol(office, token, request(tmp_path), now=NOW)


def test_no_token_is_made_for_a_name_that_cannot_be(office: Office) -> None:
    """[60]"""
    for name in ("+", "../x", "service.cloud"):
        with pytest.raises(ContractError, match="cannot name a device"):
            new_token(office, name, now=NOW)
    assert audit(office) == []


def test_of_many_who_use_one_token_at_once_one_gets_a_certificate(office: Office, tmp_path: Path) -> None:
    """[62]"""
    token, asked = new_token(office, "door-1", now=NOW), request(tmp_path)
    answers: list[str] = []
    together = threading.Barrier(8)

    def ask() -> None:
        with open_office(office.folder) as own:
            together.wait()
            try:
                answers.append(name_in(enrol(own, token, asked, now=NOW)))
            except ContractError as error:
                answers.append(str(error).partition(";")[0])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["door-1", *["the token was used already"] * 7]


def test_revoking_a_device_takes_its_tokens_back(office: Office, tmp_path: Path) -> None:
    enrolled(office, "door-1", tmp_path / "first", now=NOW)
    token = new_token(office, "door-1", now=NOW)
    assert office.revoke("door-1", now=NOW) == 1
    with pytest.raises(ContractError, match="was used already"):
        enrol(office, token, request(tmp_path), now=NOW)


def test_a_registry_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"not a database, but as long as one would be" * 100)
    with pytest.raises(ContractError, match="cannot use"), closing(Registry.open(tmp_path / "registry.db")):
        pass
