"""The same site by TLS, for machines that trust the CA; and what is said where it cannot be."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from contract.errors import ContractError
from contract.tls import CA, CERTIFICATE
from provisioning.ca import Role
from provisioning.office import Office, found_office, open_office
from tests.cloud.conftest import StartCloud, wait_for_log


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found_office(tmp_path / "ca", "test CA", now=datetime.now(UTC))
    with open_office(tmp_path / "ca") as opened:
        yield opened


@pytest.fixture
def identity(office: Office, tmp_path: Path) -> Path:
    office.certify_service(Role.WEB, tmp_path / "web", now=datetime.now(UTC), hosts=["localhost", "127.0.0.1"])
    return tmp_path / "web"


def get(url: str, ca: Path) -> httpx.Response:
    return httpx.get(url, verify=ssl.create_default_context(cafile=str(ca)), timeout=30)


def test_a_client_that_trusts_the_ca_is_served_and_others_are_not(
    identity: Path, tmp_path: Path, start_cloud: StartCloud
) -> None:
    child = start_cloud("serve", **{"https.port": 0, "https.host": "127.0.0.1", "https.identity": identity})
    port = int(wait_for_log(child, "by TLS on port").split("by TLS on port ")[1].split()[0])
    for host in ("localhost", "127.0.0.1"):
        assert get(f"https://{host}:{port}/healthz", identity / CA).status_code == 200
    assert "maskfleet" in get(f"https://localhost:{port}/sign-in", identity / CA).text
    found_office(tmp_path / "other", "another CA", now=datetime.now(UTC))
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        get(f"https://localhost:{port}/healthz", tmp_path / "other" / "ca.pem")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{port}/healthz", timeout=30)
    wait_for_log(child, "the page is at http://127.0.0.1")


@pytest.mark.parametrize("missing", ["identity", "certificate"])
def test_a_listener_without_a_certificate_says_how_to_make_one(identity: Path, tmp_path: Path, missing: str) -> None:
    (identity / CERTIFICATE).unlink()
    settings = [f"data={tmp_path}", "port=0", "https.port=0"]
    settings += [f"https.identity={identity}"] if missing == "certificate" else []
    options = [part for one in settings for part in ("--set", one)]
    command = [sys.executable, "-m", "cloud", "serve", *options]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, len(answer.stderr.strip().splitlines())) == (2, 1), answer.stderr
    assert "provisioning service web FOLDER --host NAME" in answer.stderr


def test_a_server_is_certified_by_its_names_and_a_client_has_none(office: Office, tmp_path: Path) -> None:
    for role, hosts in ((Role.WEB, []), (Role.CLOUD, ["localhost"])):
        with pytest.raises(ContractError, match="--host"):
            office.certify_service(role, tmp_path / "none", now=datetime.now(UTC), hosts=hosts)
    assert not (tmp_path / "none").exists()
