"""How often the 95 % interval of corrected compliance holds the truth, and how wide it is, on simulated doors: `python -m bench.claims`."""

import argparse
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import Pool

import numpy as np

from bench.fleets import HELD_OUT, SCENES, START, Scene, fleet, tables
from cloud.counts.claims import Share, wilson
from cloud.counts.correction import Correction
from cloud.counts.evidence import OUTCOMES, Labelled
from cloud.counts.likeness import Floats, dirichlet, draw_days_alike
from contract.labels import LABELS, Label

CHUNK = 50  # fleets that a process simulates at a time
DRAWS = 500  # of the yardsticks


@dataclass(slots=True)
class Tally:
    """What came of one scene and class."""

    held: list[bool] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    alone_held: list[bool] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    naive: list[bool] = field(default_factory=list)
    error: list[float] = field(default_factory=list)

    @property
    def coverage(self) -> Share:
        """With what the simulation leaves open: Wilson's interval for so many fleets."""
        return wilson(sum(self.held), len(self.held))

    @property
    def against_labels(self) -> float:
        """Mean width over the mean width from the labels alone."""
        return float(np.mean(self.width) / np.mean(self.alone))

    @property
    def floor(self) -> float:
        """The same if every pass had been labelled: what is left is that days differ."""
        return float(np.mean(self.known) / np.mean(self.alone))

    def join(self, other: "Tally") -> None:
        for name in self.__slots__:
            getattr(self, name).extend(getattr(other, name))


def simulate(scene: Scene, runs: int, seed: int, first: int = 0) -> tuple[dict[Label, Tally], float]:
    """By class, and the mean number of control labels; the same fleets for the same scene, seed and run, whoever simulates them."""
    tallies = {label: Tally() for label in LABELS}
    numbers = []
    for run in range(first, first + runs):
        rng = np.random.default_rng([seed, zlib.crc32(scene.name.encode()), run])
        one = fleet(scene, rng)
        numbers.append(len(one.labelled))
        end = START + timedelta(days=scene.days)
        start = end - timedelta(days=1) if scene.last_day else START
        found = Correction(tables(one, start, end), one.strata, one.others).of(one.cell)
        if found is None:
            continue
        truth = one.truth
        alone = _from_labels([label for label in one.labelled if label.device in one.known and label.at >= start], rng)
        whole = _from_days([(days, 1.0) for days in one.known.values()], rng)
        called = np.sum([day for stratum in one.cell for day in stratum.days.values()], axis=0)
        for place, label in enumerate(LABELS):
            share, tally = found.rates[label], tallies[label]
            naive = wilson(int(called[place]), int(called.sum()))
            tally.held.append(share.low <= truth[place] <= share.high)
            tally.width.append(share.high - share.low)
            tally.alone.append(alone[place].high - alone[place].low)
            tally.alone_held.append(alone[place].low <= truth[place] <= alone[place].high)
            tally.known.append(whole[place].high - whole[place].low)
            tally.naive.append(naive.low <= truth[place] <= naive.high)
            tally.error.append(share.rate - truth[place])
    return tallies, float(np.mean(numbers))


def simulate_all(
    scenes: Sequence[Scene], runs: int, seed: int, workers: int
) -> Iterator[tuple[Scene, dict[Label, Tally], float]]:
    """Each scene as soon as it is done."""
    jobs = [(scene, min(CHUNK, runs - at), seed, at) for scene in scenes for at in range(0, runs, CHUNK)]
    with Pool(workers) as pool:
        done = pool.imap(_job, jobs)
        for scene in scenes:
            tallies, numbers = {label: Tally() for label in LABELS}, []
            for at in range(0, runs, CHUNK):
                if sys.stderr.isatty():
                    print(f"\r{scene.name}: {at} of {runs} ", end="", file=sys.stderr, flush=True)
                some, labels = next(done)
                numbers.append(labels)
                for label, tally in some.items():
                    tallies[label].join(tally)
            yield scene, tallies, float(np.mean(numbers))


def report(results: Iterable[tuple[Scene, dict[Label, Tally], float]], runs: int) -> None:
    """Print a table in Markdown."""
    print(f"{runs} simulated fleets a row; in brackets what so few leave open of the coverage, 95 %\n")
    print(
        "| | labels | class | covers | width | against labels alone | every pass labelled | bias | labels alone cover | uncorrected |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for scene, tallies, labels in results:
        for label, tally in tallies.items():
            first, covers = label is LABELS[0], tally.coverage
            print(
                f"| {scene.name if first else ''} | {f'{labels:.0f}' if first else ''} | {label} "
                f"| {covers.rate:.1%} ({covers.low * 100:.1f}-{covers.high * 100:.1f}) | {np.mean(tally.width):.3f} "
                f"| {tally.against_labels:.2f} | {tally.floor:.2f} | {np.mean(tally.error):+.4f} "
                f"| {np.mean(tally.alone_held):.1%} | {np.mean(tally.naive):.1%} |",
                flush=True,
            )


def main() -> int:
    """Print everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench.claims")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scene", default="", help="only scenes whose name has this in it")
    parser.add_argument("--held-out", action="store_true", help="the scenes that the method was not chosen on")
    parser.add_argument("--workers", type=int, default=2, help="processes; the numbers do not depend on them")
    options = parser.parse_args()
    scenes = [one for one in (HELD_OUT if options.held_out else SCENES) if options.scene in one.name]
    report(simulate_all(scenes, options.runs, options.seed, options.workers), options.runs)
    return 0


def _job(job: tuple[Scene, int, int, int]) -> tuple[dict[Label, Tally], float]:
    return simulate(*job)


def _from_labels(labels: Sequence[Labelled], rng: np.random.Generator) -> list[Share]:
    """What the labels' own answers say, at what they are worth: the same rules as for the passes."""
    weights = np.array([one.weight for one in labels])
    answers = np.array([OUTCOMES.index(one.answer) for one in labels], dtype=int)
    days: dict[str, dict[str, Floats]] = defaultdict(lambda: defaultdict(lambda: np.zeros(len(OUTCOMES))))
    for one, answer in zip(labels, answers, strict=True):
        days[one.device][one.day][answer] += 1
    kish = weights.sum() ** 2 / (weights**2).sum() / len(weights)
    shares = np.bincount(answers, weights, len(OUTCOMES)) / weights.sum()
    return _from_days([(np.array(list(by_day.values())), kish) for by_day in days.values()], rng, shares)


def _from_days(
    doors: Sequence[tuple[Floats, float]], rng: np.random.Generator, shares: Floats | None = None
) -> list[Share]:
    """From what passes were, by door (days, outcomes), and the part of them that they are worth."""
    alike = draw_days_alike([(days, 1.0) for days, _ in doors], DRAWS, rng)
    whole = sum(float(days.sum()) for days, _ in doors)
    sums = np.zeros((DRAWS, len(OUTCOMES)))
    for days, part in doors:
        sizes = days.sum(axis=1)
        crowd = (sizes**2).sum() / max(1.0, sizes.sum()) if len(sizes) > 1 else 1.0
        worth = part * sizes.sum() / (1 + alike * max(0.0, crowd - 1))
        mean = days.sum(axis=0) / max(1.0, sizes.sum()) if shares is None else shares
        sums += sizes.sum() * dirichlet(mean * worth[:, None] + 0.25 * sizes.sum() / whole, rng)
    faces = sums[:, : len(LABELS)] / sums[:, : len(LABELS)].sum(axis=1, keepdims=True)
    lows, highs = np.quantile(faces, (0.025, 0.975), axis=0)
    return [
        Share(float(faces[:, place].mean()), float(lows[place]), float(highs[place])) for place in range(len(LABELS))
    ]


if __name__ == "__main__":
    sys.exit(main())
