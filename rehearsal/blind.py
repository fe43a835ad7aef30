"""A door without eyes, as a process: the agent's own delivery, fed with made-up crossings; `python -m rehearsal.blind`."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

from agent.app import COMMIT_EVENTS, COMMIT_S, TICK_S
from agent.clock import Clock
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import DRAIN_PER_S, Uplink
from agent.report import Reporter, redated
from agent.vision.counter import Crossing
from contract.events import Accelerator, Direction
from contract.health import Heartbeat
from contract.labels import LABELS


def main() -> int:
    """Count until SIGTERM, or with `--rate 0` until the outbox is empty.

    The diary gets `meant ID` before an event is given to the outbox, and `stored ID` after the outbox took it.
    """
    parser = argparse.ArgumentParser(prog="rehearsal.blind")
    parser.add_argument("device")
    parser.add_argument("--broker", required=True)
    parser.add_argument("--outbox", type=Path, required=True)
    parser.add_argument("--diary", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="passes a second")
    parser.add_argument("--drain-per-s", type=float, default=DRAIN_PER_S)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clock = Clock.of_this_boot()
    reporter = Reporter(
        boot=uuid4(), release=lambda _at_s: 1, accelerator=lambda _: Accelerator.CPU, resolution_s=60, read=clock.read
    )
    outbox = Outbox.open(options.outbox, cap_bytes=200 * 1024 * 1024)
    will = Heartbeat(device=options.device, state="offline", boot=reporter.boot)
    uplink = Uplink(options.device, options.broker, outbox, last_will=will, drain_per_s=options.drain_per_s)
    uplink.start()
    diary = os.open(options.diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begun = committed = time.monotonic()
    waiting: list[Letter] = []
    while not stop.wait(TICK_S) and (options.rate or outbox.waiting):
        now = time.monotonic()
        for number in range(reporter.passes, int((now - begun) * options.rate)):
            direction = Direction.IN if number % 2 else Direction.OUT
            event, stamp = reporter.event(Crossing(now, direction, LABELS[number % 3], 0.9))
            waiting.append(Letter(event.id, event.encode(), stamp=stamp))
        while len(waiting) >= COMMIT_EVENTS or (waiting and now - committed >= COMMIT_S):
            batch, waiting = waiting[:COMMIT_EVENTS], waiting[COMMIT_EVENTS:]
            os.write(diary, "".join(f"meant {one.id.hex}\n" for one in batch).encode())
            outbox.put_events(batch)
            os.write(diary, "".join(f"stored {one.id.hex}\n" for one in batch).encode())
            committed = now
        outbox.date_events(clock.read(), lambda payload, at, sure: redated(payload, at, 60, sure=sure), settle=True)
        uplink.pump()
    uplink.stop(lambda: will)
    outbox.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
