"""What each trouble of a door means, and what to do about it, in one table."""

from collections.abc import Mapping

from cloud.fleet.care import Concern, Need
from cloud.web.language import N_
from contract.trouble import Trouble

ADVICE: Mapping[Need, tuple[str, str]] = {  # what is so, what to do
    Concern.OFFLINE: (N_("offline"), N_("Check its power and network; it keeps its passes until it is back.")),
    Concern.SILENT: (N_("silent"), N_("It should be there but says nothing: check its network, then its power.")),
    Concern.NO_HEARTBEAT: (N_("no sign of health yet"), N_("Wait a minute; then look at the agent's log.")),
    Concern.ON_CPU: (N_("counting on the CPU"), N_("Plug the Edge TPU in again and run agent doctor there.")),
    Concern.LOSING: (N_("losing passes"), N_("Its outbox is full: bring its network back, or give it a larger disk.")),
    Concern.OLD_RELEASE: (N_("old release"), N_("It was asked for a newer one: see why on the page of releases.")),
    Concern.COVERAGE: (N_("looked away"), N_("It saw too little of its opening hours: look at its other troubles first.")),
    Concern.DISK_LOW: (N_("little disk left"), N_("Make room on its card, or replace it with a larger one.")),
    Concern.CERTIFICATE: (N_("certificate about to end"), N_("Enrol it again with a new token, before it is shut out.")),
    Trouble.CAMERA_AWAY: (N_("no camera"), N_("Check the camera's cable or address.")),
    Trouble.CAMERA_STALLED: (N_("camera stalled"), N_("Check the camera's cable and power; restart the agent.")),
    Trouble.CAMERA_FROZEN: (N_("picture frozen"), N_("Restart the camera.")),
    Trouble.CAMERA_BLACK: (N_("picture black"), N_("Switch the light on, or take the lens cap off.")),
    Trouble.CAMERA_COVERED: (N_("camera covered"), N_("Uncover or clean the lens.")),
    Trouble.CAMERA_MOVED: (N_("camera moved"), N_("Turn it back, or draw the door's lines anew in its settings.")),
    Trouble.VIEW_DRIFTED: (N_("view drifted"), N_("Faces look other than in its first weeks: check light and lens, label crops.")),
    Trouble.MODEL_STUCK: (N_("model stuck"), N_("The agent restarts by itself; if it stays so, replace the Edge TPU.")),
    Trouble.DISK_FULL: (N_("disk full"), N_("Make room on its card: passes are lost otherwise.")),
    Trouble.DISK_AWAY: (N_("disk takes nothing"), N_("Replace its card soon: it is about to fail.")),
    Trouble.CLOCK_UNKNOWN: (N_("clock not set"), N_("Let it reach a time server (NTP).")),
    Trouble.OUTBOX_BROKEN: (N_("broken outbox"), N_("Power was cut while it wrote; check its card and supply.")),
    Trouble.UNDER_VOLTAGE: (N_("under-voltage"), N_("Use the official power supply and a short cable.")),
    Trouble.THROTTLED: (N_("slowed down"), N_("It is too hot or has too little power: check supply and cooling.")),
    Trouble.HOT: (N_("too hot"), N_("Give it air, shade or a fan.")),
    Trouble.SAFE_MODE: (N_("safe mode"), N_("It failed to start several times: read the agent's log.")),
    Trouble.OTHER: (N_("something else"), N_("See the door's own words.")),
}  # fmt: skip
