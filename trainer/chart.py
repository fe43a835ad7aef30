"""The comparison's picture: ms a frame against faces in it, and accuracy beside; runs in the training environment.

`python -m trainer.chart MEASURED.json OUT.svg`
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from contract.labels import LABELS

# Told apart by people who see no red or green (Okabe and Ito), and by their markers.
ONE, TWO, GIVEN, GREY = "#0072B2", "#D55E00", "#E9B48F", "#666666"


def draw(measured: dict[str, Any], out: Path) -> None:
    """Write `out` as SVG; the same numbers give the same bytes."""
    mpl.rcParams |= {
        "svg.hashsalt": "maskfleet", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.titlelocation": "left",
    }  # fmt: skip
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.8, 3.9), layout="constrained", width_ratios=(1.1, 1))
    _times(left, measured["time"])
    _accuracies(right, measured["accuracy"], measured["min_box"])
    figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="white")


def _times(axes: Any, rows: list[dict[str, float]]) -> None:
    faces = [row["faces"] for row in rows]
    axes.plot(faces, [row["two_models"] for row in rows], color=TWO, marker="s", label="two models in a row")
    axes.plot(faces, [row["finding"] for row in rows], color=TWO, linestyle=":", label="of that, finding faces")
    axes.plot(faces, [row["one_model"] for row in rows], color=ONE, marker="o", label="one model")
    axes.set_title("Time a frame, no Coral")
    axes.set_xlabel("faces in the frame")
    axes.set_ylabel("ms, one thread")
    axes.set_xticks(faces)
    axes.set_ylim(0, max(max(row["two_models"], row["one_model"]) for row in rows) * 1.3)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.legend(frameon=False, loc="upper left", fontsize=9)


def _accuracies(axes: Any, rows: dict[str, dict[str, Any]], min_box: float) -> None:
    ways = (
        ("one_model", "one model", ONE), ("two_models", "two models in a row", TWO),
        ("labelled_boxes", "classifier, faces given", GIVEN),
    )  # fmt: skip
    for offset, (way, name, colour) in enumerate(ways):
        values = [rows[way]["per_class"].get(label, {}).get("ap50", 0.0) for label in map(str, LABELS)]
        places = [spot + (offset - 1) * 0.27 for spot in range(len(values))]
        bars = axes.bar(places, values, width=0.25, color=colour, label=name)
        axes.bar_label(bars, labels=[f"{value:.2f}" for value in values], fontsize=8, padding=1, color=GREY)
    axes.set_title("Average precision at IoU .5")
    axes.set_xlabel(f"faces from {min_box:.0%} of the picture's longer side")
    axes.set_xticks(
        range(len(LABELS)), [str(label).replace("mask_worn_", "mask worn\n").replace("_", " ") for label in LABELS]
    )
    axes.set_ylim(0, 1.3)
    axes.set_yticks((0, 0.25, 0.5, 0.75, 1))
    axes.legend(frameon=False, loc="upper center", ncols=3, fontsize=8.5, columnspacing=1.0, handlelength=1.0)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
