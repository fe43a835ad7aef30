"""Safe mode: what a door that keeps failing still does, when systemd has given up starting it."""

import threading
import time
from typing import Literal
from uuid import uuid4

from agent.clock import Clock
from agent.config import AgentSettings
from agent.health.steward import Signs
from agent.parts import outbox, steward, uplink
from contract.health import Heartbeat
from contract.trouble import words_for

TICK_S = 0.1
SAFE_S = 900.0  # how long safe mode lasts before the agent is tried again
SAFE = "safe mode: the agent ended again and again, so this door does not count; see its journal"


class Refuge:
    """Safe mode: no camera and no model; delivers what waits, and says that this door does not count."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._boot, self._begun = uuid4(), time.monotonic()
        self._clock = Clock.of_this_boot()
        self._outbox = outbox(settings)
        self._uplink = uplink(settings, self._outbox, self._boot)
        self._steward = steward(settings, self._begun)

    def run(self, stop: threading.Event, *, for_s: float = SAFE_S) -> None:
        """Until `stop` is set or `for_s` s are over."""
        self._uplink.start()
        beat = float("-inf")
        signs = Signs(0, None, 0.0, 0.0, SAFE, (), 0, SAFE)
        while not stop.wait(TICK_S) and (now := time.monotonic()) - self._begun < for_s:
            self._steward.tick(now, signs)
            self._uplink.pump()
            if self._uplink.connected and now - beat >= self._settings.broker.heartbeat_s:
                self._uplink.heartbeat(self._heartbeat("online"))
                beat = now
        self._steward.close(time.monotonic())
        self._uplink.stop(lambda: self._heartbeat("offline"))
        self._outbox.close()

    def _heartbeat(self, state: Literal["online", "offline"]) -> Heartbeat:
        now, trouble = time.monotonic(), (SAFE, *self._steward.trouble())
        return Heartbeat(
            device=self._settings.device, state=state, boot=self._boot, at=self._clock.now(),
            uptime_s=round(now - self._begun, 1), waiting=self._outbox.waiting,
            waiting_bytes=self._outbox.waiting_bytes, events_lost=self._outbox.events_lost,
            crops_lost=self._outbox.crops_lost, board=self._steward.board,
            coverage=self._steward.coverage(now, whole=False), trouble=trouble, trouble_words=words_for(trouble),
            certificate_ends=self._uplink.certificate_ends,
        )  # fmt: skip
