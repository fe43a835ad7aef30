"""What a door needs to be given a release in a test: files, a web server that can misbehave, a cloud's end of the broker."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.config import FACTORY_MODEL
from agent.vision.detector import Detector
from contract.events import Acknowledgement
from contract.fleet import Desired, Reported, SamplingPlan
from contract.golden import GoldenDetection, GoldenFrame, write_golden
from contract.health import Heartbeat
from contract.release import COMPILED_NAME, GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME
from contract.topics import Channel, Topic, every
from rehearsal.scene import Scene
from tests.agent.edgetpu_kit import compiled_facts

DEVICE = "door-1"
FACTORY_RELEASE = int(json.loads(FACTORY_MODEL.with_name(MANIFEST_NAME).read_text())["release"])


@cache
def golden(*, wrong: bool = False) -> bytes:
    """Three drawn frames and what the factory model finds in them; or `wrong`: one face that nobody finds."""
    scene = Scene("passage", seed=31, people=6, gap_s=0.5)
    detector = Detector.load(FACTORY_MODEL)
    frames = []
    for index in (45, 60, 75):
        pixels, _ = scene.render(index)
        found = [
            GoldenDetection(
                label=one.label, confidence=one.confidence, box=(one.box.x0, one.box.y0, one.box.x1, one.box.y1)
            )
            for one in detector.detect(pixels)
        ]
        if wrong:
            found.append(GoldenDetection(label=found[0].label, confidence=0.9, box=(0.0, 0.9, 0.1, 1.0)))
        frames.append(GoldenFrame(cv2.imencode(".png", pixels)[1].tobytes(), tuple(found)))
    assert any(frame.detections for frame in frames)
    return write_golden(frames)


def release_files(
    release: int, *, model: bytes | None = None, frames: bytes | None = None, compiled: bytes | None = None
) -> dict[str, bytes]:
    """The factory model once more under another number, or other bytes under its manifest; with a file for the Edge TPU, if given."""
    content = FACTORY_MODEL.read_bytes() if model is None else model
    archive = golden() if frames is None else frames
    manifest = json.loads(FACTORY_MODEL.with_name(MANIFEST_NAME).read_text())
    manifest |= {
        "release": release, "golden_digest": sha256(archive).hexdigest(),
        "digest": sha256(content).hexdigest(), "size": len(content),
    }  # fmt: skip
    files = {MODEL_NAME: content, GOLDEN_NAME: archive}
    if compiled is not None:
        manifest["edge_tpu"] = compiled_facts(compiled)
        files[COMPILED_NAME] = compiled
    return files | {MANIFEST_NAME: json.dumps(manifest).encode()}


class Web(ThreadingHTTPServer):
    """Files of a folder, with ranges; `alter` may answer a path in another way."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
        self.answers: list[tuple[str, int]] = []  # path and status, as they were given
        self.alter: Callable[[_Files], bool] = lambda request: False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tuf"

    @contextmanager
    def serving(self) -> Iterator["Web"]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the game."""


class _Files(SimpleHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        if self.server.alter(self):
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content, begin = path.read_bytes(), 0
        if wish := self.headers.get("Range"):
            begin = int(wish.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if wish else 200)
        if wish:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:])

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        self.server.answers.append((self.path, int(code)))

    def log_message(self, *_: Any) -> None:
        pass


class Cloud:
    """The cloud's end of an open broker: wishes go out retained, what the door says is kept and acknowledged."""

    def __init__(self, port: int) -> None:
        self.reports: list[Reported] = []
        self.beats: list[Heartbeat] = []
        self.events: list[dict[str, Any]] = []
        self._number = 0
        ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(every(channel), 1) for channel in (Channel.REPORTED, Channel.HEALTH, Channel.EVENTS)])
        self._client.loop_start()
        assert ready.wait(5)

    def want(self, release: int, *, number: int | None = None, sampling: SamplingPlan | None = None) -> None:
        """Ask the door for a release."""
        self._number = self._number + 1 if number is None else number
        self.say(Desired(device=DEVICE, number=self._number, release=release, sampling=sampling).encode())

    def say(self, payload: bytes) -> None:
        """A `desired` message of these bytes, retained."""
        sent = self._client.publish(Topic(DEVICE, Channel.DESIRED).text, payload, qos=1, retain=True)
        sent.wait_for_publish(5)

    @property
    def last(self) -> Reported | None:
        return self.reports[-1] if self.reports else None

    def told(self, release: int, step: str, wanted: int | None = None) -> bool:
        """Whether the newest report says so."""
        last = self.last
        return (
            last is not None
            and (last.release, last.step) == (release, step)
            and (wanted is None or last.wanted == wanted)
        )

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        channel = Topic.parse(message.topic).channel
        if channel is Channel.REPORTED:
            self.reports.append(Reported.decode(bytes(message.payload), limit=10_000))
        elif channel is Channel.HEALTH:
            self.beats.append(Heartbeat.decode(bytes(message.payload), limit=10_000))
        else:
            events = json.loads(message.payload)["events"]
            self.events += events
            stored = Acknowledgement(stored=tuple(UUID(one["id"]) for one in events))
            self._client.publish(Topic(DEVICE, Channel.ACKS).text, stored.encode(), qos=1)
