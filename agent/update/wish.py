"""What the cloud wants of this door: the newest word of it, kept over restarts."""

import json
import logging
from pathlib import Path

from agent.update.slots import write_durably
from agent.vision.doorway import Doorway
from contract.errors import ContractError
from contract.fleet import DESIRED_LIMIT, Desired

DESIRED_NAME = "desired.json"

log = logging.getLogger("agent.update")


class Wish:
    """The newest desired state that was heard; in `folder`, if there is one, also for `agent update` to read."""

    def __init__(self, device: str, folder: Path | None) -> None:
        self._device = device
        self._folder = folder
        self.door_fault = ""  # why the newest word's `door` was refused, if it was
        self.newest: Desired | None = None
        kept = self._read()
        if kept:
            self.newest, self.door_fault = kept

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

        Where only its `door` makes no sense, the last one that did stays, and `door_fault` says what is wrong.
        """
        heard = self._decode(payload, "a desired state")
        if heard is None:
            return False
        desired, fault = heard
        if desired.number < self.number:
            log.info("desired state %d is older than %d and was ignored", desired.number, self.number)
            return False
        if fault:
            desired = desired.model_copy(update={"door": self.newest.door if self.newest else None})
        if desired == self.newest and fault == self.door_fault:
            return False
        self.newest, self.door_fault = desired, fault
        log.info("desired state %d: release %d", desired.number, desired.release)
        if fault:
            log.warning("%s", fault)
        if self._folder:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_durably(self._folder / DESIRED_NAME, desired.encode())
            except OSError as error:  # the broker keeps it as well and says it again at the next connect
                log.warning("the desired state could not be kept in %s: %s", self._folder, error.strerror)
        return True

    def _read(self) -> tuple[Desired, str] | None:
        if self._folder is None:
            return None
        try:
            return self._decode((self._folder / DESIRED_NAME).read_bytes(), str(self._folder / DESIRED_NAME))
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read %s: %s", self._folder / DESIRED_NAME, error.strerror)
            return None

    def _decode(self, payload: bytes, what: str) -> tuple[Desired, str] | None:
        """The message without its `door` where that is wrong, and what is wrong with it."""
        fault = ""
        try:
            try:
                desired = Desired.decode(payload, limit=DESIRED_LIMIT)
                if desired.door:
                    Doorway.planned(desired.door)
            except ContractError as error:
                desired, fault = _without_door(payload, error), f"door refused: {error}"[:200]
        except ContractError as error:
            log.warning("%s that breaks the contract was ignored: %s", what, error)
            return None
        if desired.device != self._device:
            log.warning("%s of another door was ignored", what)
            return None
        return desired, fault


def _without_door(payload: bytes, fault: ContractError) -> Desired:
    """The rest of a message; raises ContractError, `fault` where there is no `door` to leave out."""
    try:
        value = json.loads(payload) if len(payload) <= DESIRED_LIMIT else None
    except (ValueError, RecursionError):
        raise fault from None
    if not isinstance(value, dict) or value.pop("door", None) is None:
        raise fault
    return Desired.from_parsed(value)
