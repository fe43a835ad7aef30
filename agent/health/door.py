"""`agent selftest`: the model that this door would begin with, on the CPU and, where it has a file for it, on the Coral."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from agent.config import AgentSettings, ModelSettings
from agent.health.probe import Probe
from agent.health.selftest import Result, selftest
from agent.update.slots import Slots
from agent.vision.detector import Detector
from agent.vision.guard import Guard
from contract.errors import ContractError
from contract.release import compiled_file, read_manifest


def try_door(settings: AgentSettings, *, as_json: bool, out: TextIO) -> None:
    """Print what was found; raises ContractError where something failed that this door needs.

    On `auto` the door needs no Coral, but what keeps it from one is told.
    """
    chosen = settings.model
    model = Slots(settings.update.folder, chosen.path).last_good() if settings.update.url else chosen.path
    results = [selftest(Detector.load(model, threads=chosen.threads), model)]
    why = _try_coral(chosen, model, results)
    if as_json:
        print(json.dumps({"results": [asdict(one) for one in results], "coral": why or "works"}), file=out)
    else:
        for one in results:
            said = "; ".join(one.faults) or "passed"
            looked = f"release {one.release} on the {one.accelerator}: {one.frames} golden frames, {one.median_ms:g} ms"
            print(f"{looked}: {said if one.frames or one.faults else 'it has none to look at'}", file=out)
        print(f"the Coral: {why or 'works'}", file=out)
    faults = [fault for one in results for fault in one.faults]
    if faults:
        raise ContractError(f"the self-test failed: {faults[0]}")
    if why and chosen.accelerator == "edgetpu":
        raise ContractError(f"the Coral is not used: {why}")


def _try_coral(chosen: ModelSettings, model: Path, results: list[Result]) -> str:
    """Why the Coral is not used; empty where it is, and then its result is added."""
    if chosen.accelerator == "cpu":
        return "model.accelerator is `cpu`"
    try:
        compiled = compiled_file(model, read_manifest(model))
        if compiled is None:
            return "this model has no file for it"
        verdict = Probe(compiled, library=chosen.edgetpu_library).wait()
        if verdict.reason:
            return verdict.reason
        guard = Guard(Detector.load_on_edge_tpu(model, library=chosen.edgetpu_library))
    except (ContractError, OSError) as error:
        return str(error)
    results.append(selftest(guard, model))
    guard.close()
    return ""
