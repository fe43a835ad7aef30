"""`agent update` against a real TUF repository behind a real HTTP server."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from agent.config import FACTORY_MODEL, UpdateSettings
from agent.update.check import update
from agent.update.slots import Slots
from contract.errors import ContractError, TryAgainError
from contract.fleet import Step
from contract.golden import GoldenFrame, write_golden
from contract.release import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME
from tests.agent.tuf_repository import Repository

GOLDEN = write_golden([GoldenFrame(b"\x89PNG\r\n\x1a\n", ())])


def release_files(release: int) -> dict[str, bytes]:
    manifest = json.loads(FACTORY_MODEL.with_name(MANIFEST_NAME).read_text())
    manifest |= {"release": release, "golden_digest": sha256(GOLDEN).hexdigest()}
    text = json.dumps(manifest).encode()
    return {MODEL_NAME: FACTORY_MODEL.read_bytes(), MANIFEST_NAME: text, GOLDEN_NAME: GOLDEN}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "tuf")


@pytest.fixture
def settings(repository: Repository, tmp_path: Path) -> Iterator[UpdateSettings]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/tuf"
    yield UpdateSettings(url=url, folder=tmp_path / "models", root=repository.root)
    server.shutdown()
    thread.join()
    server.server_close()


def slots(settings: UpdateSettings) -> Slots:
    return Slots(settings.folder, FACTORY_MODEL)


def test_a_good_release_is_staged_once(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    assert update(settings, 2) == "release 2 is staged"
    assert slots(settings).read().step is Step.STAGED
    assert update(settings, 2) == "nothing to do"
    assert slots(settings).choose() == FACTORY_MODEL


def test_a_tampered_model_is_refused_and_the_reason_kept(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    model = repository.file(2, MODEL_NAME)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(ContractError, match="not the file that was signed"):
        update(settings, 2)
    assert "not the file" in slots(settings).read().reason
    assert slots(settings).choose() == FACTORY_MODEL


def test_a_truncated_model_is_tried_again(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    model = repository.file(2, MODEL_NAME)
    whole = model.read_bytes()
    model.write_bytes(whole[:1000])
    with pytest.raises(TryAgainError, match="ended after 1000"):
        update(settings, 2)
    model.write_bytes(whole)
    assert update(settings, 2) == "release 2 is staged"


def test_expired_metadata_changes_nothing(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    repository.publish(timestamp_days=-1)
    with pytest.raises(TryAgainError, match="expired"):
        update(settings, 2)


def test_another_key_than_the_delegated_one_is_refused(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(2, release_files(2))
    repository.publish(releases_key=CryptoSigner.generate_ed25519())
    with pytest.raises(ContractError, match="not trusted"):
        update(settings, 2)


def test_files_of_another_release_are_refused(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(3, release_files(2))
    with pytest.raises(ContractError, match="manifest is of release 2"):
        update(settings, 3)


def test_a_lower_release_and_a_clock_in_1970_are_refused(repository: Repository, settings: UpdateSettings) -> None:
    repository.add(3, release_files(3))
    with pytest.raises(TryAgainError, match="clock"):
        update(settings, 3, now_s=5.0)
    update(settings, 3)
    with pytest.raises(ContractError, match="not above 3"):
        update(settings, 2)


def test_two_starts_without_a_confirmation_roll_back_and_deny_the_model(
    repository: Repository, settings: UpdateSettings
) -> None:
    repository.add(2, release_files(2))
    update(settings, 2)
    slots(settings).begin_trial()
    assert slots(settings).choose() == slots(settings).model(2)
    assert slots(settings).choose() == FACTORY_MODEL
    assert slots(settings).read().step is Step.ROLLED_BACK
    repository.add(3, release_files(3))
    with pytest.raises(ContractError, match="rolled back here before"):
        update(settings, 3)


def test_a_broken_slot_and_a_broken_state_fall_back_to_the_factory_model(
    repository: Repository, settings: UpdateSettings
) -> None:
    repository.add(2, release_files(2))
    update(settings, 2)
    slots(settings).begin_trial()
    slots(settings).confirm()
    assert slots(settings).choose() == slots(settings).model(2)
    slots(settings).model(2).write_bytes(b"broken")
    assert slots(settings).choose() == FACTORY_MODEL
    (settings.folder / "state.json").write_text("{")
    assert slots(settings).choose() == FACTORY_MODEL
    assert slots(settings).read().floor == 2
