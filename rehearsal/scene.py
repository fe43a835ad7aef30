"""A generated door: drawn people walk past a fixed camera, and every crossing is known exactly."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from rehearsal.people import (
    CANVAS,
    FACE_CENTRE,
    HALF_FACE,
    Pixels,
    View,
    Wear,
    draw_person,
    face_box,
    in_fashion,
    random_look,
)

WIDTH, HEIGHT = 640, 480
Kind = Literal["passage", "entrance"]
LABELS = ("with_mask", "without_mask", "mask_worn_incorrectly")

# The door of each scene as `x0,y0,x1,y1` in the unit square; `in` is to the right of the line from first to second point.
LINES: dict[Kind, tuple[float, float, float, float]] = {
    "passage": (0.5, 1.0, 0.5, 0.0),  # people walk across the picture; left to right is in
    "entrance": (0.0, 0.5, 1.0, 0.5),  # people come towards the camera; downwards is in
}
Box = tuple[float, float, float, float]
Owners = npt.NDArray[np.int16]  # which walker owns each pixel of the finished picture, -1: none
Tone = npt.NDArray[np.float64]

Progress = Callable[[int, int], None]  # frames done, frames in all

INCORRECT: tuple[Wear, ...] = ("nose_out", "nose_out", "under_chin", "one_ear")


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame: corners in pixels and the share of it that nobody hides."""

    box: tuple[float, float, float, float]
    label: str
    visible: float


@dataclass(frozen=True, slots=True)
class TruePass:
    """One person over the line, as drawn."""

    at_ms: int
    direction: Literal["in", "out"]
    label: str


@dataclass(frozen=True, slots=True)
class Walker:
    """One person's walk: `path` is (duration in s, speed in px/s along the walking axis) piece by piece."""

    start_s: float
    origin: float
    lane: float
    half_face: float
    path: tuple[tuple[float, float], ...]
    label: str
    view: View
    sway_phase: float
    sprite: Pixels
    face: tuple[float, float, float, float]

    def along(self, at_s: float) -> float | None:
        """Position along the walking axis in px at `at_s`, or None before and after the walk."""
        left = at_s - self.start_s
        if left < 0:
            return None
        position = self.origin
        for duration, speed in self.path:
            step = min(duration, left)
            position += speed * step
            left -= step
            if left <= 0:
                return position
        return None


class Scene:
    """A door with people, reproducible from its seed: frames with their faces, and the true passes."""

    def __init__(
        self, kind: Kind, *, seed: int, people: int = 20, fps: float = 15.0, gap_s: float = 2.4, fashion: float = 0.0
    ) -> None:  # fmt: skip
        self.kind: Kind = kind
        self._fashion = (
            fashion  # the share of people whose mask, if they have one, is of a season nobody has trained on
        )
        self.fps = fps
        self.line = LINES[kind]
        self._rng = np.random.default_rng([seed, len(kind)])
        self.walkers = self._cast(people, gap_s)
        self._plate = draw_plate(kind, self._rng)
        self._noise = [self._rng.normal(0, 3.2, (HEIGHT, WIDTH, 1)).astype(np.float32) for _ in range(8)]
        ends = [walker.start_s + sum(duration for duration, _ in walker.path) for walker in self.walkers]
        self.frames = round((max(ends) + 1.0) * fps)

    def passes(self) -> list[TruePass]:
        """Every crossing of the line by a person whose face the camera can see, in time order."""
        middle = WIDTH / 2 if self.kind == "passage" else HEIGHT / 2
        found: list[TruePass] = []
        for walker in self.walkers:
            side = 0
            for index in range(self.frames):
                position = walker.along(index / self.fps)
                if position is None or abs(position - middle) < 8:
                    continue
                now = 1 if position > middle else -1
                if side and side != now and walker.view == "face":
                    direction: Literal["in", "out"] = "in" if now > 0 else "out"
                    found.append(TruePass(round(index / self.fps * 1000), direction, walker.label))
                side = now
        return sorted(found, key=lambda one: one.at_ms)

    def render(self, index: int) -> tuple[Pixels, list[Face]]:
        """Frame `index` as uint8 BGR of shape (480, 640, 3), with its faces."""
        at_s = index / self.fps
        canvas = self._plate.copy()
        placed: list[tuple[float, Walker, tuple[float, float, float, float]]] = []
        owner = np.full((HEIGHT, WIDTH), -1, np.int16)
        here = [(self._place(walker, at_s), number, walker) for number, walker in enumerate(self.walkers)]
        visible = sorted((spot[2], number, walker, spot) for spot, number, walker in here if spot)
        for scale, number, walker, spot in visible:
            box = paste(canvas, walker.sprite, walker.face, (spot[0], spot[1]), scale, owner, number)
            placed.append((number, walker, box))
        flicker = 1 + 0.015 * np.sin(at_s * 1.7) + 0.008 * np.sin(at_s * 11)
        noisy = canvas.astype(np.float32) * flicker + np.roll(self._noise[index % 8], index * 37 % WIDTH, axis=1)
        faces = [
            Face(box, walker.label, share)
            for number, walker, box in placed
            if walker.view == "face" and (share := _share(owner, int(number), box)) > 0
        ]
        return np.clip(noisy, 0, 255).astype(np.uint8), faces

    def _place(self, walker: Walker, at_s: float) -> tuple[float, float, float] | None:
        """Centre of the face (x, y) in px and the sprite's scale."""
        along = walker.along(at_s)
        if along is None:
            return None
        sway = np.sin(walker.sway_phase + at_s * 7.5)
        scale = walker.half_face / HALF_FACE
        if self.kind == "passage":
            return along, walker.lane + 2.2 * abs(sway), scale
        grown = scale * (0.55 + 0.75 * max(0.0, along + 80) / HEIGHT)
        return walker.lane + 3 * sway + (walker.lane - WIDTH / 2) * 0.3 * along / HEIGHT, along, grown

    def _cast(self, people: int, gap_s: float) -> tuple[Walker, ...]:
        rng, at_s = self._rng, 0.6
        walkers: list[Walker] = []
        for _ in range(people):
            incoming = rng.random() < 0.5
            back = self.kind == "entrance" and not incoming and rng.random() < 0.6
            incoming = incoming or (self.kind == "entrance" and not back)
            lane = self._free_lane(at_s, walkers) if self.kind == "entrance" else None
            walkers.append(self._walker(at_s, incoming, "back" if back else "face", lane))
            at_s += 0.5 + rng.exponential(gap_s)
        return tuple(walkers)

    def _free_lane(self, at_s: float, walkers: list[Walker]) -> float:
        """Where on the stairs there is most room: people do not walk through each other."""
        near = [walker.lane for walker in walkers if at_s - walker.start_s < 9.0]
        lanes = self._rng.uniform(130, 510, 12)
        return float(max(lanes, key=lambda lane: min([abs(lane - other) for other in near], default=0.0)))

    def _walker(self, at_s: float, incoming: bool, view: View, lane: float | None) -> Walker:
        rng = self._rng
        label = LABELS[rng.choice(3, p=[0.62, 0.24, 0.14])]
        wear: Wear = {"with_mask": "covered", "without_mask": "bare"}.get(label) or INCORRECT[rng.integers(4)]  # type: ignore[assignment]
        look = random_look(rng)
        if self._fashion and rng.random() < self._fashion:
            look = in_fashion(look)
        extent = WIDTH if self.kind == "passage" else HEIGHT
        margin = 120.0
        speed = float(rng.uniform(95, 190) if self.kind == "passage" else rng.uniform(70, 130)) * (
            1 if incoming else -1
        )
        origin = -margin if incoming else extent + margin
        length = (extent + 2 * margin) / abs(speed)
        path: tuple[tuple[float, float], ...] = ((length, speed),)
        habit = rng.random()
        if habit < 0.08:  # stops for a moment
            first = float(rng.uniform(0.3, 0.7)) * length
            path = ((first, speed), (float(rng.uniform(0.5, 2.0)), 0.0), (length - first, speed))
        elif habit < 0.14:  # comes near the line and turns back
            first = (extent / 2 + margin - float(rng.uniform(60, 110))) / abs(speed)
            path = ((first, speed), (0.6, 0.0), (first, -speed))
        depth = float(rng.random())
        half_face = 20 + 16 * depth if self.kind == "passage" else float(rng.uniform(26, 36))
        return Walker(
            start_s=at_s, origin=origin, lane=120 + 150 * depth if lane is None else lane, half_face=half_face, path=path, label=label, view=view,
            sway_phase=float(rng.uniform(0, 6.28)), sprite=draw_person(look, wear, view, rng), face=face_box(look),
        )  # fmt: skip


def write_clip(scene: Scene, path: Path, *, progress: Progress | None = None) -> None:
    """Encode the scene as MPEG-4, with its truth beside it as JSON (`<clip>.truth.json`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), scene.fps, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise OSError(f"cannot write a video to {path}: is the folder writable?")
    seen = []
    for index in range(scene.frames):
        frame, faces = scene.render(index)
        writer.write(frame)
        seen.append([asdict(face) for face in faces])
        if progress:
            progress(index + 1, scene.frames)
    writer.release()
    truth = {
        "kind": scene.kind,
        "line": scene.line,
        "fps": scene.fps,
        "frames": scene.frames,
        "passes": [asdict(one) for one in scene.passes()],
        "faces": seen,  # of each frame
    }
    truth_path(path).write_text(json.dumps(truth) + "\n")


def truth_path(clip: Path) -> Path:
    """Where `write_clip` put the truth of `clip`."""
    return clip.with_suffix(".truth.json")


def write_dataset(
    folder: Path, *, images: int, seed: int, fashion: float = 0.0, progress: Progress | None = None
) -> None:  # fmt: skip
    """Write labelled frames of many scenes as a YOLO data set, for training: no two from one scene are neighbours."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    names = []
    for name, frame, faces in _samples(images, seed, fashion):
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 88])
        rows = [yolo_row(face) for face in faces if face.visible >= 0.55]
        (folder / "labels" / f"{name}.txt").write_text("".join(rows))
        names.append(f"./images/{name}.jpg\n")
        if progress:
            progress(len(names), images)
    (folder / "all.txt").write_text("".join(names))
    describe(folder, "train: all.txt\nval: all.txt")


def describe(folder: Path, splits: str) -> None:
    """Write the `data.yaml` of a data set with our classes; `splits` are its lines `split: list`."""
    listed = "".join(f"  {index}: {label}\n" for index, label in enumerate(LABELS))
    (folder / "data.yaml").write_text(f"path: .\n{splits}\nnames:\n{listed}")


def _samples(images: int, seed: int, fashion: float) -> Iterator[tuple[str, Pixels, list[Face]]]:
    made, number = 0, 0
    while made < images:
        kind: Kind = "passage" if number % 3 else "entrance"
        scene = Scene(kind, seed=seed + number, people=10, gap_s=0.9, fashion=fashion)
        for index in range(12, scene.frames, 24):
            frame, faces = scene.render(index)
            if faces or index % 5 == 0:
                yield f"scene_{seed + number}_{index:04d}", frame, faces
                made += 1
            if made == images:
                return
        number += 1


def yolo_row(face: Face) -> str:
    """The face as a line of a label file: `class x y w h` in the unit square."""
    x0, x1 = (min(max(value / WIDTH, 0.0), 1.0) for value in face.box[::2])
    y0, y1 = (min(max(value / HEIGHT, 0.0), 1.0) for value in face.box[1::2])
    return f"{LABELS.index(face.label)} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}\n"


def paste(
    canvas: Pixels, sprite: Pixels, face: Box, centre: tuple[float, float], scale: float, owner: Owners, number: int
) -> Box:  # fmt: skip
    """Blend one sprite in with its face centre at `centre`, px; `owner` is told which pixels it took.

    `face` is the face in the sprite; returns it in the canvas. Both are corners in px.
    """
    x, y = centre
    small = cv2.resize(sprite, (round(CANVAS[0] * scale), round(CANVAS[1] * scale)), interpolation=cv2.INTER_AREA)
    left, top = x - FACE_CENTRE[0] * scale, y - FACE_CENTRE[1] * scale
    column, row = int(np.floor(left)), int(np.floor(top))
    shift = np.array([[1, 0, left - column], [0, 1, top - row]], np.float32)
    small = cv2.warpAffine(small, shift, (small.shape[1] + 1, small.shape[0] + 1))
    x0, y0 = max(column, 0), max(row, 0)
    x1, y1 = min(column + small.shape[1], WIDTH), min(row + small.shape[0], HEIGHT)
    if x0 < x1 and y0 < y1:
        piece = small[y0 - row : y1 - row, x0 - column : x1 - column]
        alpha = piece[..., 3:].astype(np.float32) / 255
        under = canvas[y0:y1, x0:x1].astype(np.float32)
        canvas[y0:y1, x0:x1] = (piece[..., :3] * alpha + under * (1 - alpha)).astype(np.uint8)
        owner[y0:y1, x0:x1][piece[..., 3] > 127] = number
    fx0, fy0, fx1, fy1 = face
    return left + fx0 * scale, top + fy0 * scale, left + fx1 * scale, top + fy1 * scale


def _share(owner: Owners, number: int, box: tuple[float, float, float, float]) -> float:
    """Share of the face's ellipse that belongs to `number` in the finished picture, the part outside it counting as hidden."""
    x0, y0, x1, y1 = (round(value) for value in box)
    area = np.pi / 4 * max(1, x1 - x0) * max(1, y1 - y0)
    inside = owner[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    return float(min(1.0, np.count_nonzero(inside == number) / area))


def draw_plate(kind: Kind, rng: np.random.Generator) -> Pixels:
    """The door without people: wall, floor, glass doors and notices, or a broad flight of stairs."""
    wall, floor = rng.integers(130, 215, 3).astype(float), rng.integers(70, 140, 3).astype(float)
    rows = np.linspace(1.08, 0.88, HEIGHT)[:, None, None]
    plate = np.clip(np.ones((HEIGHT, WIDTH, 3)) * wall * rows, 0, 255).astype(np.uint8)
    if kind == "passage":
        _hall(plate, wall, floor, rng)
    else:
        _stairs(plate, floor)
    for _ in range(int(rng.integers(1, 5))):
        x = int(rng.integers(10, 560)) if kind == "passage" else int(rng.choice([8, 575]))
        y = int(rng.integers(20, 180))
        cv2.rectangle(
            plate,
            (x, y),
            (x + int(rng.integers(30, 58)), y + int(rng.integers(30, 80))),
            rng.integers(60, 250, 3).tolist(),
            -1,
        )
        for line in range(3):
            cv2.line(plate, (x + 6, y + 8 + line * 7), (x + 24, y + 8 + line * 7), (60, 60, 60), 2)
    grain = cv2.resize(rng.normal(0, 4, (HEIGHT // 4, WIDTH // 4)).astype(np.float32), (WIDTH, HEIGHT))
    noisy: Pixels = np.clip(cv2.GaussianBlur(plate, (0, 0), 1.1) + grain[..., None], 0, 255).astype(np.uint8)
    return noisy


def _hall(plate: Pixels, wall: Tone, floor: Tone, rng: np.random.Generator) -> None:
    horizon = 330
    plate[horizon:] = np.clip(floor * np.linspace(0.75, 1.15, HEIGHT - horizon)[:, None, None], 0, 255)
    for x in range(-WIDTH, 2 * WIDTH, 90):
        cv2.line(
            plate, (WIDTH // 2 + (x - WIDTH // 2) // 3, horizon), (x, HEIGHT), (floor * 0.85).tolist(), 1, cv2.LINE_AA
        )
    for left, right in ((60, 190), (270, 400), (480, 600)):
        if rng.random() < 0.6:
            cv2.rectangle(plate, (left, 40), (right, horizon), (wall * 0.55).tolist(), -1)
            glass = np.clip(wall * rng.uniform(0.8, 1.35), 0, 255).tolist()
            cv2.rectangle(plate, (left + 9, 50), (right - 9, horizon), glass, -1)
            cv2.line(plate, ((left + right) // 2, 50), ((left + right) // 2, horizon), (wall * 0.5).tolist(), 5)


def _stairs(plate: Pixels, floor: Tone) -> None:
    y, step = 0.0, 9.0
    while y < HEIGHT:
        left, right = int(80 - y * 0.17), int(WIDTH - 80 + y * 0.17)
        cv2.rectangle(plate, (left, int(y)), (right, int(y + step)), (floor * 1.25).tolist(), -1)
        cv2.rectangle(plate, (left, int(y + step * 0.62)), (right, int(y + step)), (floor * 0.8).tolist(), -1)
        y, step = y + step, step * 1.09
