"""The contact sheet of a model's worst mistakes: crops of the photographs with the true and the said box."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from agent.vision.geometry import Box
from agent.vision.yolo import Pixels
from trainer.mistakes import Kind, Mistake
from trainer.palette import COLOURS, FAINT, INK, PAPER, SAID_BOX, SOFT, TRUE_BOX, bgr, words

MOST = 36
COLUMNS = 6
TILE, CAPTION, GAP, MARGIN, HEADER = 300, 74, 18, 36, 128  # px
CONTEXT = 2.2  # sides of what a mistake is about that a crop shows
FONT = cv2.FONT_HERSHEY_DUPLEX


def draw_sheet(mistakes: Sequence[Mistake], load: Callable[[int], Pixels], title: str, subtitle: str) -> Pixels:
    """The first 36 of `mistakes`, in rows, worst first; BGR. `load` gives the pixels of an image by its place in the split."""
    shown = mistakes[:MOST]
    rows = max(1, -(-len(shown) // COLUMNS))
    wide = 2 * MARGIN + COLUMNS * TILE + (COLUMNS - 1) * GAP
    sheet = np.empty((HEADER + rows * (TILE + CAPTION + GAP) + MARGIN, wide, 3), np.uint8)
    sheet[:] = bgr(PAPER)
    _header(sheet, title, subtitle)
    if not shown:
        _write(
            sheet,
            "Every labelled face was found and named rightly, and nothing else was said.",
            (MARGIN, HEADER + 60),
            0.9,
            SOFT,
        )
    for spot, mistake in enumerate(shown):
        row, column = divmod(spot, COLUMNS)
        left, top = MARGIN + column * (TILE + GAP), HEADER + row * (TILE + CAPTION + GAP)
        sheet[top : top + TILE, left : left + TILE] = tile(load(mistake.image), mistake)
        _caption(sheet, mistake, spot + 1, left, top + TILE)
    return sheet


def tile(pixels: Pixels, mistake: Mistake) -> Pixels:
    """A square crop (300, 300, 3) around what `mistake` is about, with its boxes; grey where the image ends."""
    height, width = pixels.shape[:2]
    window = _window(mistake.boxes, width, height)
    scale = TILE / window.side
    canvas = np.empty((TILE, TILE, 3), np.uint8)
    canvas[:] = bgr(FAINT)
    move = np.array([[scale, 0, -window.left * scale], [0, scale, -window.top * scale]])
    shrunk = pixels if scale >= 1 else cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if scale < 1:
        move[:, :2] = np.eye(2)
    cv2.warpAffine(
        shrunk, move, (TILE, TILE), dst=canvas, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_TRANSPARENT
    )  # fmt: skip
    sides = [(mistake.said, SAID_BOX, 1 if mistake.kind is Kind.MISSED else 3), (mistake.truth, TRUE_BOX, 3)]
    for one, colour, thick in sides:
        if one is not None:
            _frame(canvas, one.box, window, (width, height), colour, thick)
    return canvas


@dataclass(frozen=True, slots=True)
class _Window:
    """A square of an image, in px of it."""

    left: float
    top: float
    side: float

    def place(self, x: float, y: float) -> tuple[int, int]:
        return round((x - self.left) * TILE / self.side), round((y - self.top) * TILE / self.side)


def _window(boxes: Sequence[Box], width: int, height: int) -> _Window:
    x0, y0 = min(box.x0 for box in boxes) * width, min(box.y0 for box in boxes) * height
    x1, y1 = max(box.x1 for box in boxes) * width, max(box.y1 for box in boxes) * height
    about = max(x1 - x0, y1 - y0, 8)
    side = max(about, min(CONTEXT * about, width, height))
    return _Window(_inside((x0 + x1) / 2, side, width), _inside((y0 + y1) / 2, side, height), side)


def _inside(centre: float, side: float, length: int) -> float:
    """Where a window begins, moved so that it shows no more beyond the image than it must."""
    if side >= length:
        return (length - side) / 2
    return min(max(centre - side / 2, 0.0), length - side)


def _frame(canvas: Pixels, box: Box, window: _Window, size: tuple[int, int], colour: str, thick: int) -> None:
    width, height = size
    start, end = window.place(box.x0 * width, box.y0 * height), window.place(box.x1 * width, box.y1 * height)
    cv2.rectangle(canvas, start, end, bgr(PAPER), thick + 2, cv2.LINE_AA)
    cv2.rectangle(canvas, start, end, bgr(colour), thick, cv2.LINE_AA)


def _header(sheet: Pixels, title: str, subtitle: str) -> None:
    _write(sheet, title, (MARGIN, 52), 1.05, INK, 2)
    _write(sheet, subtitle, (MARGIN, 88), 0.62, SOFT)
    right = sheet.shape[1] - MARGIN
    for colour, told in ((SAID_BOX, "what the model said (thin, in brackets: too faintly)"), (TRUE_BOX, "the truth")):
        long = cv2.getTextSize(told, FONT, 0.62, 1)[0][0]
        _write(sheet, told, (right - long, 88), 0.62, INK)
        cv2.rectangle(sheet, (right - long - 32, 72), (right - long - 14, 90), bgr(colour), 3, cv2.LINE_AA)
        right -= long + 64


def _caption(sheet: Pixels, mistake: Mistake, rank: int, left: int, top: int) -> None:
    """Three lines: which and how wrong; the truth; -> what was said and how surely."""
    kind = f"{rank}  {mistake.kind}"
    if mistake.kind is Kind.LOOSE_BOX and mistake.truth and mistake.said:
        kind += f", boxes overlap {mistake.truth.box.iou(mistake.said.box):.0%}"
    if mistake.kind is Kind.MISSED and mistake.truth:
        kind += f", {mistake.truth.share:.0%} of the longer side"
    _write(sheet, kind, (left, top + 21), 0.5, SOFT)
    truth = (words(mistake.truth.label), COLOURS[mistake.truth.label]) if mistake.truth else ("no face labelled", INK)
    _fit(sheet, truth[0], (left, top + 44), truth[1])
    said = mistake.said
    if mistake.kind is Kind.MISSED or said is None:
        thought = f" ({words(said.label)} {said.confidence:.0%})" if said else ""
        _fit(sheet, f"-> nothing{thought}", (left, top + 66), INK)
    else:
        _fit(sheet, f"-> {words(said.label)} {said.confidence:.0%}", (left, top + 66), COLOURS[said.label])


def _write(sheet: Pixels, text: str, at: tuple[int, int], size: float, colour: str, thick: int = 1) -> None:
    cv2.putText(sheet, text, at, FONT, size, bgr(colour), thick, cv2.LINE_AA)


def _fit(sheet: Pixels, text: str, at: tuple[int, int], colour: str) -> None:
    """A caption's line, smaller where it would reach into the next tile."""
    long = cv2.getTextSize(text, FONT, 0.55, 1)[0][0]
    _write(sheet, text, at, 0.55 * min(1.0, TILE / long), colour)
