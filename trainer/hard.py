"""What a model makes of the cases that fool it, case by case: a hand over the mouth, a printed mask, a face on a wall."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.vision.geometry import Box
from contract.labels import Label

SAME = 0.5  # IoU from which a detection is this face


class Case(StrEnum):
    """Why a face is hard; the text is what a `cases.csv` says."""

    HAND = "hand"  # over the mouth: no mask
    BEARD = "beard"
    SCARF = "scarf"  # over mouth and nose: no mask
    VISOR = "visor"  # alone: no mask
    PRINTED_MASK = "printed_mask"  # a nose and a mouth are printed on it: a mask
    SKIN_MASK = "skin_mask"  # of the face's own colour
    BACK_LIGHT = "back_light"
    POSTER_MASKED = "poster_masked"  # a printed face on a wall is nobody
    POSTER_BARE = "poster_bare"
    CHIN_MASK = "chin_mask"  # nose and mouth free
    ONE_EAR = "one_ear"
    CUP = "cup"  # drinking


POSTERS = (Case.POSTER_MASKED, Case.POSTER_BARE)


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture of a case: its labelled faces, and what a file said at its thresholds, surest first."""

    case: Case
    truth: Sequence[tuple[Box, Label]]
    said: Sequence[tuple[Box, Label]]


@dataclass(frozen=True, slots=True)
class Tally:
    """One file on one case. Of posters, `faces` counts pictures, `found` those with a decision, `right` those without."""

    case: Case
    faces: int
    found: int  # at IoU .5, whatever the label
    right: int  # found, and their label was said
    said: Mapping[Label, int]  # what the found ones were said to be that were not right


def tally(pictures: Iterable[Seen]) -> tuple[Tally, ...]:
    """Count case by case, in the order of `Case`; a case without a picture is left out."""
    by_case: dict[Case, list[Seen]] = {}
    for one in pictures:
        by_case.setdefault(one.case, []).append(one)
    return tuple(_count(case, by_case[case]) for case in Case if case in by_case)


def share_right(tallies: Sequence[Tally]) -> float:
    """Over all cases, 0..1; without a face 0."""
    faces = sum(one.faces for one in tallies)
    return sum(one.right for one in tallies) / faces if faces else 0.0


def as_json(tallies: Sequence[Tally]) -> dict[str, Any]:
    """The shape that a manifest keeps and `trainer hard --json` prints: the share said right, and counts by case."""
    cases = {
        one.case.value: {
            "faces": one.faces, "found": one.found, "right": one.right,
            "said": {label.value: count for label, count in one.said.items()},
        }
        for one in tallies
    }  # fmt: skip
    return {"right": round(share_right(tallies), 4), "cases": cases}


def table(told: Mapping[str, Any]) -> str:
    """What `as_json` gave, as a table in Markdown."""
    rows = [
        "| case | faces | found | said right | the wrong ones were said to be |\n|---|---|---|---|---|",
        *(
            f"| {case} | {one['faces']} | {100 * one['found'] / one['faces']:.0f} % | {100 * one['right'] / one['faces']:.0f} % "
            f"| {', '.join(f'{label} {count}' for label, count in one['said'].items()) or '-'} |"
            for case, one in told["cases"].items()
            if one["faces"]
        ),
        f"\nOf all {sum(one['faces'] for one in told['cases'].values())}, {100 * told['right']:.1f} % are said right. "
        "A poster is right where nothing is said of it; found are those of which something was.",
    ]
    return "\n".join(rows)


def _count(case: Case, pictures: Sequence[Seen]) -> Tally:
    faces, found, wrong = 0, 0, Counter[Label]()
    for picture in pictures:
        pairs, others = _pair(picture)
        if case in POSTERS:
            faces += 1
            found += bool(others)
            wrong.update(others[:1])
        else:
            faces += len(picture.truth)
            found += len(pairs)
            wrong.update(said for label, said in pairs if said is not label)
    # A poster is right where nothing was said of it, a face where it was found and nothing else was said.
    right = faces - found if case in POSTERS else found - wrong.total()
    return Tally(case, faces, found, right, {label: wrong[label] for label in Label if wrong[label]})


def _pair(picture: Seen) -> tuple[list[tuple[Label, Label]], list[Label]]:
    """True and said label of each face that was found, and what was said of no face; the surest detection chooses first."""
    left, pairs, others = list(picture.truth), [], []
    for box, said in picture.said:
        best = max(left, key=lambda face: face[0].iou(box), default=None)
        if best is None or best[0].iou(box) < SAME:
            others.append(said)
        else:
            left.remove(best)
            pairs.append((best[1], said))
    return pairs, others
