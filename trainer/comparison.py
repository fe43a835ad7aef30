"""The measured part of `docs/one-model-or-two.md`: one table and what it says in words, from `measured.json`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import ContractError
from contract.labels import LABELS
from trainer import environment
from trainer.crops import write_text
from trainer.side_by_side import GIVEN, ONE, TWO
from trainer.stopwatch import slope

PAGE, PICTURE = "one-model-or-two.md", Path("images") / "one-model-or-two.svg"
BEGIN, END = "<!-- measured: `trainer baseline` writes from here -->", "<!-- to here -->"


def write_document(measured: Path, content: dict[str, Any], docs: Path) -> None:
    """Put the table into the page in `docs` and draw its picture; the rest of the page stays as it is.

    Raises ContractError where the page or its two marks are missing.
    """
    page = docs / PAGE
    try:
        text = page.read_text()
    except OSError as error:
        raise ContractError(f"cannot read the page {page}: {error.strerror}") from error
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise ContractError(f"{page} lacks the marks {BEGIN} and {END}, between which the numbers go")
    (docs / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    environment.run("train", "trainer.chart", [measured.resolve(), (docs / PICTURE).resolve()])
    write_text(page, f"{text[: begin + len(BEGIN)]}\n{measured_part(content)}{text[end:]}")


def measured_part(content: dict[str, Any]) -> str:
    """Markdown: what was measured where, the table, and its sentences."""
    return (
        f"{_origin(content)}\n\n{_table(content)}\n\n{_sentences(content)}\n\n![{_caption()}]({PICTURE.as_posix()})\n"
    )


def _origin(content: dict[str, Any]) -> str:
    one, two, judged = content["one_model"], content["two_models"], content["judged_on"]
    crops = ", ".join(f"{number} {name}" for name, number in two["crops"].items())
    return (
        f"One model: release {one['release']} at {one['input_px']} px (`{one['sha256'][:12]}`). Two models: `{two['cascade']}` and "
        f"MobileNetV2 {two['alpha']:g} at {two['input_px']} px, int8 (`{two['sha256'][:12]}`), {two['epochs']} epochs from random weights, {two['training_s'] / 60:.0f} min on "
        f"{crops}. Judged on {judged['images']} photographs of `{judged['split']}`, faces from {content['min_box']:.0%} of the picture's "
        f"longer side. Processor: {content['processor']}, one thread, no Coral."
    )


def _table(content: dict[str, Any]) -> str:
    accuracy, times, memory, disk = (content[key] for key in ("accuracy", "time", "memory_mib", "disk_bytes"))
    ways = (ONE, TWO, GIVEN)
    rows: list[Sequence[str]] = [("", "one model", "two models in a row", "the classifier, faces given")]
    for label in map(str, LABELS):
        scores = [accuracy[way]["per_class"].get(label, {}) for way in ways]
        rows.append((f"AP50 `{label}`", *(f"{score['ap50']:.3f}" if score else "-" for score in scores)))
    rows.append(("mAP50", *(f"**{accuracy[way]['map50']:.3f}**" for way in ways)))
    rows.append(("mAP50-95", *(f"{accuracy[way]['map50_95']:.3f}" for way in (ONE, TWO)), "-"))
    faults = [accuracy[way]["faults"] for way in ways]
    rows.append((f"faces found, of {faults[0]['faces']}", *(f"{one['found']}" for one in faults[:2]), "given"))
    rows.append(("of these told right", *(f"{one['right']} ({_share(one):.0%})" for one in faults)))
    rows.append(("boxes where no face is labelled", *(str(one["astray"]) for one in faults[:2]), "-"))
    for one in times:
        name = f"ms a frame, {one['faces']} face{'s' if one['faces'] != 1 else ''}"
        rows.append((name, f"{one[ONE]:.1f}", f"{one[TWO]:.1f} (finding: {one['finding']:.1f})", "-"))
    rows.append(("resident memory, MiB", f"{memory[ONE]:.0f}", f"{memory[TWO]:.0f}", "-"))
    rows.append(("on disk, MB", f"{disk[ONE] / 1e6:.2f}", f"{disk[TWO] / 1e6:.2f}", "-"))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---|---|---|---|", *lines[1:]])


def _sentences(content: dict[str, Any]) -> str:
    faults = {way: content["accuracy"][way]["faults"] for way in (ONE, TWO, GIVEN)}
    times, memory = content["time"], content["memory_mib"]
    pasted = ", ".join(
        f"{one['faces']}: {one['seen_by_one_model']:.1f} and {one['classified_by_two_models']:.1f}" for one in times
    )
    return (
        f"- Finding: of {faults[ONE]['faces']} faces the one model finds {faults[ONE]['found']}, the pair "
        f"{faults[TWO]['found']}.\n"
        f"- Telling: of the faces found the one model tells {_share(faults[ONE]):.0%} right, the pair {_share(faults[TWO]):.0%}; "
        f"given every face, the classifier {_share(faults[GIVEN]):.0%}.\n"
        f"- Time: a frame without faces costs {times[0][ONE]:.1f} and {times[0][TWO]:.1f} ms; every further face adds "
        f"{slope(times, ONE):.2f} and {slope(times, TWO):.2f} ms, of which the classifier takes {slope(times, TWO) - slope(times, 'finding'):.2f}. Boxes per frame, by faces pasted into it, of the one model and of the cascade: {pasted}.\n"
        f"- Memory: {memory['neither']:.0f} MiB are Python and its libraries, in both ways alike."
    )


def _share(faults: dict[str, int]) -> float:
    return faults["right"] / max(1, faults["found"])


def _caption() -> str:
    return "Milliseconds a frame against faces in the frame, and average precision by class, for both ways"
