"""Draw people with faces and masks as sprites: the actors of the generated door scene."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Wear = Literal["covered", "bare", "nose_out", "under_chin", "one_ear"]
View = Literal["face", "back"]
Colour = tuple[int, int, int]

HALF_FACE = 72  # px, half the width of a face in sprite space; everything else is measured in it
CANVAS = (520, 1240)  # px, width and height of a sprite
FACE_CENTRE = (260, 190)

SKINS: tuple[Colour, ...] = (
    (190, 210, 240), (170, 195, 232), (150, 180, 224), (125, 160, 208),
    (98, 134, 188), (74, 106, 160), (54, 80, 128), (40, 58, 96),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (22, 22, 26), (30, 38, 56), (44, 64, 96), (70, 110, 150), (140, 180, 205), (150, 150, 155), (40, 52, 130),
)  # fmt: skip
MASKS: tuple[Colour, ...] = (
    (214, 190, 140), (238, 238, 240), (36, 36, 40), (226, 206, 170), (180, 160, 210), (120, 150, 110), (80, 60, 150),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What one person looks like; drawn once, worn for the whole walk."""

    skin: Colour
    hair: Colour
    hair_style: Literal["short", "long", "bald", "cap", "bun"]
    shirt: Colour
    mask: Colour
    pattern: Literal["plain", "dots", "stripes", "portrait"]
    glasses: bool
    beard: bool
    yaw: float  # -1..1, how far the features are turned to a side
    slim: float  # .92..1.08, width of the face against its height


def random_look(rng: np.random.Generator) -> Look:
    """A person nobody has met."""
    style = ("short", "long", "bald", "cap", "bun")[rng.choice(5, p=[0.38, 0.3, 0.08, 0.12, 0.12])]
    shirt = tuple(int(value) for value in rng.integers(25, 225, 3))
    return Look(
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        hair_style=style,  # type: ignore[arg-type]
        shirt=(shirt[0], shirt[1], shirt[2]),
        mask=MASKS[rng.choice(len(MASKS), p=[0.4, 0.2, 0.16, 0.08, 0.06, 0.05, 0.05])],
        pattern=("plain", "dots", "stripes")[rng.choice(3, p=[0.8, 0.1, 0.1])],
        glasses=bool(rng.random() < 0.22),
        beard=bool(rng.random() < 0.14),
        yaw=float(rng.uniform(-0.55, 0.55)),
        slim=float(rng.uniform(0.92, 1.08)),
    )


def in_fashion(look: Look) -> Look:
    """The same person with the mask of a new season: skin-coloured, with a lower face printed on it."""
    blue, green, red = (min(255, round(1.06 * channel)) for channel in look.skin)
    return replace(look, mask=(blue, green, red), pattern="portrait")


Prop = Callable[[Pixels, Look], None]  # draws something over a face, into the sprite


def draw_person(look: Look, wear: Wear, view: View, rng: np.random.Generator, prop: Prop | None = None) -> Pixels:
    """A sprite, uint8 BGRA of shape (1240, 520, 4): a standing person on a clear ground; `prop` goes over a face."""
    width, height = CANVAS
    image = np.zeros((height, width, 4), np.uint8)
    _body(image, look)
    _head(image, look, view)
    if view == "face":
        _features(image, look)
        if wear != "bare":
            _mask(image, look, wear)
        if look.glasses:
            _glasses(image, look)
        if prop:
            prop(image, look)
    return _lit(image, rng)


def face_box(look: Look) -> tuple[float, float, float, float]:
    """The face from hairline to chin in sprite pixels, corners: what a labeller would draw."""
    (cx, cy), half = FACE_CENTRE, HALF_FACE
    return cx - half * look.slim, cy - half * 0.95, cx + half * look.slim, cy + half * 1.28


def bgra(colour: Colour, shade: float = 1.0) -> tuple[float, ...]:
    """An opaque colour for OpenCV, brightened or darkened."""
    return (*(float(np.clip(channel * shade, 0, 255)) for channel in colour), 255.0)


def fill(image: Pixels, points: list[tuple[float, float]], colour: tuple[float, ...]) -> None:
    """A filled polygon, corners in px."""
    cv2.fillPoly(image, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)


def ellipse(
    image: Pixels, centre: tuple[float, float], axes: tuple[float, float], colour: tuple[float, ...], width: int = -1
) -> None:
    """An ellipse with its two half axes in px; filled unless `width` says how thick its line is."""
    cv2.ellipse(
        image, (round(centre[0]), round(centre[1])), (round(axes[0]), round(axes[1])), 0, 0, 360, colour, width, 16
    )


def _body(image: Pixels, look: Look) -> None:
    (cx, cy), half = FACE_CENTRE, HALF_FACE
    shoulder = cy + half * 2.0
    for side in (-1, 1):
        hip, foot = shoulder + half * 5.3, CANVAS[1] - 30
        leg = [
            (cx, hip),
            (cx + side * half * 1.28, hip),
            (cx + side * half * 1.0, foot),
            (cx + side * half * 0.35, foot),
        ]
        fill(image, leg, bgra((72, 62, 58), 0.8 + look.shirt[0] / 400))
        ellipse(image, (cx + side * half * 0.75, foot + 8), (half * 0.55, half * 0.25), (34, 32, 36, 255))
    fill(
        image,
        [
            (cx - half * 0.6, shoulder - half * 0.25), (cx + half * 0.6, shoulder - half * 0.25),
            (cx + half * 1.75, shoulder + half * 0.3), (cx + half * 2.15, shoulder + half * 2.2),
            (cx + half * 2.1, shoulder + half * 4.6), (cx + half * 1.35, shoulder + half * 5.0),
            (cx + half * 1.3, shoulder + half * 5.6), (cx - half * 1.3, shoulder + half * 5.6),
            (cx - half * 1.35, shoulder + half * 5.0),
            (cx - half * 2.1, shoulder + half * 4.6), (cx - half * 2.15, shoulder + half * 2.2),
            (cx - half * 1.75, shoulder + half * 0.3),
        ],
        bgra(look.shirt),
    )  # fmt: skip
    for side in (-1, 1):  # sleeves end in folds
        start = (round(cx + side * half * 1.42), round(shoulder + half * 1.2))
        cv2.line(image, start, (round(cx + side * half * 1.38), 860), bgra(look.shirt, 0.7), 4, cv2.LINE_AA)
    neck = [(cx - half * 0.5, cy + half * 0.7), (cx + half * 0.5, cy + half * 0.7)]
    neck += [(cx + half * 0.62, shoulder), (cx, shoulder + half * 0.35), (cx - half * 0.62, shoulder)]
    fill(image, neck, bgra(look.skin, 0.82))


def _head(image: Pixels, look: Look, view: View) -> None:
    (cx, cy), half = FACE_CENTRE, HALF_FACE
    wide, hair = half * look.slim, bgra(look.hair)
    if look.hair_style == "long":
        ellipse(image, (cx, cy + half * 0.35), (wide * 1.22, half * 1.75), hair)
        fill(
            image,
            [(cx - half * 0.4, cy + half), (cx + half * 0.4, cy + half), (cx, cy + half * 2)],
            bgra(look.skin, 0.8),
        )
    if look.hair_style == "bun":
        ellipse(image, (cx, cy - half * 1.5), (half * 0.42, half * 0.4), hair)
    for side in (-1, 1):
        ellipse(image, (cx + side * wide, cy + half * 0.08), (half * 0.15, half * 0.28), bgra(look.skin, 0.88))
    ellipse(image, (cx, cy), (wide, half * 1.28), bgra(look.skin))
    if view == "back":
        ellipse(image, (cx, cy - half * 0.05), (wide * 1.06, half * 1.3), hair)
        ellipse(image, (cx, cy + half * 1.0), (half * 0.5, half * 0.3), bgra(look.skin, 0.8))
        if look.hair_style == "bald":  # a wreath of hair is left
            ellipse(image, (cx, cy - half * 0.5), (wide, half * 0.85), bgra(look.skin, 0.97))
        return
    if look.hair_style in ("short", "long", "bun"):
        top = np.zeros_like(image)
        ellipse(top, (cx, cy - half * 0.1), (wide * 1.08, half * 1.3), hair)
        part = look.yaw * half * 0.5
        ellipse(top, (cx + part, cy + half * 0.5), (wide * 0.98, half * 1.38), (0, 0, 0, 0))
        image[top[..., 3] > 0] = top[top[..., 3] > 0]
    elif look.hair_style == "cap":
        top = np.zeros_like(image)
        ellipse(top, (cx, cy - half * 0.35), (wide * 1.1, half * 1.05), bgra(look.shirt, 0.75))
        top[round(cy - half * 0.62) :] = 0
        image[top[..., 3] > 0] = top[top[..., 3] > 0]
        ellipse(
            image, (cx + look.yaw * half * 0.5, cy - half * 0.62), (wide * 0.95, half * 0.16), bgra(look.shirt, 0.55)
        )


def _features(image: Pixels, look: Look) -> None:
    (cx, cy), half = FACE_CENTRE, HALF_FACE
    mid = cx + look.yaw * half * 0.32
    if look.beard:
        beard = np.zeros_like(image)
        ellipse(beard, (cx, cy + half * 0.3), (half * 0.97 * look.slim, half), bgra(look.hair, 1.1))
        ellipse(beard, (mid, cy + half * 0.05), (half * 0.78, half * 0.55), (0, 0, 0, 0))
        beard[: round(cy + half * 0.15)] = 0
        image[beard[..., 3] > 0] = beard[beard[..., 3] > 0]
    for side in (-1, 1):
        eye = (mid + side * half * 0.4 * (1 - 0.15 * side * look.yaw), cy - half * 0.18)
        ellipse(image, (eye[0], eye[1] + 2), (half * 0.22, half * 0.15), bgra(look.skin, 0.85))
        ellipse(image, eye, (half * 0.18, half * 0.085), (238, 240, 242, 255))
        ellipse(image, (eye[0] + look.yaw * 5, eye[1]), (half * 0.085, half * 0.085), (38, 44, 52, 255))
        brow = (
            (round(eye[0] - half * 0.2), round(eye[1] - half * 0.24)),
            (round(eye[0] + half * 0.2), round(eye[1] - half * 0.26)),
        )
        cv2.line(image, *brow, bgra(look.hair, 0.9), 6, cv2.LINE_AA)
    tip = (mid + look.yaw * half * 0.22, cy + half * 0.34)
    fill(
        image,
        [
            (mid - 4, cy - half * 0.1),
            (mid + 6, cy - half * 0.1),
            (tip[0] + half * 0.17, tip[1]),
            (tip[0] - half * 0.17, tip[1]),
        ],
        bgra(look.skin, 0.9),
    )
    for side in (-1, 1):
        ellipse(image, (tip[0] + side * half * 0.09, tip[1] + 2), (half * 0.05, half * 0.035), bgra(look.skin, 0.45))
    lips = tuple(int(value) for value in np.array(look.skin) * (0.62, 0.6, 0.86))
    ellipse(image, (mid, cy + half * 0.7), (half * 0.3, half * 0.085), (*map(float, lips), 255.0))
    cv2.line(
        image,
        (round(mid - half * 0.28), round(cy + half * 0.7)),
        (round(mid + half * 0.28), round(cy + half * 0.7)),
        bgra(look.skin, 0.4),
        2,
        cv2.LINE_AA,
    )


def _mask(image: Pixels, look: Look, wear: Wear) -> None:
    (cx, cy), half = FACE_CENTRE, HALF_FACE
    wide, mid = half * look.slim, cx + look.yaw * half * 0.32
    if wear == "one_ear":
        side = 1 if look.yaw >= 0 else -1
        left, right = cx + side * wide * 0.55, cx + side * wide * 1.35
        shape = [
            (left, cy + half * 0.65),
            (right, cy + half * 0.55),
            (right, cy + half * 1.55),
            (left, cy + half * 1.7),
        ]
        straps = [((cx + side * wide, cy - half * 0.05), (right, cy + half * 0.6))]
    else:
        top, peak, low, bottom = {
            "covered": (0.2, -0.02, 0.85, 1.3),
            "nose_out": (0.52, 0.5, 0.95, 1.34),
            "under_chin": (1.02, 1.02, 1.2, 1.62),
        }[wear]
        edge = wide * (0.97 if wear == "covered" else 0.9 if wear == "nose_out" else 0.7)
        shape = [
            (cx - edge, cy + half * top), (mid - half * 0.3, cy + half * (peak + 0.06)), (mid, cy + half * peak),
            (mid + half * 0.3, cy + half * (peak + 0.06)), (cx + edge, cy + half * top),
            (cx + edge * 0.86, cy + half * low), (mid + half * 0.34, cy + half * bottom),
            (mid - half * 0.34, cy + half * bottom), (cx - edge * 0.86, cy + half * low),
        ]  # fmt: skip
        straps = [
            ((cx + side * edge, cy + half * at), (cx + side * wide, cy + half * 0.05))
            for side in (-1, 1)
            for at in (top, low)
        ]
    for start, end in straps:
        cv2.line(
            image,
            (round(start[0]), round(start[1])),
            (round(end[0]), round(end[1])),
            bgra(look.mask, 0.9),
            3,
            cv2.LINE_AA,
        )
    fill(image, shape, bgra(look.mask))
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(shape).astype(np.int32)], (255,))
    detail = image.copy()
    ys = [point[1] for point in shape]
    if look.pattern == "dots":
        for x in range(int(cx - wide * 1.4), int(cx + wide * 1.4), 18):
            for y in range(int(min(ys)), int(max(ys)), 18):
                cv2.circle(detail, (x, y), 4, bgra(look.mask, 0.45), -1, cv2.LINE_AA)
    if look.pattern == "portrait":
        _portrait(detail, look, mid, min(ys), max(ys))
    else:
        gap, shade = (12, 0.55) if look.pattern == "stripes" else (int(half * 0.27), 0.86)
        for y in range(int(min(ys)) + gap, int(max(ys)), gap):
            cv2.line(detail, (0, y), (image.shape[1], y + 4), bgra(look.mask, shade), 3, cv2.LINE_AA)
    image[inside > 0] = detail[inside > 0]
    cv2.polylines(image, [np.round(shape).astype(np.int32)], True, bgra(look.mask, 0.75), 2, cv2.LINE_AA)


def _portrait(image: Pixels, look: Look, mid: float, top: float, bottom: float) -> None:
    """A printed nose and a printed smile, where others have a plain mask."""
    half, high = HALF_FACE, bottom - top
    for side in (-1, 1):
        spot = (mid + side * half * 0.1, top + high * 0.3)
        ellipse(image, spot, (half * 0.06, half * 0.04), bgra(look.mask, 0.5))
    lips = tuple(float(value) for value in np.array(look.mask) * (0.5, 0.48, 0.85))
    cv2.ellipse(
        image, (round(mid), round(top + high * 0.5)), (round(half * 0.42), round(high * 0.16)), 0, 15, 165, (*lips, 255.0), 9,
        cv2.LINE_AA,
    )  # fmt: skip


def _glasses(image: Pixels, look: Look) -> None:
    (cx, cy), half = FACE_CENTRE, HALF_FACE
    mid = cx + look.yaw * half * 0.32
    for side in (-1, 1):
        ellipse(image, (mid + side * half * 0.4, cy - half * 0.16), (half * 0.28, half * 0.21), (40, 40, 44, 255), 4)
    cv2.line(
        image,
        (round(mid - half * 0.12), round(cy - half * 0.18)),
        (round(mid + half * 0.12), round(cy - half * 0.18)),
        (40, 40, 44, 255),
        4,
        cv2.LINE_AA,
    )


def _lit(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Light from one side, rounder forms, skin and cloth that are not flat."""
    height, width = image.shape[:2]
    across = (np.arange(width) - FACE_CENTRE[0]) / (2.2 * HALF_FACE)
    light = 1 + rng.uniform(-0.22, 0.22) * across - 0.16 * across**2
    grain = cv2.resize(rng.normal(0, 1, (height // 6, width // 6)).astype(np.float32), (width, height))
    shaded = image[..., :3].astype(np.float32) * (light[None, :, None] + 0.03 * grain[..., None])
    soft = cv2.GaussianBlur(np.clip(shaded, 0, 255), (0, 0), 1.6)
    alpha = cv2.GaussianBlur(image[..., 3], (0, 0), 1.2)
    return np.dstack([soft.astype(np.uint8), alpha])
