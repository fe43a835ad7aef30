"""A release with a second file for the Edge TPU: fetched where it can be used, and refused where it is not what was signed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.config import FACTORY_MODEL, UpdateSettings
from agent.update.check import update
from agent.update.slots import Slots
from contract.errors import ContractError
from contract.fleet import Step
from contract.release import COMPILED_NAME, MANIFEST_NAME, RELEASE_FILES, compiled_file, read_manifest
from tests.agent.edgetpu_kit import compiled_model
from tests.agent.release_kit import Web, release_files
from tests.agent.tuf_repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "tuf")


@pytest.fixture
def settings(repository: Repository, tmp_path: Path) -> Iterator[UpdateSettings]:
    with Web(tmp_path).serving() as web:
        yield UpdateSettings(url=web.url, folder=tmp_path / "models", root=repository.root)


def slot(settings: UpdateSettings, release: int) -> Path:
    return Slots(settings.folder, FACTORY_MODEL).model(release)


def test_both_files_come_to_the_slot_and_are_what_the_manifest_says(
    repository: Repository, settings: UpdateSettings
) -> None:
    repository.add(2, release_files(2, compiled=compiled_model()))
    assert update(settings, 2) == "release 2 is staged"
    model = slot(settings, 2)
    assert sorted(path.name for path in model.parent.iterdir()) == sorted([*RELEASE_FILES, COMPILED_NAME])
    assert compiled_file(model, read_manifest(model)) == model.with_name(COMPILED_NAME)


def test_a_door_that_shall_not_use_a_coral_fetches_only_what_it_can_use(
    repository: Repository, settings: UpdateSettings, tmp_path: Path
) -> None:
    repository.add(2, release_files(2, compiled=compiled_model()))
    config = tmp_path / "door.toml"
    config.write_text(
        f'device = "door-1"\n[model]\naccelerator = "cpu"\n'
        f'[update]\nurl = "{settings.url}"\nroot = "{settings.root}"\nfolder = "{settings.folder}"\n'
    )
    assert main(["update", "--config", str(config), "--release", "2"]) == 0
    assert sorted(path.name for path in slot(settings, 2).parent.iterdir()) == sorted(RELEASE_FILES)


@pytest.mark.parametrize("edge_tpu", [True, False])
def test_a_release_of_three_files_is_taken_as_ever(
    repository: Repository, settings: UpdateSettings, edge_tpu: bool
) -> None:
    repository.add(2, release_files(2))
    assert update(settings, 2, edge_tpu=edge_tpu) == "release 2 is staged"
    files = release_files(3, compiled=compiled_model())
    del files[COMPILED_NAME]  # the model was compiled, but the file was not signed, as it once was
    repository.add(3, files)
    assert update(settings, 3, edge_tpu=edge_tpu) == "release 3 is staged"
    with pytest.raises(ContractError, match="came without model_edgetpu"):
        compiled_file(slot(settings, 3), read_manifest(slot(settings, 3)))


def refuses(settings: UpdateSettings, release: int, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        update(settings, release)
    state = Slots(settings.folder, FACTORY_MODEL).read()
    assert (state.step, words in state.missed) == (Step.IDLE, True)
    assert not slot(settings, release).parent.exists()


def test_a_compiled_file_that_is_not_the_signed_one_is_refused(
    repository: Repository, settings: UpdateSettings
) -> None:
    content = compiled_model()
    repository.add(2, release_files(2, compiled=content))
    spoiled = bytearray(content)
    spoiled[len(spoiled) // 2] ^= 1
    repository.file(2, COMPILED_NAME).write_bytes(bytes(spoiled))
    refuses(settings, 2, f"{COMPILED_NAME} is not the file that was signed")
    repository.file(2, COMPILED_NAME).write_bytes(content)
    assert update(settings, 2) == "release 2 is staged"


def test_a_signed_compiled_file_that_the_manifest_does_not_name_is_refused(
    repository: Repository, settings: UpdateSettings
) -> None:
    other = {COMPILED_NAME: compiled_model() + bytes(4)}
    repository.add(2, release_files(2, compiled=compiled_model()) | other)
    refuses(settings, 2, f"{COMPILED_NAME} is not the compiled file that the manifest names")
    repository.add(3, release_files(3) | other)
    refuses(settings, 3, f"{COMPILED_NAME} is signed, but the manifest names no file for the Edge TPU")
    assert json.loads(release_files(3)[MANIFEST_NAME]).get("edge_tpu", {}).get("status") != "compiled"
