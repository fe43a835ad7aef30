"""Processes held to a part of a core each, as if each had a small machine of its own."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

EVERY_S = 0.005


@contextmanager
def held(pids: Sequence[int], share: float, cpu_s: Callable[[int], float]) -> Iterator[None]:
    """Stop and continue the processes, so that none has used more than `share` of the seconds that went by.

    `cpu_s` says how many seconds of CPU a process has used so far. At the end all go on unhindered.
    """
    done = threading.Event()
    thread = threading.Thread(target=_hold, args=(pids, share, cpu_s, done), name="throttle")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _hold(pids: Sequence[int], share: float, cpu_s: Callable[[int], float], done: threading.Event) -> None:
    begun, before, stopped = time.perf_counter(), {pid: cpu_s(pid) for pid in pids}, dict.fromkeys(pids, False)
    try:
        while not done.wait(EVERY_S):
            allowed_s = (time.perf_counter() - begun) * share
            for pid in pids:
                too_much = cpu_s(pid) - before[pid] > allowed_s
                if too_much != stopped[pid]:
                    os.kill(pid, signal.SIGSTOP if too_much else signal.SIGCONT)
                    stopped[pid] = too_much
    finally:  # also where one of them has ended
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
