"""What a door complains of, as words for programs."""

from dataclasses import replace

import pytest

from agent.health.pulse import Ages, standstill
from agent.refuge import SAFE
from agent.vision import watch
from contract.trouble import CAMERA, Trouble, words_for

FINE = Ages(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        (watch.STALLED, Trouble.CAMERA_STALLED),
        (watch.FROZEN, Trouble.CAMERA_FROZEN),
        (watch.BLACK, Trouble.CAMERA_BLACK),
        (watch.COVERED, Trouble.CAMERA_COVERED),
        (watch.SHIFTED, Trouble.CAMERA_MOVED),
        (SAFE, Trouble.SAFE_MODE),
        (standstill(replace(FINE, frame_s=999.0)), Trouble.CAMERA_STALLED),
        (standstill(replace(FINE, look_s=999.0)), Trouble.MODEL_STUCK),
        (standstill(replace(FINE, looking_s=999.0)), Trouble.MODEL_STUCK),
        (standstill(replace(FINE, commit_s=999.0)), Trouble.DISK_AWAY),
        ("the Coral: no file for it", Trouble.OTHER),
    ],
)
def test_the_agents_own_sentences_have_their_words(sentence: str, word: Trouble) -> None:
    assert words_for([sentence]) == (word,)


def test_each_word_is_said_once_and_in_order() -> None:
    said = [watch.BLACK, "something new", watch.BLACK, "something else"]
    assert words_for(said) == (Trouble.CAMERA_BLACK, Trouble.OTHER)
    assert {word for word in Trouble if word.startswith("camera_")} < CAMERA
