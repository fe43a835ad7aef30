"""Which desired states a door believes."""

import logging
from pathlib import Path

import pytest

from agent.update.wish import DESIRED_NAME, Wish
from contract.fleet import Desired


def word(number: int, release: int, device: str = "door-1") -> bytes:
    return Desired(device=device, number=number, release=release).encode()


def test_the_newest_word_counts_and_survives_a_restart(tmp_path: Path) -> None:
    wish = Wish("door-1", tmp_path / "models")
    assert (wish.release, wish.number) == (0, 0)
    assert wish.take(word(2, 5))
    assert not wish.take(word(2, 5))  # the retained one once more, after a reconnect
    assert not wish.take(word(1, 9))
    assert wish.take(word(3, 6))
    again = Wish("door-1", tmp_path / "models")
    assert (again.release, again.number) == (6, 3)
    assert not again.take(word(2, 5))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"device": "door-1"}', word(1, 5, "door-2"), b"x" * 10_000])
def test_broken_and_foreign_words_are_logged_and_ignored(
    tmp_path: Path, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    wish = Wish("door-1", tmp_path)
    with caplog.at_level(logging.WARNING, logger="agent.update"):
        assert not wish.take(payload)
    assert wish.newest is None
    assert "ignored" in caplog.text
    assert not (tmp_path / DESIRED_NAME).exists()


def test_a_broken_file_and_a_folder_that_cannot_be_written_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / DESIRED_NAME).write_text("{")
    assert Wish("door-1", tmp_path).newest is None
    (tmp_path / "file").write_text("")
    wish = Wish("door-1", tmp_path / "file" / "models")
    assert wish.take(word(1, 2))
    assert wish.release == 2
