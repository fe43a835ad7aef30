"""`agent replay`: a clip, or recorded detections, to passes on stdout; nothing is stored or sent."""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any, TextIO, TypeVar

from agent import clock
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from agent.vision.camera import Clip
from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection, Detector
from agent.vision.doorway import Doorway
from agent.vision.frame import Frame
from agent.vision.geometry import Box
from agent.vision.pipeline import Look, count_detections, crossings
from agent.vision.tracker import Tracker
from contract.errors import ContractError
from contract.labels import LABELS

T = TypeVar("T")

CROPS = Plan(budget=20, control_share=0.5, window_s=1e9)  # of a whole clip


def replay_clip(
    clip: Path, *, model: Path, doorway: Doorway, fps: float | None, as_json: bool, out: TextIO, progress: TextIO,
    crops: Path | None = None,
) -> None:  # fmt: skip
    """Every frame of `clip` through the model; `fps` thins the clip out to about that rate.

    `crops` is a folder, made if missing, for the crops that a door would have sent: JPEG and header side by side.
    """
    detector = Detector.load(model)
    source = Clip(clip)
    step = max(1, round(source.fps / fps)) if fps else 1

    def frames() -> Iterator[Frame]:
        for index, frame in enumerate(source.frames()):
            if index % step == 0:
                yield frame

    streams = Streams(Random("control"), Random("priority"), Random("near miss"))  # noqa: S311 - the same at every replay
    gleaner = Gleaner("replay", CROPS, streams, now=clock.now, resolution_s=3600) if crops else None
    tally = _Tally(frames(), progress)
    found = crossings(
        tally, eyes=detector, tracker=Tracker(doorway.zone), counter=Counter(*doorway.lines), witness=gleaner
    )
    _replay(found, tally, as_json=as_json, out=out)
    if gleaner and crops:
        _write(gleaner, crops)


def replay_detections(
    file: Path, *, doorway: Doorway, fps: float | None, as_json: bool, out: TextIO, progress: TextIO
) -> None:
    """Recorded detections; `fps`, where given, spaces the lines evenly instead of their own `at_ms`."""
    tally = _Tally(_recorded(file, fps), progress)
    found = count_detections(tally, tracker=Tracker(doorway.zone), counter=Counter(*doorway.lines))
    _replay(found, tally, as_json=as_json, out=out)


class _Tally(Iterable[T]):
    """Counts what goes through, and says so on a terminal."""

    def __init__(self, things: Iterable[T], progress: TextIO) -> None:
        self.number = 0
        self._things = things
        self._progress = progress

    def __iter__(self) -> Iterator[T]:
        told = self._progress.isatty()
        for thing in self._things:
            self.number += 1
            if told and self.number % 25 == 0:
                print(f"\r{self.number} frames", end="", file=self._progress, flush=True)
            yield thing
        if told:
            print("\r", end="", file=self._progress)


def _write(gleaner: Gleaner, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, crop in enumerate(gleaner.harvest(CROPS.budget)):
            name = f"{number:03}-{crop.header.role}"
            (folder / f"{name}.jpg").write_bytes(crop.jpeg)
            (folder / f"{name}.json").write_bytes(crop.header.encode() + b"\n")
    except OSError as error:
        raise ContractError(f"cannot write the crops into {folder}: {error.strerror}") from error


def _replay(crossings: Iterable[Crossing], tally: _Tally[Any], *, as_json: bool, out: TextIO) -> None:
    begun = time.monotonic()
    found: list[Crossing] = []
    for crossing in crossings:
        found.append(crossing)
        print(_line(crossing, as_json), file=out, flush=True)
    took, frames = time.monotonic() - begun, tally.number
    summary: dict[str, Any] = {
        "in": sum(one.direction == "in" for one in found),
        "out": sum(one.direction == "out" for one in found),
        "by_label": {str(label): sum(one.label == label for one in found) for label in LABELS},
        "frames": frames,
        "fps": round(frames / took, 1) if took else 0.0,
    }
    if as_json:
        print(json.dumps({"summary": summary}), file=out)
        return
    labels = ", ".join(f"{label.replace('_', ' ')} {number}" for label, number in summary["by_label"].items())
    print(f"in {summary['in']}, out {summary['out']}; {labels}; {frames} frames at {summary['fps']} a second", file=out)


def _line(crossing: Crossing, as_json: bool) -> str:
    at_ms = round(crossing.at_s * 1000)
    if as_json:
        row = {
            "at_ms": at_ms,
            "direction": crossing.direction,
            "label": crossing.label,
            "confidence": round(crossing.confidence, 3),
        }
        return json.dumps(row | ({"line": crossing.line} if crossing.line else {}))
    where = f"  at {crossing.line}" if crossing.line else ""
    label = crossing.label.replace("_", " ")
    return f"{at_ms / 1000:8.2f} s  {crossing.direction:3}  {label} ({crossing.confidence:.0%}){where}"


def _recorded(file: Path, fps: float | None) -> Iterator[Look]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"cannot read the detections {file}: {error}") from error
    last = float("-inf")
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
            at_s = (number - 1) / fps if fps else float(row["at_ms"]) / 1000
            found = [_detection(box) for box in row["boxes"]]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ContractError(
                f'{file}, line {number}: expected {{"at_ms": t, "boxes": [[x0, y0, x1, y1, confidence, class], ...]}} ({error})'
            ) from error
        if at_s <= last:
            raise ContractError(
                f"{file}, line {number}: time must grow, but {at_s * 1000:g} ms follows {last * 1000:g} ms"
            )
        last = at_s
        yield Look(found, at_s)


def _detection(row: list[float]) -> Detection:
    x0, y0, x1, y1, confidence, index = row
    label = LABELS[int(index)] if index >= 0 else LABELS[len(LABELS)]
    scores = tuple(float(confidence) if one == label else 0.0 for one in LABELS)
    return Detection(Box(float(x0), float(y0), float(x1), float(y1)), label, float(confidence), scores)
