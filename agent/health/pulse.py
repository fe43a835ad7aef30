"""Whether a door is at work: all of its pipeline, not just the thread that answers."""

from dataclasses import dataclass

FRAME_S = 10.0  # the oldest that the newest frame may be
LOOK_S = 10.0  # the longest since the model answered, and that it may look at one frame
COMMIT_S = 10.0  # the longest that a counted pass may wait for the disk


@dataclass(frozen=True, slots=True)
class Ages:
    """Seconds since each part of the pipeline last did its work; since the start where it never did."""

    frame_s: float
    look_s: float
    looking_s: float  # how long the look that goes on has lasted; 0 between two
    commit_s: float  # 0 where nothing waits
    camera_trouble: str | None = None  # what the camera itself says keeps it from seeing


def standstill(ages: Ages) -> str:
    """What stands still, in words; "" where all of it moves.

    A camera that says what is wrong with it and tries again by itself is no standstill: starting the agent again would
    not mend it, and the door still delivers and reports. A camera that says nothing and gives nothing is one.
    """
    if ages.commit_s > COMMIT_S:
        return f"passes wait for the disk since {ages.commit_s:.0f} s"
    if ages.looking_s > LOOK_S:
        return f"the model looks at one frame since {ages.looking_s:.0f} s"
    if ages.camera_trouble:
        return ""
    if ages.frame_s > FRAME_S:
        return f"no frame from the camera since {ages.frame_s:.0f} s"
    if ages.look_s > LOOK_S:
        return f"the model has not answered since {ages.look_s:.0f} s"
    return ""
