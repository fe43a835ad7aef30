"""How often a page puts one of several equal doors before another, and how many unlike doors it still tells apart: `python -m bench.ranks`."""

import argparse
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from math import ceil
from multiprocessing import Pool

import numpy as np

from bench.fleets import START, Scene, fleet, tables
from cloud.counts.claims import wilson
from cloud.counts.correction import Correction
from cloud.counts.ranking import ranks
from contract.labels import Label

WEEK = Scene("a week, independent", 2, 7, 150, 1)
KINDS = (
    WEEK,
    replace(WEEK, name="a week, days alike", day_likeness=0.02),
    replace(WEEK, name="a week, days alike, doors of two sizes", day_likeness=0.02, sizes=(0.3, 1.7)),
    replace(WEEK, name="one day", days=1, passes=400, control=4),
)
UNLIKE = 5  # shares of pairs need fewer pages than a rare mistake


def page(scene: Scene, seed: int, run: int) -> tuple[bool, bool, float, float]:
    """Of one fleet: whether any two doors were ordered by intervals that do not touch, and by their places; and the shares of pairs."""
    rng = np.random.default_rng([seed, zlib.crc32(scene.name.encode()), scene.doors, run])
    one = fleet(scene, rng)
    correction = Correction(tables(one, START, START + timedelta(days=scene.days)), one.strata, cells=scene.doors)
    found = {stratum.device: correction.of([stratum]) for stratum in one.strata}
    shares = {name: corrected.rates[Label.WITH_MASK] for name, corrected in found.items() if corrected}
    draws = {name: corrected.compliance for name, corrected in found.items() if corrected}
    pairs = len(shares) * (len(shares) - 1) / 2
    plain = sum(a.low > b.high for a in shares.values() for b in shares.values())
    told = sum(rank.best - 1 for rank in ranks(shares, draws).values() if rank)
    return plain > 0, told > 0, plain / pairs, told / pairs


def main() -> int:
    """Print everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench.ranks")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--doors", type=int, nargs="*", default=[10, 30, 100])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print(f"{options.runs} pages a row; in brackets what so few leave open, 95 %\n")
    print(
        "| | doors | equal doors ordered: intervals apart | ranked | unlike doors, pairs told apart: intervals | ranked |"
    )
    print("|---|---|---|---|---|---|")
    with Pool(options.workers) as pool:
        for kind in KINDS:
            for doors in options.doors:
                sizes = tuple(kind.sizes[number % len(kind.sizes)] for number in range(doors)) if kind.sizes else ()
                equal = replace(kind, doors=doors, sizes=sizes)
                unlike = replace(equal, door_likeness=0.03)
                pages = [(equal, options.seed, run) for run in range(options.runs)]
                same = pool.starmap(page, pages, chunksize=5)
                pages = [(unlike, options.seed, run) for run in range(ceil(options.runs / UNLIKE))]
                other = pool.starmap(page, pages, chunksize=5)
                print(
                    f"| {kind.name} | {doors} | {_rate([one[0] for one in same])} | {_rate([one[1] for one in same])} "
                    f"| {np.mean([one[2] for one in other]):.0%} | {np.mean([one[3] for one in other]):.0%} |",
                    flush=True,
                )
    return 0


def _rate(held: Sequence[bool]) -> str:
    found = wilson(sum(held), len(held))
    return f"{found.rate:.1%} ({found.low * 100:.1f}-{found.high * 100:.1f})"


if __name__ == "__main__":
    sys.exit(main())
