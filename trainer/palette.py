"""The colours and words of a run's pictures: those of the pages' charts, so that a class looks the same everywhere."""

from contract.labels import Label

COLOURS = {  # --with, --without, --wrong of the pages, by day
    Label.WITH_MASK: "#1769aa",
    Label.WITHOUT_MASK: "#b93a10",
    Label.MASK_WORN_INCORRECTLY: "#c08400",
}
INK, SOFT, LINE, FAINT = "#131820", "#545e6c", "#e2e5ea", "#eef0f3"
PAPER = "#ffffff"

# Boxes over photographs: a pair that stands out from skin and masks, and that colour-blind eyes tell apart.
TRUE_BOX, SAID_BOX = "#12b347", "#e0119d"


def words(label: str) -> str:
    """`with_mask` as a reader says it: "with mask"."""
    return str(label).replace("_", " ")


def bgr(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` in OpenCV's order of bytes."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return blue, green, red
