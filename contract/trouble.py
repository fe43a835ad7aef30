"""What a door complains of as words for programs, beside the sentences for people."""

from collections.abc import Iterable
from enum import StrEnum


class Trouble(StrEnum):
    """The known words; a reader ignores those it does not know."""

    CAMERA_AWAY = "camera_away"
    CAMERA_STALLED = "camera_stalled"
    CAMERA_FROZEN = "camera_frozen"
    CAMERA_BLACK = "camera_black"
    CAMERA_COVERED = "camera_covered"
    CAMERA_MOVED = "camera_moved"
    VIEW_DRIFTED = "view_drifted"
    MODEL_STUCK = "model_stuck"
    DISK_FULL = "disk_full"
    DISK_AWAY = "disk_away"
    CLOCK_UNKNOWN = "clock_unknown"
    OUTBOX_BROKEN = "outbox_broken"
    UNDER_VOLTAGE = "under_voltage"
    THROTTLED = "throttled"
    HOT = "hot"
    SAFE_MODE = "safe_mode"
    OTHER = "other"


CAMERA = frozenset(
    {
        Trouble.CAMERA_AWAY, Trouble.CAMERA_STALLED, Trouble.CAMERA_FROZEN, Trouble.CAMERA_BLACK, Trouble.CAMERA_COVERED,
        Trouble.CAMERA_MOVED, Trouble.VIEW_DRIFTED,
    }
)  # fmt: skip

# What a sentence holds that tells its word; devices that send no words are read by it as well.
_MARKS = (
    ("the camera has sent no frame", Trouble.CAMERA_STALLED),
    ("no frame from the camera", Trouble.CAMERA_STALLED),
    ("the picture is frozen", Trouble.CAMERA_FROZEN),
    ("the picture is black", Trouble.CAMERA_BLACK),
    ("the picture shows one flat surface", Trouble.CAMERA_COVERED),
    ("the camera shows another view", Trouble.CAMERA_MOVED),
    ("this door no longer looks like", Trouble.VIEW_DRIFTED),
    ("the model looks at one frame", Trouble.MODEL_STUCK),
    ("the model has not answered", Trouble.MODEL_STUCK),
    ("the disk is full", Trouble.DISK_FULL),
    ("the disk takes nothing", Trouble.DISK_AWAY),
    ("wait for the disk", Trouble.DISK_AWAY),
    ("wait for the right time", Trouble.CLOCK_UNKNOWN),
    ("broken outbox files", Trouble.OUTBOX_BROKEN),
    ("under-voltage", Trouble.UNDER_VOLTAGE),
    ("the processor is slowed down", Trouble.THROTTLED),
    ("frames a second until it is cooler", Trouble.HOT),
    ("safe mode", Trouble.SAFE_MODE),
)


def words_for(sentences: Iterable[str]) -> tuple[Trouble, ...]:
    """Each word once, in order of appearance; a sentence that is not known is `other`."""
    found = (next((word for mark, word in _MARKS if mark in sentence), Trouble.OTHER) for sentence in sentences)
    return tuple(dict.fromkeys(found))
