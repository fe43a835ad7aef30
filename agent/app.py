"""The agent put together: the only file that names concrete classes."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from typing import Literal
from uuid import uuid4

import cv2

from agent import clock
from agent.config import AgentSettings
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import Uplink
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from agent.report import Reporter
from agent.update.exam import Load
from agent.update.keeper import Keeper
from agent.update.slots import Slots
from agent.update.start import Start, choose
from agent.update.wish import Wish
from agent.vision.camera import Camera, Frame, open_camera
from agent.vision.counter import Counter
from agent.vision.detector import Detector
from agent.vision.geometry import Line
from agent.vision.meter import Meter
from agent.vision.pipeline import crossings
from agent.vision.tracker import Tracker
from contract.crops import Role
from contract.errors import TryAgainError
from contract.events import PassEvent
from contract.fleet import Reported
from contract.health import Heartbeat
from contract.tls import client_context

TICK_S = 0.1
COMMIT_EVENTS = 20  # events in one commit of the outbox, at most
COMMIT_S = 1.0  # the longest an event waits for its commit
CLOCK_STEP_S = 30.0  # a wall clock that was set by more than this makes the last report's time wrong
REPORT_EVERY = 6  # heartbeats between two reports of the same

log = logging.getLogger("agent")


class Door:
    """One door at work: a vision thread that counts, and the caller's thread that stores, sends and reports."""

    def __init__(self, settings: AgentSettings, *, update_arguments: Sequence[str] = ()) -> None:
        """`update_arguments` is what a child `agent update` needs to read the same settings."""
        self._settings = settings
        cv2.setNumThreads(
            settings.model.threads
        )  # by itself it takes every core, and is slower for that on small frames
        self._load: Load = partial(Detector.load, threads=settings.model.threads)
        slots = Slots(settings.update.folder, settings.model.path) if settings.update.url else None
        start = choose(slots, self._load) if slots else Start(self._load(settings.model.path), settings.model.path)
        self._detector = Meter(start.detector, fallback=start.fallback)
        self._camera: Camera = open_camera(
            settings.camera.source, loop=settings.camera.loop,
            size=(settings.camera.width, settings.camera.height), fps=settings.camera.fps,
        )  # fmt: skip
        self._outbox = Outbox.open(settings.outbox.folder, cap_bytes=settings.outbox.cap_bytes)
        self._reporter = Reporter(
            boot=uuid4(), release=self._detector.release_at, accelerator=self._detector.accelerator,
            resolution_s=settings.time_resolution_s, now=clock.now, synchronised=clock.synchronised,
        )  # fmt: skip
        will = Heartbeat(device=settings.device, state="offline", boot=self._reporter.boot)
        identity = settings.broker.identity
        self._uplink = Uplink(
            settings.device, settings.broker.url, self._outbox, last_will=will,
            tls=client_context(identity) if identity else None,
        )  # fmt: skip
        self.gleaner = _gleaner(settings, self._detector)  # None where no crop may leave
        self._wish = Wish(settings.device, settings.update.folder if slots else None)
        self._keeper = Keeper(
            settings.update, slots, self._wish, self._detector, start, load=self._load, arguments=update_arguments,
            jitter=Random().random,  # noqa: S311 - it spreads tries, no secret
        )  # fmt: skip
        self._told: object = None  # what the cloud was last told of this door's release
        self._clock_offset = 0.0
        self._beats = 0
        self._begun = time.monotonic()
        self._counted: deque[PassEvent] = deque()
        self._fault: BaseException | None = None
        self._vision = threading.Thread(target=self._look, name="vision", daemon=True)

    def run(self, stop: threading.Event) -> None:
        """Count until `stop` is set or the camera's stream ends; then deliver what can be delivered.

        Raises what stopped the vision thread, if something did.
        """
        self._obey_sampling()
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
            try:
                self._obey(now)
            except TryAgainError as fault:
                self._fault = fault
                break
            if now - beat >= self._settings.broker.heartbeat_s:
                self._uplink.heartbeat(self._heartbeat("online"))
                self._beats += 1
                beat = now
        self._camera.close()
        self._keeper.close()
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
                self._frames(), detector=self._detector, tracker=Tracker(), counter=Counter(line),
                witness=self.gleaner,
            ):  # fmt: skip
                event = self._reporter.event(crossing)
                self._counted.append(event)
                log.info(
                    "pass %d: %s, %s (%.0f %%)", event.sequence, event.direction, event.label, 100 * event.confidence
                )
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for this one
            self._fault = fault

    def _frames(self) -> Iterator[Frame]:
        for frame in self._camera.frames():
            self._detector.at_s = frame.at_s
            yield frame

    def _obey(self, now: float) -> None:
        """Take the cloud's newest wish, go a step towards it, and say where that leads."""
        news = [self._wish.take(payload) for payload in self._uplink.wishes()]
        if any(news):
            self._keeper.hear(now)
            self._obey_sampling()
        self._keeper.tick(now)
        self._tell()

    def _tell(self) -> None:
        """Report at every change, after every connect, when the clock was set, and now and then: the newest report counts.

        Now and then, since a broker drops what comes before the cloud has ever listened.
        """
        offset = time.time() - time.monotonic()
        if abs(offset - self._clock_offset) > CLOCK_STEP_S:
            self._clock_offset = offset
        manifest, standing = self._detector.manifest, self._keeper.standing()
        turn = self._beats // REPORT_EVERY
        news = (standing, manifest.release, self._uplink.connections, self._clock_offset, turn)
        if news == self._told:
            return
        report = Reported(
            device=self._settings.device, at=clock.now(), release=manifest.release, digest=manifest.digest,
            step=standing.step, wanted=standing.wanted, number=standing.number, reason=standing.reason,
        )  # fmt: skip
        if self._uplink.report(report):
            self._told = news

    def _obey_sampling(self) -> None:
        if self.gleaner and self._wish.newest:
            self.gleaner.set_plan(self._wish.newest.sampling)

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


def _gleaner(settings: AgentSettings, eyes: Meter) -> Gleaner | None:
    learning = settings.learning
    if not learning.crops:
        return None
    plan = Plan(learning.budget, control_share=learning.control_share, window_s=float(learning.window_s))
    streams = Streams(control=Random(), priority=Random(), near_miss=Random())  # noqa: S311 - a sample, no secret
    return Gleaner(settings.device, eyes, plan, streams, now=clock.now, resolution_s=settings.time_resolution_s)
