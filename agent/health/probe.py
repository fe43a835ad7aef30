"""Whether the Coral works, tried in a process of its own: `python -m agent.health.probe MODEL` prints one JSON line."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.vision.runtime import EDGE_TPU_LIBRARY, open_on_edge_tpu
from contract.errors import ContractError

DEADLINE_S = 20.0  # the first load writes the stick's program, which takes it some seconds
INVOKES = 3
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe found: an empty `reason` says that the Coral ran the model."""

    reason: str
    delegate: str = ""
    ms: float = 0.0  # of the quickest of three invocations


class Probe:
    """A running probe of a compiled model; `poll` never waits."""

    def __init__(
        self, compiled: Path, *, library: str = EDGE_TPU_LIBRARY, runtime: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:  # fmt: skip
        chosen = ["--runtime", runtime] if runtime else []
        command = [sys.executable, "-m", "agent.health.probe", str(compiled), "--library", library, *chosen]
        self._library, self._deadline_s, self._begun = library, deadline_s, time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the probe; a pipe that nobody reads could fill up and look like a hang
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def poll(self) -> Verdict | None:
        """The verdict, or None while it goes on; past the deadline it is killed."""
        code = self._child.poll()
        if code is None:
            if time.monotonic() - self._begun < self._deadline_s:
                return None
            self.close()
            return Verdict(f"the Coral did not answer within {self._deadline_s:g} s: it hangs; plug it in anew")
        self._output.seek(0)
        printed = self._output.read(10_000)
        self._output.close()
        return _verdict(code, printed, self._library)

    def wait(self) -> Verdict:
        """The verdict, after the deadline at the latest."""
        while (verdict := self.poll()) is None:
            time.sleep(0.05)
        return verdict

    def close(self) -> None:
        """Kill it. One that the kernel does not let go of is left behind."""
        self._child.kill()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        self._output.close()


def _verdict(code: int, printed: bytes, library: str) -> Verdict:
    if -code in _CRASHES:
        return Verdict(
            f"{library} crashes ({signal.Signals(-code).name}): it does not fit this TFLite runtime; "
            "install a build for TF 2.17 or newer"
        )
    lines = printed.splitlines() or [b""]
    try:
        told = json.loads(lines[-1])
        return Verdict(str(told["reason"]), str(told["delegate"]), float(told["ms"]))
    except (ValueError, KeyError, TypeError):
        return Verdict(f"the probe of the Coral ended with {code} and said nothing")


def probe(compiled: Path, *, library: str, runtime: str | None) -> Verdict:
    """Load, allocate and invoke in this very process, which may not survive it."""
    try:
        interpreter = open_on_edge_tpu(compiled, library=library, runtime=runtime)
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        took = []
        for _ in range(INVOKES):
            begun = time.perf_counter()
            interpreter.invoke()
            took.append(time.perf_counter() - begun)
    except ContractError as error:
        return Verdict(" ".join(str(error).split())[:300])
    except (ValueError, RuntimeError) as error:  # what a library of another layout may come to, when it does not crash
        told = " ".join(str(error).split())[:200]
        return Verdict(f"the Coral does not run the model ({told}): does {library} fit this TFLite runtime?")
    return Verdict("", library, round(1000 * min(took), 2))


def main(arguments: list[str] | None = None) -> int:
    """Print the verdict; returns 0 where the Coral ran the model, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="agent.health.probe", description="Try a compiled model on the Coral.")
    parser.add_argument("model", type=Path, help="a file that the Edge TPU's compiler made")
    parser.add_argument("--library", default=EDGE_TPU_LIBRARY)
    parser.add_argument("--runtime", help="ai_edge_litert or tflite_runtime; by default the first that is there")
    options = parser.parse_args(arguments)
    found = probe(options.model, library=options.library, runtime=options.runtime)
    print(json.dumps({"reason": found.reason, "delegate": found.delegate, "ms": found.ms}))
    return 1 if found.reason else 0


if __name__ == "__main__":
    sys.exit(main())
