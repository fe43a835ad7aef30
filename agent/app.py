"""The agent put together: the only file that names concrete classes."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Literal
from uuid import uuid4

from agent import clock
from agent.config import AgentSettings
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import Uplink
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from agent.report import Reporter
from agent.vision.camera import Camera, open_camera
from agent.vision.counter import Counter
from agent.vision.detector import Detection, Detector
from agent.vision.geometry import Line
from agent.vision.pipeline import crossings
from agent.vision.tracker import Tracker
from agent.vision.yolo import Pixels
from contract.crops import Role
from contract.events import PassEvent
from contract.health import Heartbeat
from contract.tls import client_context

TICK_S = 0.1
COMMIT_EVENTS = 20  # events in one commit of the outbox, at most
COMMIT_S = 1.0  # the longest an event waits for its commit

log = logging.getLogger("agent")


class Door:
    """One door at work: a vision thread that counts, and the caller's thread that stores, sends and reports."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._detector = _Meter(Detector.load(settings.model.path, threads=settings.model.threads))
        self._camera: Camera = open_camera(
            settings.camera.source, loop=settings.camera.loop,
            size=(settings.camera.width, settings.camera.height), fps=settings.camera.fps,
        )  # fmt: skip
        self._outbox = Outbox.open(settings.outbox.folder, cap_bytes=settings.outbox.cap_bytes)
        self._reporter = Reporter(
            boot=uuid4(), release=self._detector.manifest.release, accelerator=self._detector.accelerator,
            resolution_s=settings.time_resolution_s, now=clock.now, synchronised=clock.synchronised,
        )  # fmt: skip
        will = Heartbeat(device=settings.device, state="offline", boot=self._reporter.boot)
        identity = settings.broker.identity
        self._uplink = Uplink(
            settings.device, settings.broker.url, self._outbox, last_will=will,
            tls=client_context(identity) if identity else None,
        )  # fmt: skip
        self.gleaner = _gleaner(settings, self._detector)  # None where no crop may leave
        self._begun = time.monotonic()
        self._counted: deque[PassEvent] = deque()
        self._fault: BaseException | None = None
        self._vision = threading.Thread(target=self._look, name="vision", daemon=True)

    def run(self, stop: threading.Event) -> None:
        """Count until `stop` is set or the camera's stream ends; then deliver what can be delivered.

        Raises what stopped the vision thread, if something did.
        """
        self._uplink.start()
        self._vision.start()
        committed, beat = time.monotonic(), 0.0
        while not stop.wait(TICK_S) and self._vision.is_alive():
            now = time.monotonic()
            if len(self._counted) >= COMMIT_EVENTS or (self._counted and now - committed >= COMMIT_S):
                self._commit()
                committed = now
            self._store_crops()
            self._uplink.pump()
            if now - beat >= self._settings.broker.heartbeat_s:
                self._uplink.heartbeat(self._heartbeat("online"))
                beat = now
        self._camera.close()
        self._vision.join(timeout=5.0)
        self._commit()
        self._store_crops(most=1000)
        self._uplink.stop(lambda: self._heartbeat("offline"))
        self._outbox.close()
        if self._fault:
            raise self._fault

    def _look(self) -> None:
        line = Line.of(*self._settings.door.line)
        try:
            for crossing in crossings(
                self._camera.frames(), detector=self._detector, tracker=Tracker(), counter=Counter(line),
                witness=self.gleaner,
            ):  # fmt: skip
                event = self._reporter.event(crossing)
                self._counted.append(event)
                log.info(
                    "pass %d: %s, %s (%.0f %%)", event.sequence, event.direction, event.label, 100 * event.confidence
                )
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for this one
            self._fault = fault

    def _commit(self) -> None:
        events = [self._counted.popleft() for _ in range(len(self._counted))]
        refused = self._outbox.put_events([Letter(event.id, event.encode()) for event in events])
        if refused:
            log.error("the outbox had no room for %d events; they are counted as lost", refused)

    def _store_crops(self, most: int = 5) -> None:
        for crop in self.gleaner.harvest(most) if self.gleaner else []:
            self._outbox.put_crop(Letter(crop.header.id, crop.encode(), protected=crop.header.role is Role.CONTROL))

    def _heartbeat(self, state: Literal["online", "offline"]) -> Heartbeat:
        return Heartbeat(
            device=self._settings.device, state=state, boot=self._reporter.boot, at=clock.now(),
            uptime_s=round(time.monotonic() - self._begun, 1), release=self._detector.manifest.release,
            accelerator=self._detector.accelerator, fps=self._detector.fps(), frames=self._detector.frames,
            frames_dropped=self._camera.dropped, passes=self._reporter.passes,
            waiting=self._outbox.waiting, waiting_bytes=self._outbox.waiting_bytes,
            events_lost=self._outbox.events_lost, crops_lost=self._outbox.crops_lost, trouble=self._trouble(),
        )  # fmt: skip

    def _trouble(self) -> tuple[str, ...]:
        found = [self._camera.trouble] if self._camera.trouble else []
        if self._outbox.disk_full:
            found.append("the disk is full: crops are given up, events come last")
        if self._outbox.files_set_aside:
            found.append(f"{self._outbox.files_set_aside} broken outbox files were set aside")
        return tuple(found)


def _gleaner(settings: AgentSettings, eyes: "_Meter") -> Gleaner | None:
    learning = settings.learning
    if not learning.crops:
        return None
    plan = Plan(learning.budget, control_share=learning.control_share, window_s=float(learning.window_s))
    streams = Streams(control=Random(), priority=Random(), near_miss=Random())  # noqa: S311 - a sample, no secret
    return Gleaner(settings.device, eyes, plan, streams, now=clock.now, resolution_s=settings.time_resolution_s)


class _Meter:
    """A detector that counts its frames and knows how many it did in the last seconds."""

    def __init__(self, detector: Detector, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.manifest = detector.manifest
        self.accelerator = detector.accelerator
        self.frames = 0
        self._detector = detector
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=60)

    def detect(self, pixels: Pixels) -> list[Detection]:
        found = self._detector.detect(pixels)
        self.frames += 1
        self._recent.append(self._clock())
        return found

    def faint(self) -> list[Detection]:
        return self._detector.faint()

    def fps(self) -> float:
        recent = list(self._recent)
        if len(recent) < 2 or self._clock() - recent[-1] > 5.0:
            return 0.0
        return round((len(recent) - 1) / max(1e-6, recent[-1] - recent[0]), 1)
