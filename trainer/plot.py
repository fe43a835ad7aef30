"""The charts of a run, drawn by matplotlib from the numbers that `trainer pictures` wrote.

Runs in the training environment, which has matplotlib: `python -m trainer.plot RUN/pictures/scores.json [...]`. A
`curves.json` becomes one picture beside it, a `scores.json` three.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from contract.labels import LABELS
from trainer.palette import COLOURS, FAINT, INK, LINE, PAPER, SOFT, words

Numbers = dict[str, Any]
DPI = 150
TRAINED, JUDGED = "#6b4fa0", "#0d8a80"  # no class has these
STYLES = (("f1", "F1", "-", 2.4), ("precision", "precision", "--", 1.6), ("recall", "recall", ":", 1.9))


def main(arguments: list[str]) -> int:
    """Draw every numbers file that is named; returns the exit code."""
    mpl.rcParams.update({
        "font.family": "DejaVu Sans", "font.size": 11, "text.color": INK, "figure.facecolor": PAPER,
        "axes.edgecolor": "#9aa5b3", "axes.labelcolor": SOFT, "axes.spines.top": False, "axes.spines.right": False,
        "axes.grid": True, "axes.axisbelow": True, "axes.titlesize": 12, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "grid.color": LINE, "xtick.color": SOFT, "ytick.color": SOFT,
        "legend.frameon": False,
    })  # fmt: skip
    for path in map(Path, arguments):
        numbers = json.loads(path.read_text())
        for name, draw in CHARTS[path.stem].items():
            _save(draw(numbers), path.with_name(f"{name}.png"))
    return 0


def curves(numbers: Numbers) -> Figure:
    """How the training went: the losses of both splits and the average precisions by epoch."""
    rows = numbers["epochs"]
    epochs = [row["epoch"] for row in rows]
    figure = _figure(
        f"Training of {numbers['run']}: {len(rows)} of {numbers['wanted']} epochs", numbers["judged"], (10.5, 7.6)
    )
    grid = figure.add_gridspec(2, 3, height_ratios=(1.25, 1), left=0.085, right=0.975, top=0.83, bottom=0.08, hspace=0.4, wspace=0.36)  # fmt: skip
    marker = "o" if len(rows) < 40 else ""
    axes = figure.add_subplot(grid[0, :])
    for column, name, colour in (("metrics/mAP50(B)", "mAP50", TRAINED), ("metrics/mAP50-95(B)", "mAP50-95", JUDGED)):
        values = [row[column] for row in rows]
        best = int(np.argmax(values))
        told = f"{name}: last {values[-1]:.3f}, best {values[best]:.3f} in epoch {epochs[best]:g}"
        axes.plot(epochs, values, color=colour, lw=2, marker=marker, ms=3.5, label=told)
        axes.plot(epochs[best], values[best], "o", ms=9, mfc="none", mec=colour, mew=1.6, clip_on=False)
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 0.98), ncols=2, labelcolor="linecolor", columnspacing=1.5)
    axes.set(title="Validation", ylim=(0, 1.02), xlabel="epoch")
    _epoch_axis(axes, epochs)
    for spot, (part, name) in enumerate((("box", "Box loss"), ("cls", "Class loss"), ("dfl", "Edge loss (DFL)"))):
        axes = figure.add_subplot(grid[1, spot])
        for kind, said, colour, style in (("train", "training", TRAINED, "-"), ("val", "validation", JUDGED, "--")):
            values = [row[f"{kind}/{part}_loss"] for row in rows]
            axes.plot(epochs, values, style, color=colour, lw=1.8, marker=marker, ms=2.5, label=said)
        axes.set(title=name, xlabel="epoch")
        axes.margins(y=0.15)
        _epoch_axis(axes, epochs)
        if spot == 0:
            axes.legend(fontsize=10, loc="best")
    return figure


def confusion(numbers: Numbers) -> Figure:
    """Who was taken for whom: counts and shares of each row, a darker cell is a larger share."""
    table = numbers["confusion"]
    counts, shares = np.array(table["counts"]), np.array(table["shares"])
    figure = _figure("What was said of whom", _subtitle(numbers), (9.6, 7.4))
    axes = figure.add_axes((0.24, 0.09, 0.72, 0.66))
    ink = LinearSegmentedColormap.from_list("ink", [PAPER, "#2f3b4a"])
    axes.imshow(shares, cmap=ink, vmin=0, vmax=1, aspect="auto")
    last = len(counts) - 1
    for row, column in np.ndindex(counts.shape):
        if row == column == last:
            axes.text(column, row, "not counted", ha="center", va="center", color=SOFT, fontsize=10)
            continue
        colour = PAPER if shares[row, column] > 0.55 else INK
        axes.text(column, row - 0.09, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=17,
                  weight="bold" if row == column else "normal")  # fmt: skip
        axes.text(
            column, row + 0.22, f"{shares[row, column]:.1%}", ha="center", va="center", color=colour, fontsize=10.5
        )
    names = [words(name) for name in table["rows"]], [words(name) for name in table["columns"]]
    axes.set_xticks(range(last + 1), [name.replace("worn ", "worn\n") for name in names[1]])
    axes.set_yticks(
        range(last + 1), [f"{name}\n{total}" for name, total in zip(names[0], _totals(counts), strict=True)]
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=11, pad=6)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, label in zip(ticks, LABELS, strict=False):
            tick.set(color=COLOURS[label], weight="bold")
    axes.set_xticks(np.arange(last) + 0.5, minor=True)
    axes.set_yticks(np.arange(last) + 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color=LINE, lw=1.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("the model said", loc="center", weight="normal", fontsize=11, color=SOFT, pad=10)
    figure.text(0.02, 0.77, "the truth is", color=SOFT)
    figure.text(0.24, 0.03, "Shares are of a row. Matched at IoU .5, the surest first; thresholds as released.", color=SOFT, fontsize=10)  # fmt: skip
    return figure


def thresholds(numbers: Numbers) -> Figure:
    """Precision, recall and F1 of each class against its confidence threshold; the one that was chosen is marked."""
    figure = _figure("What another threshold would change", _subtitle(numbers), (12.6, 5.4))
    panels = figure.subplots(1, len(LABELS), sharey=True)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.72, bottom=0.11, wspace=0.13)
    for axes, label in zip(panels, LABELS, strict=True):
        colour, one = COLOURS[label], numbers["classes"].get(label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence threshold")
        axes.set_xticks(np.linspace(0, 1, 6))
        if one is None:
            axes.set_title(f"{words(label)}: no such face here", color=colour)
            continue
        axes.set_title(f"{words(label)}, {one['faces']} faces", color=colour, pad=26)
        for name, said, style, width in STYLES:
            axes.plot(one["by_threshold"]["threshold"], one["by_threshold"][name], style, color=colour, lw=width, label=said)  # fmt: skip
            axes.plot(one["threshold"], one[name], "o", color=colour, ms=5)
        axes.axvline(one["threshold"], color=INK, lw=1)
        axes.text(0, 1.035, f"at {one['threshold']:.2f}: precision {one['precision']:.2f}, recall {one['recall']:.2f}, F1 {one['f1']:.2f}",
                  transform=axes.transAxes, fontsize=10, color=INK)  # fmt: skip
    handles = [mpl.lines.Line2D([], [], color=SOFT, ls=style, lw=width) for _, _, style, width in STYLES]
    handles.append(mpl.lines.Line2D([], [], color=INK, lw=1, marker="o", ms=5))
    figure.legend(handles, [said for _, said, _, _ in STYLES] + ["chosen threshold"], ncols=4, loc="upper right", bbox_to_anchor=(0.985, 0.96))  # fmt: skip
    return figure


def precision_recall(numbers: Numbers) -> Figure:
    """Precision against recall at IoU .5; the area under a curve is its AP50."""
    figure = _figure("Precision and recall at IoU .5", _subtitle(numbers), (8.4, 7.2))
    axes = figure.add_axes((0.09, 0.09, 0.87, 0.75))
    for label in LABELS:
        one = numbers["classes"].get(label)
        if one is None:
            continue
        name = f"{words(label)}: AP50 {one['ap50']:.3f}, {one['faces']} faces"
        recall, precision = one["ranked"]["recall"], one["ranked"]["precision"]
        axes.plot([0, *recall], [*precision[:1], *precision] or [0], color=COLOURS[label], lw=2.2, label=name)
        axes.plot(one["recall"], one["precision"], "o", color=COLOURS[label], ms=9, mec=PAPER, mew=1.5)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision, the best at this recall or beyond")
    axes.plot([], [], "o", color=SOFT, ms=8, mec=PAPER, label="what a door says at its thresholds")
    axes.legend(loc="lower left", fontsize=11, facecolor=PAPER, frameon=True, edgecolor=FAINT, framealpha=0.9)
    return figure


CHARTS: dict[str, dict[str, Callable[[Numbers], Figure]]] = {
    "curves": {"curves": curves},
    "scores": {"confusion": confusion, "thresholds": thresholds, "precision-recall": precision_recall},
}


def _figure(title: str, subtitle: str, size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, dpi=DPI)
    figure.text(0.02, 1 - 0.18 / size[1], title, size=17, weight="bold", va="top")
    figure.text(0.02, 1 - 0.55 / size[1], subtitle, size=11, color=SOFT, va="top")
    return figure


def _subtitle(numbers: Numbers) -> str:
    least = f", faces from {100 * numbers['min_box']:g} % of the longer side" if numbers["min_box"] else ""
    return f"split {numbers['split']}, {numbers['images']} images; release {numbers['release']}, int8{least}"


def _totals(counts: "np.ndarray[Any, Any]") -> list[str]:
    *faces, alarms = (int(total) for total in counts.sum(axis=1))
    return [f"{number} faces" for number in faces] + [f"{alarms} false alarms"]


def _epoch_axis(axes: Any, epochs: list[float]) -> None:
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(8, integer=True, min_n_ticks=1))


def _save(figure: Figure, path: Path) -> None:
    draft = path.with_name(f".{path.name}.part")
    figure.savefig(draft, format="png")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
