"""The repository, as an unmodified TUF client sees it; and what it does not let in."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tuf.ngclient import Updater

from cloud.fleet.keys import make_keys, renew
from cloud.fleet.releases import Repository
from contract.errors import ContractError
from contract.release import COMPILED_NAME, LIMITS, MODEL_NAME, EdgeTpu, EdgeTpuStatus, target_path
from tests.cloud.release_kit import release, release_files, signed

NOW = datetime.now(UTC)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys", NOW)
    return tmp_path / "keys"


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder / "repository")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(folder: Path, address: str, number: int, home: Path) -> dict[str, bytes]:
    """What a door would get."""
    home.mkdir(exist_ok=True)
    root = (folder / "repository" / "metadata" / "1.root.json").read_bytes()
    door = Updater(str(home), f"{address}/metadata/", str(home), f"{address}/targets/", bootstrap=root)
    door.refresh()
    found = {}
    for name in LIMITS:
        info = door.get_targetinfo(target_path(number, name))
        if info is not None:
            found[name] = Path(door.download_target(info)).read_bytes()
    return found


def test_a_door_gets_exactly_the_files_that_were_released(folder: Path, address: str, tmp_path: Path) -> None:
    assert fetch(folder, address, 1, tmp_path / "door") == {}
    release(folder, 1, NOW)
    release(folder, 2, NOW)
    assert fetch(folder, address, 1, tmp_path / "door") == release_files(1)
    assert fetch(folder, address, 2, tmp_path / "door") == release_files(2)
    assert Repository(folder).numbers() == [1, 2]
    assert Repository(folder).manifest(2).release == 2


def test_a_door_follows_renewed_roots_and_fresh_timestamps(folder: Path, address: str, tmp_path: Path) -> None:
    release(folder, 1, NOW)
    renew(folder, NOW)
    assert not Repository(folder).refresh(NOW + timedelta(hours=5))
    assert Repository(folder).refresh(NOW + timedelta(hours=7))
    assert Repository(folder).refresh(NOW + timedelta(days=8))
    assert fetch(folder, address, 1, tmp_path / "door") == release_files(1)


def refuse(folder: Path, number: int, files: dict[str, bytes], metadata: bytes, words: str) -> None:
    repository = Repository(folder)
    before = repository.numbers()
    for name, content in files.items():
        repository.stage(number, name, content)
    with pytest.raises(ContractError, match=words):
        repository.publish(number, metadata, NOW)
    assert repository.numbers() == before


def test_only_the_trainers_key_may_release(folder: Path) -> None:
    files = release_files(1)
    refuse(folder, 1, files, signed(folder, 1, files, NOW, key="online/snapshot"), "signed by 0/1")
    genuine = signed(folder, 1, files, NOW)
    refuse(folder, 1, files, genuine.replace(b"least_agent", b"least_agemt"), "signed by 0/1")
    refuse(folder, 1, files, b"{", "no TUF metadata")


@pytest.mark.parametrize(
    ("step", "days", "words"),
    [(0, 30, "version 1, but 2"), (2, 30, "version 3"), (1, -1, "expired"), (1, 40, "may live")],
)
def test_old_skipped_expired_and_endless_metadata_is_refused(folder: Path, step: int, days: int, words: str) -> None:
    files = release_files(1)
    refuse(folder, 1, files, signed(folder, 1, files, NOW, step=step, days=days), words)


def test_files_and_signature_must_belong_together(folder: Path) -> None:
    files = release_files(1)
    refuse(folder, 1, {**files, MODEL_NAME: b"x" * 100}, signed(folder, 1, files, NOW), "not the file")
    refuse(folder, 2, release_files(2), signed(folder, 1, files, NOW), "add exactly")
    other = release_files(1, release=5)
    refuse(folder, 1, other, signed(folder, 1, other, NOW), "is of release 5")
    other = release_files(1, digest="0" * 64)
    refuse(folder, 1, other, signed(folder, 1, other, NOW), "another model")
    other = release_files(1, golden_digest=None)
    refuse(folder, 1, other, signed(folder, 1, other, NOW), "golden")


def test_a_release_below_the_newest_is_refused(folder: Path) -> None:
    release(folder, 7, NOW)
    with pytest.raises(ContractError, match="not above 7"):
        release(folder, 6, NOW)


@pytest.mark.parametrize("obstacle", ["2.releases.json", "2.snapshot.json", "timestamp.json"])
def test_dying_between_two_steps_leaves_the_old_repository_and_the_next_try_succeeds(
    folder: Path, address: str, tmp_path: Path, obstacle: str
) -> None:
    half = folder / "repository" / "metadata" / f".{obstacle}.half"
    half.mkdir()  # nothing can be written there: this step dies
    with pytest.raises(OSError, match="directory"):
        release(folder, 1, NOW)
    assert fetch(folder, address, 1, tmp_path / "door") == {}
    half.rmdir()
    files = release_files(1)
    next_one = folder / "repository" / "metadata" / "2.releases.json"
    next_one.unlink(missing_ok=True)
    Repository(folder).publish(1, signed(folder, 1, files, NOW), NOW)
    assert fetch(folder, address, 1, tmp_path / "door") == files


def test_a_quiet_month_needs_no_release_to_stay_valid(folder: Path) -> None:
    release(folder, 1, NOW)
    Repository(folder).prolong(signed(folder, 1, {}, NOW), NOW)
    with pytest.raises(ContractError, match="nothing"):
        Repository(folder).prolong(signed(folder, 2, release_files(2), NOW), NOW)


def test_unknown_names_and_too_many_bytes_are_not_staged(folder: Path) -> None:
    for name, content in (("../x", b"1"), ("manifest.json", b"x" * 70_000), ("golden.zip", b"")):
        with pytest.raises(ContractError):
            Repository(folder).stage(1, name, content)


def test_a_release_may_have_a_fourth_file_for_the_edge_tpu_if_the_manifest_names_it(
    folder: Path, address: str, tmp_path: Path
) -> None:
    compiled = b"compiled" * 20
    facts = EdgeTpu(
        status=EdgeTpuStatus.COMPILED, compiler="16.0", operators_on_edge_tpu=246, operators_on_cpu=0,
        digest=sha256(compiled).hexdigest(), size=len(compiled),
    )  # fmt: skip
    files = release_files(1, edge_tpu=facts) | {COMPILED_NAME: compiled}
    refuse(folder, 1, files | {COMPILED_NAME: b"x"}, signed(folder, 1, files, NOW), "not the file that was uploaded")
    stranger = release_files(1) | {COMPILED_NAME: compiled}
    refuse(folder, 1, stranger, signed(folder, 1, stranger, NOW), "not the compiled file that the manifest names")
    for name, content in files.items():
        Repository(folder).stage(1, name, content)
    Repository(folder).publish(1, signed(folder, 1, files, NOW), NOW)
    assert fetch(folder, address, 1, tmp_path / "door") == files
    older = release_files(2, edge_tpu=facts)  # compiled, but its file is not signed
    Repository(folder).stage(2, COMPILED_NAME, compiled)  # left over from a try that was given up
    for name, content in older.items():
        Repository(folder).stage(2, name, content)
    Repository(folder).publish(2, signed(folder, 2, older, NOW), NOW)
    assert fetch(folder, address, 2, tmp_path / "door") == older
