"""Drawn frames with a known number of faces at every moment, to and fro over the line."""

from dataclasses import replace

from agent.vision.yolo import Pixels
from rehearsal.scene import WIDTH, Face, Scene

VISIBLE = 0.9  # of a face that counts as there


def with_faces(faces: int, wanted: int, *, seed: int = 500) -> list[Pixels]:
    """`wanted` frames, uint8 BGR (480, 640, 3) at 15 a second, with so many faces in each, none hidden or cut, by their truth.

    Raises ValueError where so many do not fit.
    """
    scene = Scene("passage", seed=seed, people=faces)
    room = WIDTH / (faces + 1)
    scene.walkers = tuple(
        replace(
            walker, start_s=0.0, origin=room * (place + 0.5), lane=150.0 + 20 * (place % 2), view="face",
            half_face=min(walker.half_face, 28.0), path=((4.0, room / 4), (4.0, -room / 4)) * 1000,
        )
        for place, walker in enumerate(scene.walkers)
    )  # fmt: skip
    found: list[Pixels] = []
    for index in range(1, wanted + 1):
        pixels, seen = scene.render(index)
        if len(seen) != faces or not all(map(_whole, seen)):
            raise ValueError(f"{faces} faces do not fit side by side")
        found.append(pixels)
    return found


def _whole(face: Face) -> bool:
    return face.visible >= VISIBLE and face.box[0] >= 0 and face.box[2] <= WIDTH
