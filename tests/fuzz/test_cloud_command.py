"""Settings that are wrong in every way: one line that says what to do, and exit code 2."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.config import CloudSettings
from contract.errors import ContractError
from tests.fuzz.hostile import NUMBERS, OTHERS, TEXTS

BAD = {
    "no TOML": b"broker = ",
    "no text": b"\xff\xfe\x00",
    "NUL": b'broker = "a\0b"',
    "a BOM": b"\xef\xbb\xbfport = 1",
    "a number as text": b"broker = 5",
    "a text as number": b'port = "many"',
    "a table as number": b"[port]\na = 1",
    "a number as table": b"retention = 7",
    "a huge number": b"port = " + b"9" * 5_000,
    "no number": b"batch_wait_ms = nan",
    "twice": b"port = 1\nport = 2",
    "deep": b"a = " + b"[" * 3_000,
    "a path as broker": b'broker = "../../etc/passwd"',
    "another database": b'database = "mysql://root@localhost/x"',
    "no zone": b'time_zone = "../../etc/passwd"',
    "a typo": b'brokr = "x"',
    "an endless database": b'database = "postgresql+psycopg://u:p@h:notaport/x"',
}


def run(*arguments: str | Path, limit: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cloud", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, preexec_fn=_no_room if limit else None
    )  # fmt: skip


def require_one_line(answer: subprocess.CompletedProcess[str]) -> None:
    assert answer.returncode == 2, answer.stderr[-2000:]
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("what", BAD)
def test_bad_settings_are_one_line(what: str, tmp_path: Path) -> None:
    config = tmp_path / "cloud.toml"
    config.write_bytes(BAD[what])
    with pytest.raises(ContractError) as told:
        CloudSettings.load(config)
    assert len(str(told.value).splitlines()) == 1
    if what in ("no text", "deep", "an endless database"):
        require_one_line(run("migrate", "--config", config, "--set", f"data={tmp_path / 'data'}"))


def test_a_folder_as_settings_is_one_line(tmp_path: Path) -> None:
    require_one_line(run("migrate", "--config", tmp_path))


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """Every file ends at 4 kB, as on a disk that is full."""
    require_one_line(run("migrate", "--set", f"data={tmp_path / 'data'}", limit=True))


def test_any_value_for_any_setting_is_taken_or_refused_in_words() -> None:
    for name in CloudSettings.model_fields:
        for value in (*TEXTS, *NUMBERS, *OTHERS):
            try:
                CloudSettings.load(None, {name: value})
            except ContractError as error:
                assert name in str(error)


def test_a_setting_within_a_value_is_refused_in_words(tmp_path: Path) -> None:
    require_one_line(run("migrate", "--set", "port=1", "--set", "port.x=1", "--set", f"data={tmp_path / 'data'}"))


def _no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
