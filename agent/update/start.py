"""Which model a door begins with: never none, while the factory's loads."""

import logging
from dataclasses import dataclass
from pathlib import Path

from agent.update.exam import Load
from agent.update.slots import Slots
from agent.vision.meter import Looker
from contract.fleet import Step

log = logging.getLogger("agent.update")


@dataclass(frozen=True, slots=True)
class Start:
    """A loaded model and where it lies; while it is on trial, what to go back to."""

    detector: Looker
    model: Path
    fallback: Looker | None = None
    fallback_model: Path | None = None


def choose(slots: Slots, load: Load) -> Start:
    """The model on trial, else the last good one, else the factory's.

    One that does not load is given up for good (on trial) or passed over (good), with the reason in the state.
    Raises ContractError only where the factory model does not load.
    """
    model = slots.choose()
    if model == slots.factory:
        return Start(load(model), model)
    try:
        detector = load(model)
    except Exception as error:  # noqa: BLE001 - a broken file may raise anything
        log.warning("%s does not load: %s", model, error)
        slots.distrust(model, f"it does not load: {error}")
        return _rest(slots, load, without=model)
    if slots.read().step is not Step.TRIAL:
        return Start(detector, model)
    rest = _rest(slots, load, without=model)
    return Start(detector, model, rest.detector, rest.model)


def _rest(slots: Slots, load: Load, *, without: Path) -> Start:
    good = slots.last_good()
    if good not in (slots.factory, without):
        try:
            return Start(load(good), good)
        except Exception as error:  # noqa: BLE001
            log.warning("%s does not load: %s", good, error)
            slots.distrust(good, f"it does not load: {error}")
    return Start(load(slots.factory), slots.factory)
