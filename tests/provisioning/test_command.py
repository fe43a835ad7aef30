"""What `provisioning` prints: the whole way by hand, and one line with exit code 2 for whatever is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "provisioning", *arguments], input=typed, env={"PYTHONPATH": str(Path.cwd())},
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def succeed(folder: Path, *arguments: str, typed: str = "") -> str:
    answer = run(folder, *arguments, typed=typed)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_from_nothing_to_an_enrolled_device_and_back_by_hand(tmp_path: Path) -> None:
    succeed(tmp_path, "ca", "ca")
    assert "mosquitto -c" in succeed(tmp_path, "broker", "broker", "--host", "localhost", "--run-as", "mosquitto")
    succeed(tmp_path, "service", "cloud", "cloud")
    assert "service.web" in succeed(
        tmp_path, "service", "web", "web", "--host", "cloud.example.org", "--host", "10.0.0.7"
    )
    assert succeed(tmp_path, "csr", "door-1", "door") == "door/request.csr"
    token = succeed(tmp_path, "token", "door-1")
    succeed(tmp_path, "enrol", "--token", "-", "--csr", "door/request.csr", "--out", "door", typed=f"{token}\n")
    assert sorted(path.name for path in (tmp_path / "door").iterdir()) == [
        "ca.pem", "certificate.pem", "key.pem", "request.csr",
    ]  # fmt: skip
    before = (tmp_path / "broker" / "crl.pem").read_bytes()
    said = succeed(tmp_path, "revoke", "door-1", "--broker", "broker")
    assert "revoked 1 certificates of door-1" in said
    assert "SIGHUP" in said
    assert (tmp_path / "broker" / "crl.pem").read_bytes() not in (b"", before)
    assert "--broker" in succeed(tmp_path, "crl")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["token", "door-1"], "no CA in ca"),
        (["csr", "../x", "door"], "cannot name a device"),
        (["csr", "door-1", "file/door"], "cannot make the folder"),
        (["ca", "file"], "never overwritten"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_so(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "file").write_text("")
    answer = run(tmp_path, *arguments)
    assert answer.returncode == 2
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert words in answer.stderr


def test_what_is_wrong_with_a_ca_at_hand_is_one_line_too(tmp_path: Path) -> None:
    succeed(tmp_path, "ca", "ca")
    succeed(tmp_path, "csr", "door-1", "door")
    for arguments, words in (
        (["ca", "ca"], "never overwritten"),
        (["enrol", "--token", "x", "--csr", "none.csr", "--out", "door"], "cannot read none.csr"),
        (["enrol", "--token", "x", "--csr", "door/request.csr", "--out", "door"], "provisioning token door-1"),
        (["revoke", "door-9"], "no certificate was issued"),
        (["crl", "--broker", "nowhere"], "no broker in nowhere"),
        (["broker", "broker", "--host", "a b"], "is no host"),
    ):
        answer = run(tmp_path, *arguments)
        assert answer.returncode == 2
        assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
        assert words in answer.stderr
