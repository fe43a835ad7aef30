from collections.abc import Callable, Iterator
from itertools import count, cycle, islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.vision.watch import BLACK, BLIND_S, COVERED, LEARN_LOOKS, MOVED_S, SHIFTED, Watch
from agent.vision.yolo import Pixels
from rehearsal.scene import Kind, Scene

Change = Callable[[Pixels], Pixels]

LEARNED = 2 * LEARN_LOOKS
KINDS: tuple[Kind, ...] = ("passage", "entrance")
CLIPS = {  # clip: frames of one fixed camera, by their numbers
    "one_by_one_backs.mp4": range(0, 1394, 10),
    "station_platform_masked.mp4": range(46, 295, 5),
    "opera_house_walk_unmasked.mp4": range(0, 105, 4),
    "corridor_three_pause_unmasked.gif": range(41),
}


def moved(*, right: float = 0.0, down: float = 0.0, turned: float = 0.0, nearer: float = 1.0) -> Change:
    """The picture after the camera was moved: shares of its size, degrees, a factor."""

    def change(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turned, nearer)
        matrix[0, 2] += right * width
        matrix[1, 2] += down * height
        return np.asarray(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)

    return change


def flickers(pixels: Pixels) -> Iterator[Pixels]:
    """The picture for ever, never twice the same."""
    return cycle([pixels, pixels ^ np.uint8(1)])


def lit(factor: float, *, gamma: float = 1.0) -> Change:
    """The picture in other light."""
    return lambda pixels: np.asarray(255 * np.clip(pixels * (factor / 255), 0, 1) ** gamma, np.uint8)


def reduced(pixels: Pixels) -> Pixels:
    """As the detector sees it, 320 px wide."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.resize(pixels, (320, 320 * height // width), interpolation=cv2.INTER_AREA), np.uint8)


def run(watch: Watch, pictures: Iterator[Pixels], seconds: Iterator[int], number: int) -> list[list[str]]:
    """One picture a second; what the watch says after each."""
    said = []
    for pixels, now in zip(islice(pictures, number), seconds, strict=False):
        watch.see(pixels, float(now))
        watch.wait(float(now))
        said.append(watch.trouble(float(now)))
    return said


@pytest.fixture(scope="module", params=[*KINDS, *CLIPS])
def door(request: pytest.FixtureRequest) -> list[Pixels]:
    """A second of each: drawn people before a drawn door, or real people before a fixed camera."""
    if request.param in KINDS:
        scene = Scene(request.param, seed=3, people=12, gap_s=0.9)
        return [reduced(scene.render(index)[0]) for index in range(0, scene.frames, 15)]
    photographs: Path = request.getfixturevalue("photographs")
    capture, wanted, found = cv2.VideoCapture(str(photographs / "video" / request.param)), CLIPS[request.param], []
    for index in range(wanted.stop):
        readable, pixels = capture.read()
        if readable and index in wanted:
            found.append(reduced(np.asarray(pixels, np.uint8)))
    assert len(found) > 20
    return found


@pytest.fixture(scope="module")
def still() -> Pixels:
    return Scene("passage", seed=3, people=1).render(0)[0]


def test_people_who_walk_do_not_move_the_camera(door: list[Pixels]) -> None:
    assert run(Watch(0.0), cycle(door), count(), 500) == [[]] * 500


@pytest.mark.parametrize(
    "change",
    [
        moved(right=0.05), moved(right=-0.1), moved(down=0.1), moved(turned=12), moved(nearer=1.2),
        moved(right=0.04, down=0.04, turned=-4),
    ],
    ids=["5 % right", "10 % left", "10 % down", "12 degrees", "1.2 times nearer", "a knock"],
)  # fmt: skip
def test_a_camera_that_was_moved_is_noticed_within_four_minutes_and_until_it_is_put_back(
    door: list[Pixels], change: Change
) -> None:
    watch, seconds = Watch(0.0), count()
    run(watch, cycle(door), seconds, LEARNED)
    said = run(watch, cycle([change(pixels) for pixels in door]), seconds, 500)
    assert said[int(MOVED_S) - 1] == []
    assert said[240:] == [[SHIFTED]] * 260
    back = run(watch, cycle(door), seconds, 120)
    assert back[-1] == []


@pytest.mark.parametrize("last", [lit(0.4), lit(1.5), lit(1.0, gamma=2.0), lit(1.0, gamma=0.5)])
def test_light_that_changes_slowly_does_not_move_the_camera(door: list[Pixels], last: Change) -> None:
    watch, seconds = Watch(0.0), count()
    run(watch, cycle(door), seconds, LEARNED)
    for step in range(1, 11):
        some = [
            np.asarray(pixels + (last(pixels).astype(float) - pixels) * step / 10, np.uint8) for pixels in door[:20]
        ]
        assert run(watch, cycle(some), seconds, 60) == [[]] * 60
    assert run(watch, cycle(some), seconds, 200) == [[]] * 200


def test_a_crowd_before_the_camera_is_not_a_moved_camera() -> None:
    crowd = Scene("entrance", seed=5, people=120, gap_s=0.05)
    watch, seconds = Watch(0.0), count()
    few = Scene("entrance", seed=9, people=12, gap_s=0.9)
    crowd._plate = few._plate
    run(watch, (few.render(index)[0] for index in range(0, few.frames, 15)), seconds, LEARNED)
    run(watch, cycle([few.render(0)[0], few.render(1)[0]]), seconds, LEARNED)
    full = [crowd.render(index)[0] for index in range(150, crowd.frames, 24)]
    assert run(watch, cycle(full), seconds, 400) == [[]] * 400


@pytest.mark.parametrize(
    ("cover", "words"),
    [
        (lambda pixels: np.asarray(pixels * 0.02, np.uint8), BLACK),
        (lambda pixels: np.full_like(pixels, 140) + pixels // 64, COVERED),
    ],
)
def test_a_black_or_covered_picture_is_said_after_five_seconds(still: Pixels, cover: Change, words: str) -> None:
    watch, seconds = Watch(0.0), count()
    run(watch, flickers(still), seconds, LEARNED)
    said = run(watch, flickers(cover(still)), seconds, 300)
    assert said == [[]] * int(BLIND_S) + [[words]] * (300 - int(BLIND_S))
    assert run(watch, flickers(still), seconds, 200) == [[]] * 200  # and it was not moved meanwhile


def test_a_door_without_edges_says_nothing_of_its_view() -> None:
    ramp = np.asarray(np.linspace(60, 200, 640)[None, :, None] * np.ones((480, 1, 3)), np.uint8)
    watch, seconds = Watch(0.0), count()
    run(watch, flickers(ramp), seconds, LEARNED)
    assert run(watch, flickers(ramp[:, ::-1]), seconds, 300) == [[]] * 300


@pytest.mark.parametrize("shape", [(120, 160, 3), (180, 320, 3), (481, 641, 3), (1080, 1920, 3)])
def test_pictures_of_any_size_are_looked_at(shape: tuple[int, int, int]) -> None:
    pictures = np.random.default_rng(2).integers(0, 255, (3, *shape), np.uint8)
    assert run(Watch(0.0), cycle(pictures), count(), 90) == [[]] * 90
