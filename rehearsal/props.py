"""What hides or mocks a mask, drawn over a face: a hand, a beard, a scarf, a visor, a cup."""

import cv2
import numpy as np

from rehearsal.people import FACE_CENTRE, HALF_FACE, Colour, Look, Pixels, Prop, bgra, ellipse, fill

_HALF = HALF_FACE


def hand(side: int) -> Prop:
    """A hand that comes from `side` (-1 or 1) and lies over the mouth."""

    def draw(image: Pixels, look: Look) -> None:
        mid, cy = _middle(look), FACE_CENTRE[1]
        _arm(image, look, side, (mid + side * _HALF * 0.75, cy + _HALF * 1.05))
        _palm(image, look, (mid + side * _HALF * 0.42, cy + _HALF * 0.78), side)
        for number in range(4):
            root = (mid + side * _HALF * 0.3, cy + _HALF * (0.48 + 0.19 * number))
            tip = (mid - side * _HALF * (0.52, 0.6, 0.56, 0.4)[number], cy + _HALF * (0.46 + 0.2 * number))
            _finger(image, look, root, tip)
        _finger(
            image, look, (mid + side * _HALF * 0.55, cy + _HALF * 0.7), (mid + side * _HALF * 0.5, cy + _HALF * 0.12)
        )

    return draw


def cup(side: int, paper: Colour) -> Prop:
    """A paper cup at the lips, tilted, held by a hand from `side`."""

    def draw(image: Pixels, look: Look) -> None:
        mid, cy = _middle(look), FACE_CENTRE[1]
        _arm(image, look, side, (mid + side * _HALF * 0.62, cy + _HALF * 1.5))
        lean = -side * _HALF * 0.12
        body = [
            (mid - _HALF * 0.46, cy + _HALF * 0.5), (mid + _HALF * 0.46, cy + _HALF * 0.5),
            (mid + _HALF * 0.36 + lean, cy + _HALF * 1.75), (mid - _HALF * 0.36 + lean, cy + _HALF * 1.75),
        ]  # fmt: skip
        _palm(image, look, (mid + side * _HALF * 0.5, cy + _HALF * 1.25), side)
        fill(image, body, bgra(paper))
        band = [_between(body[0], body[3], 0.35), _between(body[1], body[2], 0.35),
                _between(body[1], body[2], 0.75), _between(body[0], body[3], 0.75)]  # fmt: skip
        fill(image, band, bgra(paper, 0.62))
        ellipse(image, (mid, cy + _HALF * 0.5), (_HALF * 0.48, _HALF * 0.1), bgra(paper, 0.9))
        ellipse(image, (mid, cy + _HALF * 0.5), (_HALF * 0.48, _HALF * 0.1), bgra(paper, 0.7), 3)
        for number in range(3):
            at = cy + _HALF * (1.0 + 0.2 * number)
            _finger(image, look, (mid + side * _HALF * 0.5, at + _HALF * 0.05), (mid - side * _HALF * 0.2, at))

    return draw


def beard(image: Pixels, look: Look) -> None:
    """A full beard with a moustache: nearly as dark and as wide as a mask, but with lips in it."""
    (cx, cy), mid, wide = FACE_CENTRE, _middle(look), _HALF * look.slim
    hair = np.zeros_like(image)
    ellipse(hair, (cx, cy + _HALF * 0.5), (wide * 0.99, _HALF * 1.05), bgra(look.hair))
    for side in (-1, 1):  # cheeks
        ellipse(hair, (mid + side * _HALF * 0.36, cy + _HALF * 0.08), (_HALF * 0.5, _HALF * 0.42), (0, 0, 0, 0))
    hair[: round(cy + _HALF * 0.1)] = 0
    ellipse(hair, (mid, cy + _HALF * 0.56), (_HALF * 0.42, _HALF * 0.1), bgra(look.hair, 0.9))
    ellipse(hair, (mid, cy + _HALF * 0.28), (_HALF * 0.22, _HALF * 0.2), (0, 0, 0, 0))  # the nose
    ellipse(hair, (mid, cy + _HALF * 0.72), (_HALF * 0.28, _HALF * 0.09), (0, 0, 0, 0))  # the lips
    image[hair[..., 3] > 0] = hair[hair[..., 3] > 0]
    strand = tuple(int(value) for value in bgra(look.hair, 1.5 if max(look.hair) < 120 else 0.75))
    for number in range(-9, 10):
        top = (round(cx + number * wide * 0.1), round(cy + _HALF * (1.12 - 0.004 * number * number)))
        if hair[top[1], top[0], 3]:
            cv2.line(image, top, (round(top[0] - number * 0.6), top[1] + 18), strand, 2, cv2.LINE_AA)


def scarf(cloth: Colour, *, striped: bool) -> Prop:
    """A scarf wound over mouth and nose and around the neck, with an end that hangs down."""

    def draw(image: Pixels, look: Look) -> None:
        (cx, cy), mid, wide = FACE_CENTRE, _middle(look), _HALF * look.slim
        shape = [
            (cx - wide * 1.14, cy + _HALF * 0.2), (mid - _HALF * 0.4, cy + _HALF * 0.14), (mid, cy + _HALF * 0.04),
            (mid + _HALF * 0.4, cy + _HALF * 0.14), (cx + wide * 1.14, cy + _HALF * 0.2),
            (cx + wide * 1.32, cy + _HALF * 1.3), (cx + wide * 1.15, cy + _HALF * 2.15), (cx, cy + _HALF * 2.4),
            (cx - wide * 1.15, cy + _HALF * 2.15), (cx - wide * 1.32, cy + _HALF * 1.3),
        ]  # fmt: skip
        end = [(cx + _HALF * 0.3, cy + _HALF * 2.0), (cx + _HALF * 1.0, cy + _HALF * 1.9),
               (cx + _HALF * 1.05, cy + _HALF * 4.4), (cx + _HALF * 0.4, cy + _HALF * 4.5)]  # fmt: skip
        detail = image.copy()
        for outline in (end, shape):
            fill(detail, outline, bgra(cloth))
        for number in range(7):  # folds that sag
            at = round(cy + _HALF * (0.2 + 0.32 * number))
            sag = round(_HALF * (0.1 + 0.06 * number))
            shade = bgra(cloth, 1.45 if striped and number % 2 else 0.72)
            thick = 13 if striped and number % 2 else 6
            cv2.ellipse(detail, (cx, at), (round(wide * 1.4), sag), 0, 0, 180, shade, thick, cv2.LINE_AA)
        for number in range(5):
            x = round(cx + _HALF * (0.42 + 0.14 * number))
            foot = round(cy + _HALF * 4.45)
            cv2.line(detail, (x, foot), (x, foot + 22), bgra(cloth, 0.85), 5, cv2.LINE_AA)  # the fringe
        inside = np.zeros(image.shape[:2], np.uint8)
        for outline in (end, shape):
            cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], (255,))
        inside[round(cy + _HALF * 4.4) :] = 255
        taken = (inside > 0) & (detail[..., 3] > 0)
        image[taken] = detail[taken]

    return draw


def visor(image: Pixels, look: Look) -> None:
    """A clear shield from a band at the forehead to under the chin: everything shows through it."""
    (cx, cy), wide = FACE_CENTRE, _HALF * look.slim
    shift = look.yaw * _HALF * 0.15
    outline = [
        (cx - wide * 1.12, cy - _HALF * 0.72), (cx + wide * 1.12, cy - _HALF * 0.72),
        (cx + shift + wide * 1.2, cy + _HALF * 0.5), (cx + shift + wide * 0.95, cy + _HALF * 1.62),
        (cx + shift, cy + _HALF * 1.75), (cx + shift - wide * 0.95, cy + _HALF * 1.62),
        (cx + shift - wide * 1.2, cy + _HALF * 0.5),
    ]  # fmt: skip
    _through(image, outline, (250, 246, 238), 0.16)
    for left, right, share in ((-0.85, -0.6, 0.38), (-0.48, -0.4, 0.3), (0.66, 0.74, 0.3)):  # what it mirrors
        glint = [
            (cx + wide * left, cy - _HALF * 0.6), (cx + wide * right, cy - _HALF * 0.6),
            (cx + shift + wide * (right - 0.08), cy + _HALF * 1.4), (cx + shift + wide * (left - 0.08), cy + _HALF * 1.3),
        ]  # fmt: skip
        _through(image, glint, (255, 255, 255), share)
    cv2.polylines(image, [np.round(outline).astype(np.int32)], True, (225, 220, 210, 255), 3, cv2.LINE_AA)
    band = [(cx - wide * 1.12, cy - _HALF * 0.9), (cx + wide * 1.12, cy - _HALF * 0.9),
            (cx + wide * 1.13, cy - _HALF * 0.66), (cx - wide * 1.13, cy - _HALF * 0.66)]  # fmt: skip
    fill(image, band, (205, 165, 110, 255))


def _middle(look: Look) -> float:
    return FACE_CENTRE[0] + look.yaw * _HALF * 0.32


def _between(one: tuple[float, float], other: tuple[float, float], share: float) -> tuple[float, float]:
    return one[0] + (other[0] - one[0]) * share, one[1] + (other[1] - one[1]) * share


def _arm(image: Pixels, look: Look, side: int, wrist: tuple[float, float]) -> None:
    """A sleeve from the elbow, and the bare wrist."""
    (cx, cy), half = FACE_CENTRE, _HALF
    elbow = (cx + side * half * 1.75, cy + half * 4.3)
    cuff = _between(elbow, wrist, 0.72)
    cv2.line(image, _pixel(elbow), _pixel(wrist), bgra(look.skin, 0.86), round(half * 0.5), cv2.LINE_AA)
    cv2.line(image, _pixel(elbow), _pixel(cuff), bgra(look.shirt, 0.72), round(half * 0.86), cv2.LINE_AA)
    cv2.line(image, _pixel(elbow), _pixel(cuff), bgra(look.shirt, 0.9), round(half * 0.74), cv2.LINE_AA)


def _palm(image: Pixels, look: Look, centre: tuple[float, float], side: int) -> None:
    spot, axes = _pixel(centre), (round(_HALF * 0.42), round(_HALF * 0.5))
    cv2.ellipse(image, spot, axes, side * 20, 0, 360, bgra(look.skin, 0.93), -1, cv2.LINE_AA)
    cv2.ellipse(image, spot, axes, side * 20, 0, 360, bgra(look.skin, 0.66), 2, cv2.LINE_AA)


def _finger(image: Pixels, look: Look, root: tuple[float, float], tip: tuple[float, float]) -> None:
    for shade, width in ((0.62, 0.25), (0.95, 0.19)):
        cv2.line(image, _pixel(root), _pixel(tip), bgra(look.skin, shade), round(_HALF * width), cv2.LINE_AA)
    ellipse(image, _between(root, tip, 0.98), (_HALF * 0.05, _HALF * 0.05), bgra(look.skin, 1.12))


def _through(image: Pixels, outline: list[tuple[float, float]], colour: Colour, share: float) -> None:
    """Lay a half-clear polygon over what is drawn; outside the person it is opaque enough to be seen."""
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], (255,))
    drawn = (inside > 0) & (image[..., 3] > 0)
    image[drawn, :3] = ((1 - share) * image[drawn, :3] + share * np.array(colour)).astype(np.uint8)
    beside = (inside > 0) & (image[..., 3] == 0)
    image[beside] = (*colour, round(255 * share))


def _pixel(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])
