"""`agent replay`: a clip, or recorded detections, to passes on stdout; nothing is stored or sent."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from agent.vision.camera import Clip
from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection, Detector
from agent.vision.geometry import Box, Line
from agent.vision.pipeline import count_detections
from agent.vision.tracker import Tracker
from contract.errors import ContractError
from contract.labels import LABELS

Looks = Iterator[tuple[list[Detection], float]]


def replay_clip(
    clip: Path, *, model: Path, line: Line, fps: float | None, as_json: bool, out: TextIO, progress: TextIO
) -> None:
    """Every frame of `clip` through the model; `fps` thins the clip out to about that rate."""
    detector = Detector.load(model)
    source = Clip(clip)
    step = max(1, round(source.fps / fps)) if fps else 1

    def looks() -> Looks:
        for index, frame in enumerate(source.frames()):
            if index % step == 0:
                yield detector.detect(frame.pixels), frame.at_s

    _replay(looks(), line, as_json=as_json, out=out, progress=progress)


def replay_detections(
    file: Path, *, line: Line, fps: float | None, as_json: bool, out: TextIO, progress: TextIO
) -> None:
    """Recorded detections; `fps`, where given, spaces the lines evenly instead of their own `at_ms`."""
    _replay(_recorded(file, fps), line, as_json=as_json, out=out, progress=progress)


def _replay(looks: Looks, line: Line, *, as_json: bool, out: TextIO, progress: TextIO) -> None:
    frames, begun = 0, time.monotonic()

    def counted() -> Looks:
        nonlocal frames
        for look in looks:
            frames += 1
            if progress.isatty() and frames % 25 == 0:
                print(f"\r{frames} frames", end="", file=progress, flush=True)
            yield look

    found: list[Crossing] = []
    for crossing in count_detections(counted(), tracker=Tracker(), counter=Counter(line)):
        found.append(crossing)
        print(_line(crossing, as_json), file=out, flush=True)
    if progress.isatty():
        print("\r", end="", file=progress)
    took = time.monotonic() - begun
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
        return json.dumps(
            {
                "at_ms": at_ms,
                "direction": crossing.direction,
                "label": crossing.label,
                "confidence": round(crossing.confidence, 3),
            }
        )
    return (
        f"{at_ms / 1000:8.2f} s  {crossing.direction:3}  {crossing.label.replace('_', ' ')} ({crossing.confidence:.0%})"
    )


def _recorded(file: Path, fps: float | None) -> Looks:
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
        yield found, at_s


def _detection(row: list[float]) -> Detection:
    x0, y0, x1, y1, confidence, index = row
    label = LABELS[int(index)] if index >= 0 else LABELS[len(LABELS)]
    scores = tuple(float(confidence) if one == label else 0.0 for one in LABELS)
    return Detection(Box(float(x0), float(y0), float(x1), float(y1)), label, float(confidence), scores)
