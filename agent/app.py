"""The agent put together: with `parts`, the only file that names concrete classes."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal
from uuid import uuid4

import cv2

from agent.clock import Clock, Stamp
from agent.config import AgentSettings
from agent.delivery.shelf import Letter
from agent.health.coral import Coral
from agent.health.marker import Marker
from agent.health.opening import Opening
from agent.health.probe import Probe
from agent.health.selftest import Checkup, selftest
from agent.health.steward import Signs
from agent.health.usb import plugged
from agent.parts import gleaner, outbox, steward, uplink
from agent.report import Reporter, redated
from agent.update.exam import Load
from agent.update.keeper import Keeper
from agent.update.slots import Slots
from agent.update.start import Start, choose
from agent.update.wish import Wish
from agent.vision.ahead import ahead
from agent.vision.camera import Camera, open_camera
from agent.vision.counter import Counter
from agent.vision.detector import Detector, Faces
from agent.vision.doorway import Doorway
from agent.vision.frame import Frame
from agent.vision.meter import Meter
from agent.vision.pipeline import count_looks
from agent.vision.tracker import Tracker
from agent.vision.watch import Watch
from agent.vision.yolo import Fitted, letterbox
from contract.crops import Role
from contract.errors import TryAgainError
from contract.events import PassEvent
from contract.fleet import Reported
from contract.health import Coverage, Heartbeat
from contract.trouble import Trouble, words_for

TICK_S = 0.1
LOOKS_AHEAD = 2  # with 1 the interpreter would wait until somebody woke up and took its answer
COMMIT_EVENTS = 20  # events in one commit of the outbox, at most
COMMIT_S = 1.0  # the longest an event waits for its commit
CLOCK_STEP_S = 30.0  # a wall clock that was set by more than this makes the last report's time wrong
WHOLE_COVERAGE_EVERY = 360  # heartbeats between two with all the coverage that is remembered
REPORT_EVERY = 6  # heartbeats between two reports of the same

log = logging.getLogger("agent")


class Door:
    """One door at work: a vision thread that counts, and the caller's thread that stores, sends and reports.

    The vision thread has the next frame made ready and looked at ahead, each in a thread of its own.
    """

    def __init__(self, settings: AgentSettings, *, update_arguments: Sequence[str] = ()) -> None:
        """`update_arguments` is what a child `agent update` needs to read the same settings."""
        self._settings = settings
        # By itself it takes every core, and is slower for that on small frames.
        cv2.setNumThreads(settings.model.threads)
        self._load: Load = partial(Detector.load, threads=settings.model.threads)
        slots = Slots(settings.update.folder, settings.model.path) if settings.update.url else None
        start = choose(slots, self._load) if slots else Start(self._load(settings.model.path), settings.model.path)
        self._detector = Meter(start.detector, fallback=start.fallback)
        first = selftest(start.detector, start.model)  # before the camera opens
        self._camera: Camera = open_camera(
            settings.camera.source, loop=settings.camera.loop,
            size=(settings.camera.width, settings.camera.height), fps=settings.camera.fps,
            exposure=settings.camera.exposure, crops=settings.learning.crops,
        )  # fmt: skip
        self._watch = Watch(time.monotonic())
        self._clock = Clock.of_this_boot()
        self._outbox = outbox(settings)
        self._reporter = Reporter(
            boot=uuid4(), release=self._detector.release_at, accelerator=self._detector.accelerator_at,
            resolution_s=settings.time_resolution_s, read=self._clock.read,
        )  # fmt: skip
        self._uplink = uplink(settings, self._outbox, self._reporter.boot)
        self.gleaner = gleaner(settings, self._clock)  # None where no crop may leave
        self._wish = Wish(settings.device, settings.update.folder if slots else None)
        self._keeper = Keeper(
            settings.update, slots, self._wish, self._detector, start, load=self._load, arguments=update_arguments,
            jitter=Random().random,  # noqa: S311 - it spreads tries, no secret
        )  # fmt: skip
        library = settings.model.edgetpu_library
        self._coral = Coral(
            settings.model, self._detector, Marker(settings.outbox.folder), probe=partial(Probe, library=library),
            load=partial(Detector.load_on_edge_tpu, library=library), plugged=partial(plugged, Path("/")),
        )  # fmt: skip
        self._checkup = Checkup(
            self._detector, lambda: None if self._keeper.on_trial else self._keeper.model, first=first
        )
        doorway = settings.door.doorway()
        self._tracker, self._counter = Tracker(doorway.zone), Counter(*doorway.lines)
        self._doorway: Doorway | None = None  # what counts now, once that was settled
        self._told: object = None  # what the cloud was last told of this door's release
        self._clock_offset = 0.0
        self._beats = 0
        self._whole_told: object = None  # when the cloud was last told all of the coverage
        self._begun = time.monotonic()
        self._framed: float | None = None  # when the newest frame came
        self._committed = self._begun  # when there was last nothing left to commit
        self._steward = steward(settings, self._begun)
        self._counted: deque[tuple[PassEvent, Stamp | None]] = deque()
        self._fault: BaseException | None = None
        self._vision = threading.Thread(target=self._look, name="vision", daemon=True)

    def run(self, stop: threading.Event) -> None:
        """Count until `stop` is set or the camera's stream ends; then deliver what can be delivered.

        Raises what stopped the vision thread, if something did.
        """
        self._obey_sampling()
        self._obey_door()
        self._obey_opening()
        self._uplink.start()
        self._vision.start()
        beat = 0.0
        while not stop.wait(TICK_S) and self._vision.is_alive():
            now = time.monotonic()
            if not self._counted:
                self._committed = now
            elif len(self._counted) >= COMMIT_EVENTS or now - self._committed >= COMMIT_S:
                self._commit()
                self._committed = now
            self._steward.tick(now, self._signs(now))
            self._store_crops()
            self._date_events()
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
        self._coral.close()
        self._commit()
        self._store_crops(most=1000)
        self._date_events()
        self._steward.close(time.monotonic())
        self._uplink.stop(lambda: self._heartbeat("offline"))
        self._outbox.close()
        if self._fault:
            raise self._fault

    def _look(self) -> None:
        try:
            for crossing in count_looks(
                self._stream(), tracker=self._tracker, counter=self._counter, witness=self.gleaner
            ):
                event, stamp = self._reporter.event(crossing)
                self._counted.append((event, stamp))
                log.info(
                    "pass %d: %s, %s (%.0f %%)", event.sequence, event.direction, event.label, 100 * event.confidence
                )
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for this one
            self._fault = fault

    def _stream(self) -> Iterator[tuple[Frame, Faces]]:
        """While one frame is counted, the interpreter has the next, and the one after that is made ready for it."""
        return ahead(self._looks(ahead(self._fitted(), name="frames")), LOOKS_AHEAD, name="looks")

    def _frames(self) -> Iterator[Frame]:
        for frame in self._camera.frames():
            self._framed = time.monotonic()
            self._watch.see(frame.pixels, self._framed)
            if self._steward.pace.take(frame.at_s):
                yield frame
            self._watch.wait(time.monotonic())

    def _fitted(self) -> Iterator[tuple[Frame, Fitted]]:
        for frame in self._frames():
            yield frame, letterbox(frame.pixels, self._detector.manifest.input_size)

    def _looks(self, fitted: Iterator[tuple[Frame, Fitted]]) -> Iterator[tuple[Frame, Faces]]:
        """All that the interpreter does, for one thread alone."""
        for frame, picture in fitted:
            self._detector.at_s = frame.at_s
            self._checkup.between()
            yield frame, self._detector.look(frame.pixels, picture)

    def _obey(self, now: float) -> None:
        """Take the cloud's newest wish, go a step towards it, and say where that leads."""
        news = [self._wish.take(payload) for payload in self._uplink.wishes()]
        if any(news):
            self._keeper.hear(now)
            self._obey_sampling()
            self._obey_door()
            self._obey_opening()
        hot = not self._steward.accelerator_allowed
        self._coral.tick(now, self._keeper.model, on_trial=self._keeper.on_trial, hot=hot)
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
        reason = "; ".join(filter(None, (standing.reason, self._wish.fault)))[:300]
        news = (standing, reason, manifest.release, self._uplink.connections, self._clock_offset, turn)
        if news == self._told:
            return
        report = Reported(
            device=self._settings.device, at=self._clock.now(), release=manifest.release, digest=manifest.digest,
            step=standing.step, wanted=standing.wanted, number=standing.number, reason=reason,
        )  # fmt: skip
        if self._uplink.report(report):
            self._told = news

    def _obey_sampling(self) -> None:
        if self.gleaner and self._wish.newest:
            self.gleaner.set_plan(self._wish.newest.sampling)

    def _obey_door(self) -> None:
        """Count as the cloud wants it, or else as the settings say; between two frames, and the cloud's word is checked."""
        plan = self._wish.newest.door if self._wish.newest else None
        doorway = Doorway.planned(plan) if plan else self._settings.door.doorway()
        if doorway == self._doorway:
            return
        self._doorway = doorway
        self._counter.exchange(doorway.lines)
        self._tracker.zone = doorway.zone
        if self.gleaner:
            self.gleaner.set_zone(doorway.zone)
        log.info(
            "counting at %d lines%s, as %s",
            len(doorway.lines),
            " within a zone" if doorway.zone else "",
            "the cloud wants" if plan else "the settings say",
        )

    def _obey_opening(self) -> None:
        plan = self._wish.newest.opening if self._wish.newest else None
        self._steward.set_opening(Opening.planned(plan) if plan else self._settings.door.opening())

    def _commit(self) -> None:
        events = [self._counted.popleft() for _ in range(len(self._counted))]
        refused = self._outbox.put_events([Letter(one.id, one.encode(), stamp=stamp) for one, stamp in events])
        if refused:
            log.error("the outbox had no room for %d events; they are counted as lost", refused)

    def _date_events(self) -> None:
        """Put events right that were counted before the time was known; once connected, wait for it only so long."""
        now, resolution_s = self._clock.read(), self._settings.time_resolution_s
        self._outbox.date_events(
            now, lambda payload, at, sure: redated(payload, at, resolution_s, sure=sure),
            settle=self._uplink.connected_for_s >= self._settings.outbox.clock_wait_s,
        )  # fmt: skip
        self._outbox.tend(now)

    def _store_crops(self, most: int = 5) -> None:
        for crop in self.gleaner.harvest(most) if self.gleaner else []:
            self._outbox.put_crop(Letter(crop.header.id, crop.encode(), protected=crop.header.role is Role.CONTROL))

    def _signs(self, now: float) -> Signs:
        waiting = self._outbox.waiting
        return Signs(
            frames=self._detector.frames, framed_s=self._framed, looking_s=self._detector.stuck_s(),
            uncommitted_s=now - self._committed if self._counted else 0.0, camera_trouble=self._camera.trouble,
            faces=self._detector.found, release=self._detector.manifest.release,
            summary=f"{self._detector.fps():g} frames a second, {self._reporter.passes} passes, {waiting} letters wait",
        )  # fmt: skip

    def _heartbeat(self, state: Literal["online", "offline"]) -> Heartbeat:
        trouble, words = self._trouble()
        return Heartbeat(
            device=self._settings.device, state=state, boot=self._reporter.boot, at=self._clock.now(),
            uptime_s=round(time.monotonic() - self._begun, 1), release=self._detector.manifest.release,
            accelerator=self._detector.accelerator, fps=self._detector.fps(), frames=self._detector.frames,
            frames_dropped=self._camera.dropped, passes=self._reporter.passes,
            waiting=self._outbox.waiting, waiting_bytes=self._outbox.waiting_bytes,
            events_lost=self._outbox.events_lost, crops_lost=self._outbox.crops_lost, trouble=trouble, trouble_words=words,
            board=self._steward.board, coverage=self._coverage(), drift=self._steward.drift,
            certificate_ends=self._uplink.certificate_ends,
        )  # fmt: skip

    def _coverage(self) -> Coverage:
        """All that is remembered after every connect and once an hour, else the last day."""
        turn = (self._uplink.connections, self._beats // WHOLE_COVERAGE_EVERY)
        whole, self._whole_told = turn != self._whole_told, turn
        return self._steward.coverage(time.monotonic(), whole=whole)

    def _trouble(self) -> tuple[tuple[str, ...], tuple[Trouble, ...]]:
        """In sentences, and in words for programs."""
        trouble = self._camera.trouble
        found = [trouble] if trouble else self._watch.trouble(time.monotonic())
        found += [one for one in (self._coral.trouble, self._checkup.fault, self._uplink.trouble) if one]
        if self._outbox.disk_full:
            found.append("the disk is full: crops are given up, events come last")
        if self._outbox.disk_away:
            found.append(f"the disk takes nothing: {self._outbox.in_memory} events are in memory alone")
        if self._outbox.undated:
            found.append(f"{self._outbox.undated} events wait for the right time")
        if self._outbox.files_set_aside:
            found.append(f"{self._outbox.files_set_aside} broken outbox files were set aside")
        found += self._steward.trouble()
        told = tuple(one[:200] for one in found[:10])  # as much as a heartbeat holds
        return told, ((Trouble.CAMERA_AWAY, *words_for(told[1:])) if trouble else words_for(told))
