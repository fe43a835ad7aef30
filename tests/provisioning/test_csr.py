"""On the device: a key that stays, and files that are whole or not there, wherever the power is cut."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from contract.errors import ContractError
from contract.tls import CERTIFICATE, KEY
from provisioning import durable
from provisioning.ca import Authority, Role, certificate_text, read_certificate, read_key, read_request
from provisioning.csr import REQUEST, make_key, make_request, store_certificate
from provisioning.office import Office, open_office
from rehearsal.processes import Child, wait_until
from tests.provisioning.conftest import enrolled

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Dies by SIGKILL before the given file operation in the given folder; the rest of its arguments is a provisioning command.
DIES = """
import os, signal, sys
from provisioning.__main__ import main
folder, left = sys.argv[1], int(sys.argv[2])
def watch(event, arguments):
    global left
    if event in ("open", "os.chmod", "os.rename", "os.link", "os.remove", "os.mkdir", "sqlite3.connect", "os.rmdir"):
        if any(folder in str(one) for one in arguments) or event == "os.chmod":
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
sys.addaudithook(watch)
sys.exit(main(sys.argv[3:]))
"""


def dies_before(step: int, folder: Path, *command: str | Path) -> bool:
    """Run a command that is killed before its `step`th file operation; False where it came to its end before that."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(folder), str(step), *map(str, command)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def test_the_key_is_the_devices_alone_and_stays(tmp_path: Path) -> None:
    first = make_request("door-1", tmp_path / "id").read_bytes()
    key = tmp_path / "id" / KEY
    before = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "id").stat().st_mode & 0o777 == 0o700
    again = make_request("door-1", tmp_path / "id").read_bytes()
    assert key.read_bytes() == before
    assert read_request(first) == read_request(again)
    assert b"PRIVATE" not in first


def test_a_key_that_others_could_read_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path)
    (tmp_path / KEY).chmod(0o644)
    with pytest.raises(ContractError, match="enrol with a new one"):
        make_request("door-1", tmp_path)


def test_a_name_that_cannot_be_makes_no_key(tmp_path: Path) -> None:
    """[60]"""
    with pytest.raises(ContractError, match="cannot name a device"):
        make_request("../x", tmp_path / "id")
    assert not (tmp_path / "id").exists()


def test_a_certificate_for_another_key_is_not_stored(tmp_path: Path) -> None:
    authority = Authority.found("test CA", now=NOW)
    mine, other = make_key(tmp_path / "mine"), make_key(tmp_path / "other")
    assert mine != other
    certificate = authority.issue_service(Role.CLOUD, other.public_key(), now=NOW)
    with pytest.raises(ContractError, match="another key"):
        store_certificate(tmp_path / "mine", certificate, certificate_text(authority.certificate))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [KEY]


def test_a_file_that_may_be_written_once_is_never_replaced(tmp_path: Path) -> None:
    durable.write_once(tmp_path / "key", b"first")
    with pytest.raises(ContractError, match="never overwritten"):
        durable.write_once(tmp_path / "key", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("key", b"first")]


def test_whoever_reads_while_a_file_is_written_reads_the_old_one_whole(tmp_path: Path) -> None:
    durable.write(tmp_path / "list", b"old" * 10_000)
    with (tmp_path / "list").open("rb") as reader:
        durable.write(tmp_path / "list", b"new")
        assert reader.read() == b"old" * 10_000
    assert (tmp_path / "list").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("write", "switch"), [(durable.write, "replace"), (durable.write_once, "link")], ids=["write", "write_once"]
)
def test_the_bytes_are_on_the_disk_before_their_name_and_the_name_before_the_answer(
    tmp_path: Path, write: Callable[[Path, bytes], None], switch: str
) -> None:
    calls: list[str] = []

    def listen(_frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            calls.append(called.__name__)

    sys.setprofile(listen)
    try:
        write(tmp_path / "list", b"bytes")
    finally:
        sys.setprofile(None)
    assert [name for name in calls if name in ("write", "fsync", switch)] == ["write", "fsync", switch, "fsync"]


def test_a_power_cut_anywhere_while_making_a_key_leaves_a_whole_one_or_none(tmp_path: Path) -> None:
    steps = 0
    while dies_before(steps, folder := tmp_path / f"id-{steps}", "csr", "door-1", folder):
        key, asked = folder / KEY, folder / REQUEST
        if key.exists():
            assert key.stat().st_mode & 0o777 == 0o600
            read_key(key.read_bytes())
        if asked.exists():
            read_request(asked.read_bytes())
        assert [path for path in folder.glob(".key*") if path.stat().st_mode & 0o077] == []  # drafts are private too
        make_request("door-1", folder)  # and it can simply be repeated
        steps += 1
    assert steps >= 8


def test_a_power_cut_anywhere_in_a_renewal_leaves_the_old_certificate_or_the_new(
    office: Office, tmp_path: Path
) -> None:
    """[71]"""
    folder = tmp_path / "cloud"
    office.certify_service(Role.CLOUD, folder, now=datetime.now(UTC))
    seen = {(folder / CERTIFICATE).read_bytes()}
    steps = 0
    while dies_before(steps, folder, "service", "cloud", folder, "--ca", office.folder):
        found = (folder / CERTIFICATE).read_bytes()
        seen.add(found)
        certificate = read_certificate(found)
        certificate.verify_directly_issued_by(office.authority.certificate)
        assert certificate.public_key() == read_key((folder / KEY).read_bytes()).public_key()
        steps += 1
    assert len(seen) > 1  # some of the cuts came after the switch
    assert steps >= 6


def test_a_power_cut_anywhere_while_making_a_ca_leaves_a_whole_one_or_none(tmp_path: Path) -> None:
    steps = 0
    while dies_before(steps, tmp_path, "ca", folder := tmp_path / f"ca-{steps}"):
        if folder.exists():
            with open_office(folder) as office:
                enrolled(office, "door-1", tmp_path / f"door-{steps}")
        steps += 1
    assert steps >= 12


def test_a_writer_killed_at_any_moment_leaves_the_old_bytes_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "list"
    writer = (
        "import sys; from pathlib import Path; from provisioning import durable\n"
        "while True:\n"
        "    for letter in (b'a', b'b'): durable.write(Path(sys.argv[1]), letter * 200_000)\n"
    )
    for _ in range(5):
        path.unlink(missing_ok=True)
        child = Child("writer", [sys.executable, "-c", writer, path], log=tmp_path / "log")
        wait_until(path.exists, within_s=10, what="the first write")
        child.kill()
        assert path.read_bytes() in (b"a" * 200_000, b"b" * 200_000)
