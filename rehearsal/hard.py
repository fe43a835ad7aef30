"""A drawn pack of the cases that fool a model, one face or one poster a picture, each case about as often."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from rehearsal import props
from rehearsal.people import (
    CANVAS,
    FACE_CENTRE,
    HAIRS,
    HALF_FACE,
    MASKS,
    SKINS,
    Colour,
    Look,
    Pixels,
    Prop,
    Wear,
    draw_person,
    face_box,
    in_fashion,
    random_look,
)
from rehearsal.scene import HEIGHT, WIDTH, Face, Kind, Progress, describe, draw_plate, paste, yolo_row
from trainer.hard import POSTERS, Case
from trainer.pack import CASES_NAME

FLOOR = 350  # px from the top: where feet stand at the highest
NARROWEST, WIDEST = 0.05, 0.25  # a face's width as a share of the picture's longer side
LABEL_OF: dict[Wear, str] = {
    "covered": "with_mask", "bare": "without_mask", "nose_out": "mask_worn_incorrectly",
    "under_chin": "mask_worn_incorrectly", "one_ear": "mask_worn_incorrectly",
}  # fmt: skip
WEAR_OF: dict[Case, Wear] = {
    Case.PRINTED_MASK: "covered", Case.SKIN_MASK: "covered", Case.POSTER_MASKED: "covered",
    Case.CHIN_MASK: "under_chin", Case.ONE_EAR: "one_ear",
}  # fmt: skip
PAPERS: tuple[Colour, ...] = ((236, 238, 240), (70, 120, 170), (60, 60, 180), (90, 110, 60), (200, 190, 150))


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the pack, uint8 BGR of shape (480, 640, 3); `face` is None where nobody is in it."""

    case: Case
    pixels: Pixels
    face: Face | None


def pictures(images: int, seed: int) -> Iterator[Picture]:
    """The pack's pictures, the cases in turn; each depends on the seed and its own number alone."""
    cases = list(Case)
    for number in range(images):
        turn, place = divmod(number, len(cases))
        yield draw(cases[place], np.random.default_rng([seed, number]), skin=SKINS[(turn + place) % len(SKINS)])


def draw(case: Case, rng: np.random.Generator, *, skin: Colour) -> Picture:
    """One picture of `case` at a random door, face size and place."""
    kind: Kind = "entrance" if rng.random() < 0.5 and case not in (*POSTERS, Case.BACK_LIGHT) else "passage"
    canvas = draw_plate(kind, rng)
    look = _dressed(case, replace(random_look(rng), skin=skin), rng)
    scale = float(np.exp(rng.uniform(np.log(NARROWEST), np.log(WIDEST)))) * WIDTH / (2 * HALF_FACE * look.slim)
    wear = WEAR_OF.get(case, "bare")
    if case is Case.BACK_LIGHT:
        wear = ("covered", "bare", "nose_out")[rng.integers(3)]
    sprite = draw_person(look, wear, "face", rng, _prop(case, rng))
    if case in POSTERS:
        _hang(canvas, sprite, scale, rng)
        return Picture(case, _noisy(canvas, rng), None)
    reach = HALF_FACE * scale
    lowest = HEIGHT - 1.8 * reach
    highest = min(lowest - 20, max(1.8 * reach, FLOOR - (CANVAS[1] - FACE_CENTRE[1]) * scale))  # nobody floats
    spot = (float(rng.uniform(1.5 * reach, WIDTH - 1.5 * reach)), float(rng.uniform(highest, lowest)))
    if case is Case.BACK_LIGHT:
        canvas, sprite = _glaring(canvas, spot, rng), _darkened(sprite, rng)
    owner = np.full((HEIGHT, WIDTH), -1, np.int16)
    box = paste(canvas, sprite, face_box(look), spot, scale, owner, 0)
    if case is Case.BACK_LIGHT:  # light creeps around the edges
        canvas = cv2.addWeighted(canvas, 0.86, cv2.GaussianBlur(canvas, (0, 0), 14), 0.2, 0).astype(np.uint8)
    return Picture(case, _noisy(canvas, rng), Face(box, LABEL_OF[wear], 1.0))


def write_pack(folder: Path, *, images: int, seed: int, progress: Progress | None = None) -> None:
    """Write the pack as a YOLO data set with the one split `test`, and beside it `cases.csv`: file and case."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, picture in enumerate(pictures(images, seed)):
        name = f"{picture.case}_{number:04d}"
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), picture.pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])
        (folder / "labels" / f"{name}.txt").write_text(yolo_row(picture.face) if picture.face else "")
        rows.append((f"{name}.jpg", picture.case.value))
        if progress:
            progress(number + 1, images)
    (folder / "test.txt").write_text("".join(f"./images/{name}\n" for name, _ in rows))
    with (folder / CASES_NAME).open("w", newline="") as out:
        csv.writer(out).writerows([("file", "case"), *rows])
    describe(folder, "test: test.txt")


def _dressed(case: Case, look: Look, rng: np.random.Generator) -> Look:
    if case is Case.PRINTED_MASK:
        return in_fashion(look) if rng.random() < 0.5 else replace(look, mask=MASKS[1], pattern="portrait")
    if case is Case.SKIN_MASK:
        tone = rng.uniform(0.9, 1.1)
        blue, green, red = (min(255, round(tone * channel)) for channel in look.skin)
        return replace(look, mask=(blue, green, red), pattern="plain")
    if case is Case.BEARD:
        hair = HAIRS[rng.choice([0, 1, 2, 5])]
        return replace(look, hair=hair, hair_style=("short", "bald", "cap")[rng.integers(3)], beard=False)
    return look


def _prop(case: Case, rng: np.random.Generator) -> Prop | None:
    side = int(rng.choice([-1, 1]))
    blue, green, red = (int(value) for value in rng.integers(30, 210, 3))
    made: dict[Case, Prop] = {
        Case.HAND: props.hand(side), Case.BEARD: props.beard, Case.VISOR: props.visor,
        Case.SCARF: props.scarf((blue, green, red), striped=bool(rng.random() < 0.5)),
        Case.CUP: props.cup(side, PAPERS[rng.integers(len(PAPERS))]),
    }  # fmt: skip
    return made.get(case)


def _hang(canvas: Pixels, sprite: Pixels, scale: float, rng: np.random.Generator) -> None:
    """Print head and shoulders on paper, with a heading and some lines, and hang it on the wall, seen a little from a side."""
    (cx, cy), half = FACE_CENTRE, HALF_FACE
    left, top, right, bottom = cx - 2.0 * half, cy - 2.0 * half, cx + 2.0 * half, cy + 2.6 * half
    x0, y0, x1, y1 = (round(value) for value in (left, top, right, bottom))
    cut = sprite[y0:y1, x0:x1].astype(np.float32)
    ground = rng.integers(90, 245, 3).astype(np.float32)
    alpha = cut[..., 3:] / 255
    print_ = cut[..., :3] * alpha + ground * (1 - alpha)
    high, wide = print_.shape[:2]
    border, foot = round(half * 0.25), round(half * 1.1)
    paper = np.full((high + 2 * border + foot, wide + 2 * border, 3), 240, np.float32)
    paper[border : border + high, border : border + wide] = 0.85 * print_ + 0.15 * 225  # ink is paler than life
    ink = tuple(float(value) for value in rng.integers(20, 130, 3))
    for row in range(3):
        at = high + 2 * border + round(foot * (0.15 + 0.28 * row))
        end = border + round(wide * rng.uniform(0.45, 0.95))
        cv2.line(paper, (border, at), (end, at), ink, (16, 7, 7)[row])
    tall, broad = (side * scale for side in paper.shape[:2])
    fit = min(1.0, (HEIGHT - 10) / tall)  # a poster is shown whole
    tall, broad = tall * fit, broad * fit
    x, y = rng.uniform(4, max(5, WIDTH - broad - 4)), rng.uniform(4, max(5, min(HEIGHT - tall - 4, 0.5 * HEIGHT)))
    slant = rng.uniform(-0.06, 0.06) * tall
    corners = np.array(
        [[x, y + max(slant, 0)], [x + broad, y + max(-slant, 0)], [x + broad, y + tall - max(-slant, 0)], [x, y + tall - max(slant, 0)]],
        np.float32,
    )  # fmt: skip
    small = cv2.resize(paper, (max(2, round(broad)), max(2, round(tall))), interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    turn = cv2.getPerspectiveTransform(np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32), corners)
    shown = cv2.warpPerspective(small, turn, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    where = cv2.warpPerspective(np.ones((h, w), np.float32), turn, (WIDTH, HEIGHT))[..., None]
    shadow = cv2.GaussianBlur(np.roll(where, (3, 4), (0, 1)), (0, 0), 4)[..., None] * 0.3
    light = rng.uniform(0.75, 1.0)
    canvas[:] = np.clip(canvas * (1 - shadow) * (1 - where) + light * shown * where, 0, 255).astype(np.uint8)


def _glaring(canvas: Pixels, spot: tuple[float, float], rng: np.random.Generator) -> Pixels:
    """A door that is open to the sun behind the person at `spot`: blown out, and the rest of the hall dim."""
    opening = np.zeros((HEIGHT, WIDTH), np.float32)
    left, right = spot[0] - rng.uniform(60, 220), spot[0] + rng.uniform(60, 220)
    top = min(spot[1] - 40, rng.uniform(10, 120))
    cv2.rectangle(opening, (round(left), round(top)), (round(right), HEIGHT), (1.0,), -1)
    cv2.rectangle(
        opening, (round((left + right) / 2), round(top)), (round((left + right) / 2) + 5, HEIGHT), (0.55,), -1
    )
    glare = np.maximum(opening * 0.9, cv2.GaussianBlur(opening, (0, 0), 30))[..., None]
    bright: Pixels = np.clip(canvas * 0.5 * (1 - glare) + 250 * glare, 0, 255).astype(np.uint8)
    return bright


def _darkened(sprite: Pixels, rng: np.random.Generator) -> Pixels:
    """The side that the camera sees lies in shade."""
    shade: Pixels = sprite.copy()
    shade[..., :3] = np.clip(sprite[..., :3] * rng.uniform(0.22, 0.42) + 10, 0, 255).astype(np.uint8)
    return shade


def _noisy(canvas: Pixels, rng: np.random.Generator) -> Pixels:
    noisy: Pixels = np.clip(canvas + rng.normal(0, 3.2, (HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8)
    return noisy
