"""What the cloud wants of this door: the newest word of it, kept over restarts."""

import logging
from pathlib import Path

from agent.update.slots import write_durably
from contract.errors import ContractError
from contract.fleet import DESIRED_LIMIT, Desired

DESIRED_NAME = "desired.json"

log = logging.getLogger("agent.update")


class Wish:
    """The newest desired state that was heard; in `folder`, if there is one, also for `agent update` to read."""

    def __init__(self, device: str, folder: Path | None) -> None:
        self._device = device
        self._folder = folder
        self.newest: Desired | None = self._read()

    @property
    def release(self) -> int:
        """The release that is asked for; 0: none."""
        return self.newest.release if self.newest else 0

    @property
    def number(self) -> int:
        """The number of the newest desired state; 0: none was heard."""
        return self.newest.number if self.newest else 0

    def take(self, payload: bytes) -> bool:
        """Whether this message says something new; an older one, another door's and a broken one never do."""
        desired = self._decode(payload, "a desired state")
        if desired is None or desired == self.newest:
            return False
        if desired.number < self.number:
            log.info("desired state %d is older than %d and was ignored", desired.number, self.number)
            return False
        self.newest = desired
        log.info("desired state %d: release %d", desired.number, desired.release)
        if self._folder:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_durably(self._folder / DESIRED_NAME, desired.encode())
            except OSError as error:  # the broker keeps it as well and says it again at the next connect
                log.warning("the desired state could not be kept in %s: %s", self._folder, error.strerror)
        return True

    def _read(self) -> Desired | None:
        if self._folder is None:
            return None
        try:
            return self._decode((self._folder / DESIRED_NAME).read_bytes(), str(self._folder / DESIRED_NAME))
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot read %s: %s", self._folder / DESIRED_NAME, error.strerror)
            return None

    def _decode(self, payload: bytes, what: str) -> Desired | None:
        try:
            desired = Desired.decode(payload, limit=DESIRED_LIMIT)
        except ContractError as error:
            log.warning("%s that breaks the contract was ignored: %s", what, error)
            return None
        if desired.device != self._device:
            log.warning("%s of another door was ignored", what)
            return None
        return desired
