"""`agent update` against a real TUF repository behind a real web server that honours ranges, or misbehaves."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from agent.config import FACTORY_MODEL, UpdateSettings
from agent.update.check import EARLIEST_S, update
from agent.update.slots import COPY_NAME, STATE_NAME, Slots
from contract.errors import ContractError, TryAgainError
from contract.fleet import Step
from contract.release import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME
from contract.tls import CA, CERTIFICATE, KEY
from provisioning.office import found_office, open_office
from tests.agent.release_kit import FACTORY_RELEASE, Web, release_files
from tests.agent.tuf_repository import Repository

NOW_S = datetime.now(UTC).timestamp()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "tuf")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path).serving() as server:
        yield server


@pytest.fixture
def settings(repository: Repository, web: Web, tmp_path: Path) -> UpdateSettings:
    return UpdateSettings(url=web.url, folder=tmp_path / "models", root=repository.root)


def slots(settings: UpdateSettings) -> Slots:
    return Slots(settings.folder, FACTORY_MODEL)


def refuses(
    settings: UpdateSettings, release: int, error: type[Exception], words: str, *, now_s: float | None = None
) -> None:
    """It is refused with these words, they are kept, and the door's model stays."""
    before = slots(settings).choose()
    with pytest.raises(error, match=words):
        update(settings, release, now_s=now_s)
    assert f"release {release}: " in slots(settings).read().missed
    assert slots(settings).choose() == before
    assert slots(settings).read().step is Step.IDLE


def test_a_good_release_is_staged_once(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    assert update(settings, 2) == "release 2 is staged"
    state = slots(settings).read()
    assert (state.step, state.missed, state.floor) == (Step.STAGED, "", 2)
    assert update(settings, 2) == "nothing to do"
    assert slots(settings).choose() == FACTORY_MODEL


def test_a_download_goes_on_where_it_stopped(repository: Repository, settings: UpdateSettings, web: Web) -> None:
    repository.add(2, release_files(2))
    model = repository.file(2, MODEL_NAME)
    whole = model.read_bytes()
    model.write_bytes(whole[:100_000])
    refuses(settings, 2, TryAgainError, "ended after 100000")
    model.write_bytes(whole)
    web.answers.clear()
    assert update(settings, 2) == "release 2 is staged"
    assert [status for path, status in web.answers if path.endswith(MODEL_NAME)] == [206]
    assert slots(settings).model(2).read_bytes() == whole


def test_a_server_that_ignores_ranges_starts_over(repository: Repository, settings: UpdateSettings, web: Web) -> None:
    repository.add(2, release_files(2))
    model = repository.file(2, MODEL_NAME)
    whole = model.read_bytes()
    model.write_bytes(whole[:100_000])
    refuses(settings, 2, TryAgainError, "ended after 100000")
    model.write_bytes(whole)

    def without_range(request: Any) -> bool:
        del request.headers["Range"]
        return False

    web.alter = without_range
    assert update(settings, 2) == "release 2 is staged"


def endless(name: str) -> Callable[[Any], bool]:
    """An answer that never ends, until the client has had enough."""

    def alter(request: Any) -> bool:
        if not request.path.endswith(name):
            return False
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 65536)
                request.server.poured += 65536
        except OSError:
            return True

    return alter


@pytest.mark.parametrize("name", [MODEL_NAME, "timestamp.json", "2.releases.json"])
def test_an_endless_answer_is_cut_off(repository: Repository, settings: UpdateSettings, web: Web, name: str) -> None:
    repository.add(2, release_files(2))
    web.poured = 0  # type: ignore[attr-defined]
    web.alter = endless(name)
    refuses(settings, 2, ContractError if name == MODEL_NAME else TryAgainError, "not the file|no answer")
    assert web.poured < 16_000_000  # type: ignore[attr-defined]
    kept = sum(path.stat().st_size for path in settings.folder.rglob("*") if path.is_file())
    assert kept < 4_000_000


def test_a_slow_drip_ends_at_the_deadline(repository: Repository, settings: UpdateSettings, web: Web) -> None:
    repository.add(2, release_files(2))
    web.alter = endless("timestamp.json")
    hasty = settings.model_copy(update={"deadline_s": 0.0})
    with pytest.raises(TryAgainError, match=r"in time|no answer"):
        update(hasty, 2)


@pytest.mark.parametrize("name", [MODEL_NAME, MANIFEST_NAME, GOLDEN_NAME])
def test_a_tampered_file_is_refused(repository: Repository, settings: UpdateSettings, name: str) -> None:
    repository.add(2, release_files(2))
    file = repository.file(2, name)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    refuses(settings, 2, ContractError, f"{name} is not the file that was signed")


def test_expired_metadata_changes_nothing(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    repository.publish(timestamp_days=-1)
    refuses(settings, 2, TryAgainError, "expired")


def test_another_key_than_the_delegated_one_is_refused(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    repository.publish(releases_key=CryptoSigner.generate_ed25519())
    refuses(settings, 2, ContractError, "not trusted")


def test_older_metadata_than_was_seen_is_refused(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    old = {path: path.read_bytes() for path in repository.root.parent.iterdir()}
    repository.add(3, release_files(3))
    refuses(settings, 9, ContractError, "no model.tflite")  # it has seen the newest metadata now
    for path, content in old.items():
        path.write_bytes(content)
    refuses(settings, 2, ContractError, "not trusted")


def test_files_of_another_release_are_refused(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(3, release_files(2))
    refuses(settings, 3, ContractError, "manifest is of release 2")


def test_a_mix_of_two_releases_is_refused(repository: Repository, settings: UpdateSettings) -> None:
    other = FACTORY_MODEL.read_bytes() + b"\0"
    repository.add(3, release_files(3) | {MODEL_NAME: other})
    refuses(settings, 3, ContractError, "not the file that .* describes")


def test_a_signature_for_another_release_number_is_refused(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(3, release_files(3))
    for target in repository.releases.targets.values():
        target.unrecognized_fields["custom"] = {"release": 2}
    repository.publish()
    refuses(settings, 3, ContractError, "not signed as release 3")


def test_a_release_not_above_what_was_here_is_refused(repository: Repository, settings: UpdateSettings) -> None:
    refuses(
        settings, 0 + FACTORY_RELEASE - 1, ContractError, f"not above {FACTORY_RELEASE}"
    ) if FACTORY_RELEASE > 1 else None
    assert update(settings, FACTORY_RELEASE) == "nothing to do"
    repository.add(4, release_files(4))
    update(settings, 4)
    with pytest.raises(ContractError, match="not above 4"):
        update(settings, 3)
    assert "not above 4" in slots(settings).read().missed


def test_a_clock_in_the_past_judges_nothing_and_leaves_no_mark(
    repository: Repository, settings: UpdateSettings
) -> None:
    repository.add(2, release_files(2))
    refuses(settings, 2, TryAgainError, "clock", now_s=5.0)
    assert slots(settings).read().seen_s == 0.0
    repository.publish(timestamp_days=-1)
    refuses(settings, 2, TryAgainError, "expired", now_s=EARLIEST_S + 10)
    assert slots(settings).read().seen_s == 0.0  # nothing was verified
    repository.publish()
    update(settings, 2, now_s=NOW_S)
    assert slots(settings).read().seen_s == NOW_S
    with pytest.raises(TryAgainError, match="clock"):
        update(settings, 3, now_s=NOW_S - 60)


def test_a_clock_far_ahead_is_remembered_no_further_than_the_signed_expiry(
    repository: Repository, settings: UpdateSettings
) -> None:
    repository.add(2, release_files(2))
    update(settings, 2, now_s=NOW_S + 1e9)
    assert NOW_S < slots(settings).read().seen_s < NOW_S + 2 * 86_400


def test_a_missing_or_foreign_root_says_what_to_set(settings: UpdateSettings, tmp_path: Path) -> None:
    refuses(settings.model_copy(update={"root": tmp_path / "none.json"}), 2, ContractError, "set update.root to")
    refuses(settings.model_copy(update={"root": None}), 2, ContractError, "set update.url and update.root")
    (tmp_path / "other.json").write_text("{}")
    refuses(settings.model_copy(update={"root": tmp_path / "other.json"}), 2, ContractError, "not trusted")


def test_no_server_is_tried_again(settings: UpdateSettings) -> None:
    refuses(settings.model_copy(update={"url": "http://127.0.0.1:9/tuf"}), 2, TryAgainError, "no answer")


def certified(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS as localhost; `ca.pem` in the folder is its authority's certificate."""
    folder.mkdir()
    found_office(folder / "office", "a CA", now=datetime.now(UTC))
    with open_office(folder / "office") as office:
        office.certify_broker(["localhost"], folder, now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return context


def test_by_https_only_a_server_of_our_authority_is_believed(
    repository: Repository, web: Web, settings: UpdateSettings, tmp_path: Path
) -> None:
    repository.add(2, release_files(2))
    certified(tmp_path / "theirs")
    web.socket = certified(tmp_path / "ours").wrap_socket(web.socket, server_side=True)
    secure = {"url": f"https://localhost:{web.server_port}/tuf", "ca": tmp_path / "theirs" / CA}
    refuses(settings.model_copy(update=secure), 2, TryAgainError, "its certificate is of another CA")
    assert update(settings.model_copy(update=secure | {"ca": tmp_path / "ours" / CA}), 2) == "release 2 is staged"


def command(
    settings: UpdateSettings, tmp_path: Path, release: int, *, before: str = ""
) -> "subprocess.CompletedProcess[str]":
    config = tmp_path / "door.toml"
    config.write_text(
        f'device = "door-1"\n[update]\nurl = "{settings.url}"\nroot = "{settings.root}"\nfolder = "{settings.folder}"\n'
    )
    line = f"{before} exec {sys.executable} -m agent update --config {config} --release {release}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False, env=os.environ)


def test_a_file_that_does_not_fit_is_tried_again(
    repository: Repository, settings: UpdateSettings, tmp_path: Path
) -> None:
    repository.add(2, release_files(2))
    done = command(settings, tmp_path, 2, before="ulimit -f 1000;")  # blocks of 1024 bytes a file
    assert (done.returncode, "cannot write" in done.stderr) == (75, True)
    assert "cannot write" in slots(settings).read().missed or "File too large" in slots(settings).read().missed
    assert command(settings, tmp_path, 2).returncode == 0
    assert slots(settings).read().step is Step.STAGED


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "little"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small disk needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_tried_again_and_spoils_nothing(
    repository: Repository, settings: UpdateSettings, little_disk: Path
) -> None:
    repository.add(2, release_files(2))
    small = settings.model_copy(update={"folder": little_disk / "models"})
    refuses(small, 2, TryAgainError, "bytes free")
    ballast = little_disk / "ballast"
    with ballast.open("wb", buffering=0) as sink, pytest.raises(OSError, match="No space"):
        while True:
            sink.write(b"x" * 4096)
    with pytest.raises(TryAgainError):
        update(small, 2)
    assert slots(small).choose() == FACTORY_MODEL


OTHER = FACTORY_MODEL.read_bytes() + b"\0"  # another model, that looks like the factory's


def test_two_starts_without_a_confirmation_roll_back_and_deny_the_model(
    repository: Repository, settings: UpdateSettings
) -> None:
    repository.add(2, release_files(2, model=OTHER))
    update(settings, 2)
    slots(settings).begin_trial(2)
    assert slots(settings).choose() == slots(settings).model(2)
    assert slots(settings).choose() == FACTORY_MODEL
    assert slots(settings).read().step is Step.ROLLED_BACK
    repository.add(3, release_files(3, model=OTHER))
    with pytest.raises(ContractError, match="rolled back here before"):
        update(settings, 3)


def test_the_bytes_that_run_here_are_never_denied(repository: Repository, settings: UpdateSettings) -> None:
    """A way back, published as old bytes under a higher number, must stay open after two power cuts."""
    repository.add(2, release_files(2))
    update(settings, 2)
    slots(settings).begin_trial(2)
    slots(settings).roll_back("two power cuts")
    assert slots(settings).read().denied == ()
    repository.add(3, release_files(3))
    assert update(settings, 3) == "release 3 is staged"


def test_a_spoiled_cache_of_signed_metadata_is_fetched_again(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    update(settings, 2)
    repository.add(3, release_files(3))
    spoiled = [path for path in (settings.folder / "tuf").rglob("*.json") if not path.is_symlink()]
    assert len(spoiled) >= 5
    for path in spoiled:
        path.write_bytes(bytes(100))  # as a power cut may leave it: tuf writes without fsync
    assert update(settings, 3) == "release 3 is staged"


def good_and_denied(repository: Repository, settings: UpdateSettings) -> None:
    """Release 2 is good, release 3 (other bytes) is denied."""
    repository.add(2, release_files(2))
    repository.add(3, release_files(3, model=OTHER))
    update(settings, 2)
    slots(settings).begin_trial(2)
    slots(settings).confirm()
    update(settings, 3)
    slots(settings).roll_back("a test")


@pytest.mark.parametrize("broken", [b"", b"{", None])
def test_a_broken_state_file_loses_neither_the_good_release_nor_the_denied_one(
    repository: Repository, settings: UpdateSettings, broken: bytes | None
) -> None:
    good_and_denied(repository, settings)
    before = slots(settings).read()
    if broken is None:
        (settings.folder / STATE_NAME).unlink()
    else:
        (settings.folder / STATE_NAME).write_bytes(broken)
    assert slots(settings).read() == before
    assert len(before.denied) == 1
    assert slots(settings).choose() == slots(settings).model(2)
    slots(settings).change(lambda now: now)
    assert json.loads((settings.folder / STATE_NAME).read_bytes())["good"] == 2


def test_where_both_copies_are_broken_the_folders_show_the_floor(
    repository: Repository, settings: UpdateSettings
) -> None:
    good_and_denied(repository, settings)
    for name in (STATE_NAME, COPY_NAME):
        (settings.folder / name).write_text("{")
    state = slots(settings).read()
    assert (state.floor, state.good) == (3, 0)
    assert "was lost" in state.reason
    assert slots(settings).choose() == FACTORY_MODEL


def test_a_broken_slot_falls_back_to_the_factory_model(repository: Repository, settings: UpdateSettings) -> None:
    good_and_denied(repository, settings)
    slots(settings).model(2).write_bytes(b"broken")
    assert slots(settings).choose() == FACTORY_MODEL
    assert "factory model" in slots(settings).read().reason
