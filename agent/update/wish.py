"""What the cloud wants of this door: the newest word of it, kept over restarts."""

import json
import logging
from pathlib import Path

from agent.health.opening import Opening
from agent.update.slots import write_durably
from agent.vision.doorway import Doorway
from contract.errors import ContractError
from contract.fleet import DESIRED_LIMIT, REFUSED, Desired, DoorPlan, OpeningPlan

DESIRED_NAME = "desired.json"
PARTS = ("door", "opening")  # refused alone where they make no sense

log = logging.getLogger("agent.update")


class Wish:
    """The newest desired state that was heard; in `folder`, if there is one, also for `agent update` to read."""

    def __init__(self, device: str, folder: Path | None) -> None:
        self._device = device
        self._folder = folder
        self._faults: dict[str, str] = {}  # why parts of the newest word were refused
        self.newest: Desired | None = None
        kept = self._read()
        if kept:
            self.newest, self._faults = kept

    @property
    def fault(self) -> str:
        """Why parts of the newest word were refused; "" where none was."""
        return "; ".join(self._faults.values())

    @property
    def release(self) -> int:
        """The release that is asked for; 0: none."""
        return self.newest.release if self.newest else 0

    @property
    def number(self) -> int:
        """The number of the newest desired state; 0: none was heard."""
        return self.newest.number if self.newest else 0

    def take(self, payload: bytes) -> bool:
        """Whether this message says something new; an older one, another door's and a broken one never do.

        Where only its `door` or its `opening` makes no sense, the last one that did stays, and `fault` says what is wrong.
        """
        heard = self._decode(payload, "a desired state")
        if heard is None:
            return False
        desired, faults = heard
        if desired.number < self.number:
            log.info("desired state %d is older than %d and was ignored", desired.number, self.number)
            return False
        desired = desired.model_copy(update={part: getattr(self.newest, part, None) for part in faults})
        if desired == self.newest and faults == self._faults:
            return False
        self.newest, self._faults = desired, faults
        log.info("desired state %d: release %d", desired.number, desired.release)
        for fault in faults.values():
            log.warning("%s", fault)
        if self._folder:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_durably(self._folder / DESIRED_NAME, desired.encode())
            except OSError as error:  # the broker keeps it as well and says it again at the next connect
                log.warning("the desired state could not be kept in %s: %s", self._folder, error.strerror)
        return True

    def _read(self) -> tuple[Desired, dict[str, str]] | None:
        if self._folder is None:
            return None
        try:
            return self._decode((self._folder / DESIRED_NAME).read_bytes(), str(self._folder / DESIRED_NAME))
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read %s: %s", self._folder / DESIRED_NAME, error.strerror)
            return None

    def _decode(self, payload: bytes, what: str) -> tuple[Desired, dict[str, str]] | None:
        """The message without those of its parts that are wrong, and what is wrong with each."""
        try:
            desired, faults = _sound(payload)
        except ContractError as error:
            log.warning("%s that breaks the contract was ignored: %s", what, error)
            return None
        if desired.device != self._device:
            log.warning("%s of another door was ignored", what)
            return None
        return desired, faults


def _sound(payload: bytes) -> tuple[Desired, dict[str, str]]:
    """Raises ContractError where the whole message is wrong."""
    try:
        value = json.loads(payload) if len(payload) <= DESIRED_LIMIT else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return Desired.decode(payload, limit=DESIRED_LIMIT), {}  # which says what is wrong
    parts = {part: value.pop(part) for part in PARTS if value.get(part) is not None}
    desired, faults = Desired.from_parsed(value), {}
    for part, one in parts.items():
        try:
            desired = desired.model_copy(update={part: _sensible(part, Desired.from_parsed(value | {part: one}))})
        except ContractError as error:
            faults[part] = f"{part}{REFUSED}{error}"[:140]
    return desired, faults


def _sensible(part: str, desired: Desired) -> DoorPlan | OpeningPlan | None:
    if desired.door:
        Doorway.planned(desired.door)
    if desired.opening:
        Opening.planned(desired.opening)
    return desired.door if part == "door" else desired.opening
