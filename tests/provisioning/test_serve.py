"""Enrolment over HTTPS: one token, one certificate, a clear line for every refusal, and patience for those who guess."""

import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from contract.errors import ContractError, TryAgainError
from contract.tls import CA, client_context
from provisioning.brake import FREE, LONGEST, REMEMBERED, Brake
from provisioning.ca import Role, name_in, read_certificate
from provisioning.csr import make_request
from provisioning.enrol import new_token
from provisioning.exchange import EXCHANGE_LIMIT, enrol_at
from provisioning.office import Office, found_office, open_office
from provisioning.serve import EnrolmentServer, new_enrolment
from rehearsal.processes import Child, wait_until
from tests.provisioning.test_command import run, succeed
from tests.provisioning.test_enrol import audit

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Service:
    """A served CA whose clock only moves when it is told to."""

    def __init__(self, office: Office, folder: Path) -> None:
        self.now = datetime.now(UTC)
        self.ca = folder / "web" / CA
        office.certify_service(Role.WEB, folder / "web", now=self.now, hosts=["localhost"])
        door = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{door.getsockname()[1]}"
        self._server = EnrolmentServer(new_enrolment(office.folder, lambda: self.now), door, folder / "web")
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started, within_s=10, what="the service listening")
        self._door = door

    def post(self, content: bytes) -> httpx.Response:
        context = ssl.create_default_context(cafile=str(self.ca))
        return httpx.post(f"{self.url}/enrol", content=content, verify=context, timeout=30)

    def close(self) -> None:
        self._server.stop()
        self._thread.join(10)
        self._door.close()


@pytest.fixture
def service(office: Office, tmp_path: Path) -> Iterator[Service]:
    served = Service(office, tmp_path)
    yield served
    served.close()


def test_a_token_becomes_an_identity_whose_key_never_left(service: Service, office: Office, tmp_path: Path) -> None:
    enrol_at(service.url, service.ca, new_token(office, "door-1", now=service.now), "door-1", tmp_path / "door")
    certificate = read_certificate((tmp_path / "door" / "certificate.pem").read_bytes())
    assert name_in(certificate) == "door-1"
    assert (tmp_path / "door" / "key.pem").stat().st_mode & 0o077 == 0
    client_context(tmp_path / "door")  # complete, and of one piece
    assert audit(office)[-1][:2] == ("enrolled", "door-1")


def test_a_used_token_another_devices_token_and_an_expired_one_are_refused(
    service: Service, office: Office, tmp_path: Path
) -> None:
    token, other = (new_token(office, name, now=service.now) for name in ("door-1", "door-2"))
    enrol_at(service.url, service.ca, token, "door-1", tmp_path / "door")
    for given, why in ((token, "was used already"), (other, "made for another device"), ("guess", "is unknown")):
        with pytest.raises(ContractError, match=why):
            enrol_at(service.url, service.ca, given, "door-1", tmp_path / "again")
        assert audit(office)[-1][:2] == ("refused", "door-1")
    assert not (tmp_path / "again" / "certificate.pem").exists()
    service.now += timedelta(hours=24)
    with pytest.raises(ContractError, match="ran out at"):
        enrol_at(service.url, service.ca, other, "door-2", tmp_path / "door-2")


@pytest.mark.parametrize(
    ("content", "status", "why"),
    [
        (b'{"token": "x", "csr": "no csr"}', 403, "not a sound CSR"),
        (b'{"token": "x"}', 403, "csr: Field required"),
        (b"no json", 403, "Invalid JSON"),
        (b" " * (EXCHANGE_LIMIT + 1), 413, "at most"),
    ],
)
def test_what_is_no_question_is_refused_in_one_line(service: Service, content: bytes, status: int, why: str) -> None:
    answer = service.post(content)
    assert (answer.status_code, why in answer.json()["detail"]) == (status, True), answer.text


def test_a_bad_csr_does_not_spend_the_token(service: Service, office: Office, tmp_path: Path) -> None:
    token = new_token(office, "door-1", now=service.now)
    csr = make_request("door-1", tmp_path / "door").read_text().replace("A", "B")
    assert service.post(json.dumps({"token": token, "csr": csr}).encode()).status_code == 403
    enrol_at(service.url, service.ca, token, "door-1", tmp_path / "door")


def test_a_guesser_is_slowed_and_a_right_token_waits_as_well(service: Service, office: Office, tmp_path: Path) -> None:
    token = new_token(office, "door-1", now=service.now)
    for _ in range(FREE + 1):
        assert service.post(b'{"token": "x", "csr": "x"}').status_code == 403
    before = len(audit(office))
    slowed = service.post(b'{"token": "x", "csr": "x"}')
    assert (slowed.status_code, slowed.headers["Retry-After"]) == (429, "2")
    with pytest.raises(TryAgainError, match="try again in 2 s"):
        enrol_at(service.url, service.ca, token, "door-1", tmp_path / "door")
    assert len(audit(office)) == before, "nothing is written for whoever must wait"
    service.now += timedelta(seconds=2)
    enrol_at(service.url, service.ca, token, "door-1", tmp_path / "door")


def test_a_server_of_another_ca_or_none_is_not_told_the_token(service: Service, tmp_path: Path) -> None:
    found_office(tmp_path / "other", "another CA", now=datetime.now(UTC))
    with pytest.raises(ContractError, match="is not believed: its certificate is of another CA"):
        enrol_at(service.url, tmp_path / "other", "token", "door-1", tmp_path / "door")
    for url in (service.url.replace("https", "http"), "localhost", "https://", f"{service.url}/elsewhere"):
        with pytest.raises(ContractError, match="https://HOST:PORT"):
            enrol_at(url, service.ca, "token", "door-1", tmp_path / "door")
    with pytest.raises(TryAgainError, match="cannot reach localhost:1 "):
        enrol_at("https://localhost:1", service.ca, "token", "door-1", tmp_path / "door")


def test_the_pause_doubles_to_a_limit_is_forgotten_in_time_and_counts_by_house() -> None:
    brake = Brake()
    pauses = []
    for _ in range(30):
        brake.refused("2001:db8::1", NOW)
        pauses.append(brake.pause("2001:db8::ffff", NOW).total_seconds())
    assert pauses[: FREE + 3] == [0] * FREE + [2, 4, 8]
    assert pauses[-1] == LONGEST.total_seconds()
    assert brake.pause("2001:db8:0:1::1", NOW) == timedelta()
    assert brake.pause("2001:db8::1", NOW + timedelta(hours=1)) == timedelta()
    for number in range(REMEMBERED + 1):
        brake.refused(f"10.0.{number // 256}.{number % 256}", NOW)
    assert brake.pause("2001:db8::1", NOW) == timedelta(), "the memory is bounded"


def test_the_whole_way_by_command(tmp_path: Path) -> None:
    succeed(tmp_path, "ca", "ca")
    succeed(tmp_path, "service", "web", "web", "--host", "localhost")
    assert "provisioning service web" in run(tmp_path, "serve", "none", "--port", "0").stderr
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "provisioning",
        "serve",
        tmp_path / "web",
        "--ca",
        tmp_path / "ca",
        "--port",
        "0",
    ]
    child = Child("enrolment", [*command, "--host", "127.0.0.1"], log=tmp_path / "serve.log")
    try:
        wait_until(lambda: "on port" in child.log.read_text() or not child.running, within_s=20, what="the service")
        port = child.log.read_text().split("on port ")[1].split(";")[0]
        url = f"https://localhost:{port}"
        token = succeed(tmp_path, "token", "door-1")
        said = succeed(
            tmp_path, "enrol", "door-1", "door", "--url", url, "--ca", "ca/ca.pem", "--token", "-", typed=f"{token}\n"
        )
        assert "door-1 has its identity in door" in said
        again = run(tmp_path, "enrol", "door-1", "door", "--url", url, "--ca", "ca/ca.pem", "--token", token)
        assert (again.returncode, again.stderr.count("\n")) == (2, 1)
        assert "used already" in again.stderr
        assert "DEVICE FOLDER" in run(tmp_path, "enrol", "--url", url, "--token", token).stderr
    finally:
        child.stop()
    with open_office(tmp_path / "ca") as office:
        assert [what for what, name, _ in audit(office) if name == "door-1"] == ["token", "enrolled", "refused"]
