"""The three answers to "how is the mask worn?", in the one order that models, files and pages share."""

from enum import StrEnum


class Label(StrEnum):
    """How a mask is worn; the members' order is the class index of every model."""

    WITH_MASK = "with_mask"
    WITHOUT_MASK = "without_mask"
    MASK_WORN_INCORRECTLY = "mask_worn_incorrectly"  # on, but nose, mouth or chin is not covered


LABELS: tuple[Label, ...] = tuple(Label)
