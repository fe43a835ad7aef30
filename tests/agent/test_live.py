import threading
from collections.abc import Callable, Generator

import numpy as np
import pytest

from agent.vision.frame import Frame
from agent.vision.live import FIRST_PAUSE_S, HANG_S, LONGEST_PAUSE_S, Due, LiveCamera
from contract.errors import TryAgainError
from rehearsal.processes import wait_until

BLANK = np.zeros((6, 8, 3), np.uint8)


class Script:
    """A source that plays one script after another: stamps in s, and what it says at the end of each."""

    name = "the camera"

    def __init__(self, *plays: tuple[list[float], str], step: Callable[[], object] = lambda: None) -> None:
        self._plays = iter(plays)
        self._step = step
        self.opened = 0
        self.released = 0

    def frames(self, due: Due) -> Generator[Frame, None, None]:
        self.opened += 1
        try:
            stamps, words = next(self._plays, ([], "it is away"))
            for at_s in stamps:
                self._step()
                if due(at_s):
                    yield Frame(BLANK, at_s)
            raise TryAgainError(words)
        finally:
            self.released += 1


def at_once() -> float:
    return -1.0  # no pause at all


def test_the_newest_frame_is_handed_out_and_the_others_are_counted() -> None:
    turn = threading.Semaphore(0)
    source = Script(([0, 1, 2, 3, 4, 5], "over"), step=lambda: turn.acquire())
    camera = LiveCamera(source, fps=15, jitter=at_once)
    frames = camera.frames()
    turn.release()
    assert next(frames).at_s == 0
    turn.release(5)
    wait_until(lambda: camera.dropped == 4, within_s=20, what="the dropping")
    assert next(frames).at_s == 5
    frames.close()


def test_a_camera_that_comes_back_is_seen_and_its_trouble_ends() -> None:
    back = threading.Semaphore(1)
    source = Script(([], "it is away"), ([], "it is away"), ([7.0, 8.0], "gone"), step=lambda: back.acquire())
    camera = LiveCamera(source, fps=15, jitter=at_once)
    frames = camera.frames()
    assert next(frames).at_s == 7.0
    assert source.opened == 3
    assert camera.trouble is None
    back.release()
    assert next(frames).at_s == 8.0
    wait_until(lambda: camera.trouble is not None, within_s=20, what="the trouble at its end")
    frames.close()


def test_time_grows_across_a_camera_that_starts_again_with_an_earlier_stamp() -> None:
    turn = threading.Semaphore(0)
    plays = [([start, start + 1, start + 2], "gone") for start in (100.0, 50.0, 103.0)]
    frames = LiveCamera(Script(*plays, step=lambda: turn.acquire()), fps=15, jitter=at_once).frames()
    times = []
    for _ in range(9):
        turn.release()
        times.append(next(frames).at_s)
    assert times == pytest.approx([100.0, 101.0, 102.0, 102.001, 102.002, 102.003, 103.0, 104.0, 105.0])
    frames.close()


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (1.0, 1.0)])
def test_pauses_double_up_to_ten_seconds_and_are_spread(jitter: float, share: float) -> None:
    camera = LiveCamera(Script(), fps=15, jitter=lambda: jitter)
    pauses: list[float] = []

    class Clockwork(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            if len(pauses) == 8:
                camera.close()
            return self.is_set()

    camera._stop = Clockwork()
    assert list(camera.frames()) == []
    wait_until(lambda: len(pauses) == 8, within_s=20, what="the pauses")
    assert pauses == [share * min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(8)]


def test_a_source_is_released_however_it_ends() -> None:
    source = Script(([0.0, 1.0], "over"), ([2.0, 3.0], "over"))
    camera = LiveCamera(source, fps=15, jitter=at_once)
    frames = camera.frames()
    next(frames)
    wait_until(lambda: source.released >= 2, within_s=20, what="two openings")
    frames.close()
    assert source.opened == source.released


def test_a_call_that_does_not_come_back_is_said_and_holds_nobody_up() -> None:
    now, hangs = 100.0, threading.Event()
    camera = LiveCamera(Script(([0.0, 1.0], ""), step=lambda: hangs.wait(30)), fps=15, clock=lambda: now)
    reader = threading.Thread(target=lambda: list(camera.frames()), daemon=True)
    reader.start()
    wait_until(lambda: camera._alive_s is not None, within_s=20, what="the call")
    assert camera.trouble is None
    now += HANG_S + 1
    assert "does not come back" in (camera.trouble or "")
    hangs.set()
    wait_until(lambda: "does not come back" not in (camera.trouble or ""), within_s=20, what="the end of the trouble")
    camera.close()
    reader.join(5)
    assert not reader.is_alive()


def test_a_mistake_in_the_program_is_not_retried_for_ever() -> None:
    class Broken:
        name = "the camera"

        def frames(self, due: Due) -> Generator[Frame, None, None]:
            raise KeyError("size")
            yield

    with pytest.raises(KeyError):
        next(LiveCamera(Broken(), fps=15).frames())


def test_words_fit_into_a_heartbeat() -> None:
    camera = LiveCamera(Script(([], "x" * 1000)), fps=15, jitter=at_once)
    reader = threading.Thread(target=lambda: list(camera.frames()), daemon=True)
    reader.start()
    wait_until(lambda: camera.trouble is not None, within_s=20, what="the trouble")
    assert len(camera.trouble or "") <= 200
    camera.close()
    reader.join(5)
