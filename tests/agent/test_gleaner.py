"""Crops out of a running pipeline: counting does not notice, nobody's eyes matter, and the header tells where it lay."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from random import Random

import cv2
import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from agent.learning.witness import CANDIDATES, CUTS_A_FRAME, Witness
from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection, Detector, Faces
from agent.vision.frame import Frame
from agent.vision.geometry import Box, Line
from agent.vision.pipeline import crossings
from agent.vision.tracker import Tracker
from agent.vision.yolo import Pixels
from cloud.ingest.jpeg import require_plain_jpeg
from contract.crops import CROP_LIMIT, Crop, Role
from contract.errors import ContractError
from contract.fleet import SamplingPlan
from contract.labels import LABELS, Label
from contract.release import Manifest
from rehearsal.scene import LINES, Scene
from tests.agent.told import MANIFEST, Told

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LINE = Line.of(*LINES["passage"])
Notes = list[tuple[list[Detection], list[Detection]]]


@dataclass
class Recorded:
    """Eyes that say what they are told, frame by frame: (detected, faint)."""

    notes: Notes
    manifest: Manifest = MANIFEST
    changes: dict[int, str] = field(default_factory=dict)  # the model's digest from this frame on
    index: int = -1

    def look(self, pixels: Pixels) -> Faces:
        self.index += 1
        if self.index in self.changes:
            self.manifest = self.manifest.model_copy(update={"digest": self.changes[self.index]})
        return Told(*self.notes[self.index], self.manifest)


@cache
def scene() -> tuple[tuple[Frame, ...], Notes]:
    """Eight drawn people, and what the factory model says of them."""
    drawn = Scene("passage", seed=81, people=8, gap_s=0.9)
    frames = tuple(Frame(drawn.render(index)[0], index / drawn.fps) for index in range(drawn.frames))
    detector = Detector.load(FACTORY_MODEL)
    faces = [detector.look(frame.pixels) for frame in frames]
    return frames, [(one.found, one.faint()) for one in faces]


def gleaner(plan: Plan | None = None, seed: str = "1") -> Gleaner:
    streams = Streams(*(Random(seed + role) for role in ("control", "priority", "near miss")))
    plan = plan or Plan(12, control_share=0.5, window_s=1e6)
    return Gleaner("door-1", plan, streams, now=lambda: NOW, resolution_s=60)


def play(frames: Iterable[Frame], eyes: Recorded | Detector, witness: Gleaner | None) -> list[Crossing]:
    return list(crossings(frames, eyes=eyes, tracker=Tracker(), counter=Counter(LINE), witness=witness))


def glean(frames: Iterable[Frame], notes: Notes, plan: Plan | None = None, seed: str = "1") -> list[Crop]:
    eyes = Recorded(notes)
    one = gleaner(plan, seed)
    play(frames, eyes, one)
    return one.harvest(1000)


def test_counting_is_the_same_with_and_without_a_witness() -> None:
    frames, _ = scene()
    without = play(frames, Detector.load(FACTORY_MODEL), None)
    eyes = Detector.load(FACTORY_MODEL)
    watched = play(frames, eyes, gleaner())
    assert watched == without
    assert len(without) >= 5


def test_every_pass_may_become_one_crop_and_every_crop_is_one_that_the_cloud_takes() -> None:
    frames, notes = scene()
    eyes = Recorded(notes)
    one = gleaner(Plan(30, control_share=1.0, window_s=1e6))
    passes = {crossing.track for crossing in play(frames, eyes, one)}
    crops = one.harvest(1000)
    assert len(crops) == len(passes)
    assert one.harvest() == []
    for crop in crops:
        assert len(crop.encode()) < CROP_LIMIT
        assert Crop.decode(crop.encode(), device="door-1") == crop
        require_plain_jpeg(crop.jpeg)
        assert crop.header.window_passes == len(passes)
        assert crop.header.model_digest == MANIFEST.digest
        assert crop.header.at == NOW.replace(second=0)
    first = {one.track: one.label for one in reversed(play(frames, Recorded(notes), None))}
    assert sorted(str(crop.header.label) for crop in crops) == sorted(map(str, first.values()))


def test_the_header_leads_back_to_a_raw_detection_of_the_frame() -> None:
    frames, notes = scene()
    raw = [one.box for found, faint in notes for one in [*found, *faint]]
    for crop in glean(frames, notes, Plan(30, control_share=0.5, window_s=1e6)):
        picture = require_plain_jpeg(crop.jpeg)
        (left, top), scale = crop.header.origin, crop.header.scale
        x0, y0, x1, y1 = crop.header.box
        found = np.array([left + x0 * picture.width / scale, top + y0 * picture.height / scale,
                          left + x1 * picture.width / scale, top + y1 * picture.height / scale])  # fmt: skip
        truth = np.array([[one.x0 * 640, one.y0 * 480, one.x1 * 640, one.y1 * 480] for one in raw])
        assert np.abs(truth - found).max(axis=1).min() < 1


def test_what_is_in_the_eye_bands_changes_no_byte_of_any_crop() -> None:
    """[privacy] From the frame to the chosen crops: which passes, which frames and which bytes."""
    frames, notes = scene()
    rng = np.random.default_rng(3)

    def scribbled() -> Iterator[Frame]:
        for frame, (found, _) in zip(frames, notes, strict=True):
            pixels = frame.pixels.copy()
            for one in found:
                left, right = round(one.box.x0 * 640), round(one.box.x1 * 640)
                top = round((one.box.y0 + 0.10 * one.box.height) * 480)
                bottom = round((one.box.y0 + 0.50 * one.box.height) * 480)
                pixels[top:bottom, left:right] = rng.integers(0, 256, pixels[top:bottom, left:right].shape)
            yield Frame(pixels, frame.at_s)

    before, after = glean(frames, notes), glean(scribbled(), notes)
    assert [(one.header.role, one.jpeg) for one in before] == [(one.header.role, one.jpeg) for one in after]
    assert before


@pytest.mark.parametrize("budget", [0, 1, 3, 50])
def test_a_window_never_sends_more_than_its_budget(budget: int) -> None:
    frames, notes = scene()
    crops = glean(frames, notes, Plan(budget, control_share=0.5, window_s=1e6))
    assert len(crops) <= budget
    assert bool(crops) == bool(budget)


def test_windows_turn_as_time_passes_and_each_keeps_the_budget() -> None:
    frames, notes = scene()
    crops = glean(frames, notes, Plan(2, control_share=0.5, window_s=2))
    windows = [one.header.window for one in crops]
    assert len(set(windows)) > 1
    assert max(windows.count(name) for name in windows) <= 2


def test_control_crops_do_not_depend_on_the_scores() -> None:
    frames, notes = scene()
    flat = [
        ([replace(one, scores=(0.34, 0.33, 0.33), label=LABELS[0]) for one in found], faint) for found, faint in notes
    ]
    plan = Plan(4, control_share=0.5, window_s=1e6)
    first, second = (
        [one.jpeg for one in glean(frames, one, plan) if one.header.role is Role.CONTROL] for one in (notes, flat)
    )
    assert first == second
    assert len(first) == 2


def test_the_clouds_plan_holds_from_the_next_window_on() -> None:
    frames, notes = scene()
    eyes = Recorded(notes)
    one = gleaner(Plan(6, control_share=0.5, window_s=1e6))
    one.set_plan(SamplingPlan(window_s=10, budget=1))
    play(frames, eyes, one)
    crops = one.harvest(1000)
    per_window = [sum(crop.header.window == name for crop in crops) for name in {crop.header.window for crop in crops}]
    assert max(per_window) == 1
    one.set_plan(None)


def test_a_pass_seen_by_two_models_is_told_by_the_second_alone() -> None:
    frames, notes = scene()
    middle = next(index for index in range(len(notes) * 3 // 5, len(notes)) if notes[index][0])
    eyes = Recorded(notes, changes={middle: "b" * 64})
    one = gleaner(Plan(30, control_share=1.0, window_s=1e6))
    passes = {crossing.track for crossing in play(frames, eyes, one)}
    crops = one.harvest(1000)
    told = [crop.header.model_digest for crop in crops]
    assert set(told) == {MANIFEST.digest, "b" * 64}
    assert len(crops) + one.pictureless <= len(passes)
    later = {crop.jpeg for crop in crops if crop.header.model_digest == "b" * 64}
    assert later.isdisjoint(crop.jpeg for crop in _first_half(frames[:middle], notes[:middle]))


def _first_half(frames: tuple[Frame, ...], notes: Notes) -> list[Crop]:
    return glean(frames, notes, Plan(30, control_share=1.0, window_s=1e6))


def drawn_face(x: float, y: float, confidence: float, scores: tuple[float, float, float] | None = None) -> Detection:
    scores = scores or (confidence, 0.02, 0.01)
    return Detection(Box(x - 0.05, y - 0.07, x + 0.05, y + 0.07), Label.WITH_MASK, confidence, scores)


def noise(number: int) -> list[Frame]:
    rng = np.random.default_rng(9)
    pixels = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return [Frame(np.roll(pixels, index, axis=1), index / 15) for index in range(number)]


def test_something_faint_that_stays_for_a_while_is_a_near_miss() -> None:
    notes: Notes = [([], [drawn_face(0.3, 0.5, 0.2)] if 10 < index < 30 else []) for index in range(60)]
    (crop,) = glean(noise(60), notes)
    assert crop.header.role is Role.NEAR_MISS
    assert crop.header.weight is None
    assert crop.header.window_passes == 0


def test_something_faint_near_a_detected_face_or_for_a_moment_is_none() -> None:
    near: Notes = [([drawn_face(0.3, 0.5, 0.9)], [drawn_face(0.34, 0.5, 0.2)]) for _ in range(60)]
    moment: Notes = [([], [drawn_face(0.3, 0.5, 0.2)] if 10 < index < 14 else []) for index in range(60)]
    assert glean(noise(60), near) == glean(noise(60), moment) == []


def test_crops_are_cut_from_the_larger_picture_where_a_camera_gives_two() -> None:
    frames, notes = scene()
    both = [Frame(cv2.resize(one.pixels, (320, 240)), one.at_s, larger=one.pixels) for one in frames]  # type: ignore[arg-type]
    only, larger = glean(frames, notes), glean(both, notes)
    assert larger
    assert [crop.jpeg for crop in larger] == [crop.jpeg for crop in only]
    assert {crop.header.frame_size for crop in larger} == {(640, 480)}
    assert {crop.header.frame_size for crop in glean([Frame(one.pixels, one.at_s) for one in both], notes)} == {
        (320, 240)
    }


def test_a_frame_too_large_to_cut_is_counted_and_gives_no_crop() -> None:
    frames, notes = scene()
    wide = [Frame(np.zeros((8, 5000, 3), np.uint8), frame.at_s) for frame in frames]
    eyes = Recorded(notes)
    one = gleaner()
    assert play(wide, eyes, one) == play(frames, Recorded(notes), None)
    assert one.harvest() == []
    assert one.pictureless > 0


def test_one_who_stands_at_the_door_for_minutes_costs_a_handful_of_pictures() -> None:
    witness, tracker = Witness(), Tracker()
    rng = np.random.default_rng(4)
    frame = noise(1)[0]
    pictures = 0
    for index in range(1800):
        best, second = 0.5 + 0.1 * rng.random(), 0.5 * rng.random()
        found = [drawn_face(0.3 + 0.1 * number, 0.5, best, (best, second, 0.0)) for number in range(5)]
        seen, _ = tracker.update(found, index / 15)
        before = {id(one) for case in witness._cases.values() for one in [*case.candidates, case.doubtful] if one}
        list(witness.see(Frame(frame.pixels, index / 15), found, seen, manifest=MANIFEST, faint=list))
        after = {id(one) for case in witness._cases.values() for one in [*case.candidates, case.doubtful] if one}
        assert len(after - before) <= CUTS_A_FRAME
        pictures += len(after - before)
        assert all(len(case.candidates) < CANDIDATES for case in witness._cases.values())
    assert pictures <= 5 * 60


def test_faint_detections_lie_below_the_threshold_and_are_no_detected_face() -> None:
    _, notes = scene()
    faint = [one for _, unsure in notes for one in unsure]
    assert faint
    for found, unsure in notes:
        for one in unsure:
            assert 0.05 <= one.confidence < MANIFEST.thresholds[one.label] + 1e-6
            assert all(one.box.iou(other.box) <= 0.6 for other in found)


def test_a_plan_that_makes_no_sample_is_refused() -> None:
    with pytest.raises(ContractError):
        gleaner(Plan(5, control_share=0.1))


def test_the_scores_of_a_crop_are_of_the_frame_it_shows() -> None:
    frames, notes = scene()
    said = {tuple(round(score, 4) for score in one.scores) for found, faint in notes for one in [*found, *faint]}
    crops = glean(frames, notes)
    assert {crop.header.scores for crop in crops} <= said
    assert json.loads(crops[0].header.encode())["device"] == "door-1"
    assert cv2.imdecode(np.frombuffer(crops[0].jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
