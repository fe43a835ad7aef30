"""What `cloud` says when it cannot start: one line, what to do, exit code 2."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.config import CloudSettings
from contract.errors import ContractError
from tests.cloud.conftest import StartCloud, page_address


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloud", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def require_one_line(answer: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = answer.stderr.strip().splitlines()
    assert answer.returncode == 2, answer.stderr
    assert len(lines) == 1, answer.stderr
    assert all(word in lines[0] for word in words), lines[0]


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = run("serve", "--set", f"data={tmp_path}", "--set", f"port={port}")
    require_one_line(answer, str(port), "in use", "--set port=")


def test_a_misspelt_setting_is_named_with_what_is_known(tmp_path: Path) -> None:
    config = tmp_path / "cloud.toml"
    config.write_text('brokr = "mqtt://127.0.0.1:1883"\n')
    require_one_line(run("all", "--config", config), "unknown setting 'brokr'", "broker", "time_zone")


def test_an_unreadable_config_is_named(tmp_path: Path) -> None:
    require_one_line(run("all", "--config", tmp_path / "none.toml"), "cannot read the settings", "none.toml")


def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    require_one_line(
        run("migrate", "--set", f"data={tmp_path / 'file' / 'data'}"), "cannot make the folder", "--set data="
    )


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/none"
    answer = run("migrate", "--set", f"data={tmp_path}", "--set", f"database={url}")
    require_one_line(answer, "cannot use the database", "127.0.0.1")
    assert "secret" not in answer.stderr


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "maskfleet.sqlite").write_text("not a database" * 100)
    require_one_line(run("migrate", "--set", f"data={tmp_path}"), "cannot use the database", "not a database")


def test_migrate_makes_the_tables_and_ends(tmp_path: Path) -> None:
    answer = run("migrate", "--set", f"data={tmp_path}")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (tmp_path / "maskfleet.sqlite").exists()


def test_serving_ends_cleanly_on_a_signal(start_cloud: StartCloud) -> None:
    child = start_cloud("serve")
    page_address(child)
    child.stop()
    assert child.process.returncode == 0
    assert "Traceback" not in child.log.read_text()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("broker", "localhost", "mqtts://HOST:PORT"),
        ("broker", "mqtt://localhost:99999", "mqtts://HOST:PORT"),
        ("database", "mysql://x", "postgresql"),
        ("time_zone", "Mars/Base", "IANA"),
        ("time_zone", "../../etc/passwd", "IANA"),
        ("batch_events", "5001", "5000"),
        ("pictures.greatest_side", "100000", "4096"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_a_hint(key: str, value: str, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        CloudSettings.load(None, {key: value})


def test_the_defaults_run_everything_in_one_folder(tmp_path: Path) -> None:
    settings = CloudSettings.load(None, {"data": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/maskfleet.sqlite"
    assert settings.blob_folder == tmp_path / "blobs"
    assert settings.broker_address == ("127.0.0.1", 1883, False)
