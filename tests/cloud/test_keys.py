"""Keys are made once, kept to their owner, and never overwritten."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.metadata import Root

from cloud.__main__ import main
from cloud.fleet.files import newest
from cloud.fleet.keys import make_keys, renew
from contract.errors import ContractError

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def test_keys_are_for_their_owner_only_and_root_needs_two_of_three(tmp_path: Path) -> None:
    assert main(["keys", str(tmp_path / "k")]) == 0
    keys = sorted(str(path.relative_to(tmp_path / "k")) for path in tmp_path.rglob("*.pem"))
    assert keys == [
        "offline/root-1.pem", "offline/root-2.pem", "offline/root-3.pem", "offline/targets.pem", "online/snapshot.pem",
        "online/timestamp.pem", "trainer/releases.pem",
    ]  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.pem")} == {0o600}
    role = newest(tmp_path / "k" / "repository" / "metadata", "root", Root).signed.roles["root"]
    assert (role.threshold, len(role.keyids)) == (2, 3)


def test_keys_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_keys(tmp_path / "k", NOW)
    before = (tmp_path / "k" / "offline" / "root-1.pem").read_bytes()
    assert main(["keys", str(tmp_path / "k")]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "k" / "offline" / "root-1.pem").read_bytes() == before


def test_two_root_keys_are_enough_to_renew_and_one_is_not(tmp_path: Path) -> None:
    make_keys(tmp_path / "k", NOW)
    (tmp_path / "k" / "offline" / "root-2.pem").unlink()
    renew(tmp_path / "k", NOW)
    assert newest(tmp_path / "k" / "repository" / "metadata", "root", Root).signed.version == 2
    (tmp_path / "k" / "offline" / "root-1.pem").unlink()
    with pytest.raises(ContractError, match="1 of at least 2"):
        renew(tmp_path / "k", NOW)
