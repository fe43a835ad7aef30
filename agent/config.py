"""What a door agent must be told; everything else has a default."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from agent.health.opening import Opening
from agent.learning.sampler import LEAST_CONTROL
from agent.vision.doorway import Doorway
from agent.vision.geometry import Line, Zone
from contract.errors import ContractError
from contract.events import LineName
from contract.identity import DeviceId
from contract.release import MODEL_NAME
from contract.settings import BrokerUrl, MqttProtocol, Settings, broker_address

FACTORY_MODEL = Path(__file__).parent / "models" / "factory" / MODEL_NAME


class CameraSettings(Settings):
    """`[camera]`: where frames come from."""

    source: str = "picamera"
    """`picamera`, a USB camera's number (`0`) or its file in `/dev`, an `rtsp://` address, or the path of a clip that is played as if live."""
    loop: bool = False
    """Start a clip again at its end."""
    width: Annotated[int, Field(ge=160, le=1920)] = 1280
    """Frame width in px asked of the Pi's camera; crops are cut from it. The detector gets the same view, about 320 px wide."""
    height: Annotated[int, Field(ge=120, le=1080)] = 720
    """Frame height in px asked of the Pi's camera."""
    exposure: Literal["normal", "backlit"] = "normal"
    """`backlit` where daylight stands behind the people: the Pi's camera then exposes for the shadows, for 33 ms at most."""
    fps: Annotated[float, Field(gt=0, le=60)] = 15.0
    """The most frames a second to look at; counting needs 12 or more."""


class LineSettings(Settings):
    """`[[door.lines]]`: one of several lines."""

    name: LineName
    """What its passes are called by: 1 to 39 of a-z, 0-9 and `-`."""
    line: tuple[float, float, float, float]
    """x0,y0,x1,y1 as in `door.line`."""


class DoorSettings(Settings):
    """`[door]`: what counts as passing."""

    line: tuple[float, float, float, float] = (0.0, 0.5, 1.0, 0.5)
    """The threshold x0,y0,x1,y1 in the unit square, y down; crossing to its right-hand side is `in` (here: downwards)."""
    lines: tuple[LineSettings, ...] = ()
    """Several of them instead, each `[[door.lines]]` with a `name` (of a-z, 0-9 and `-`) and a `line` of its own."""
    zone: tuple[tuple[float, float], ...] = ()
    """Corners [x, y] of a polygon in the unit square; faces outside are not followed. Empty: the whole picture."""
    open: tuple[str, ...] = ()
    """Opening hours, `["mon-fri 08:00-20:00", "sat 10:00-02:00"]`; only they count as coverage. Counting never pauses. Empty: always."""
    time_zone: str = "UTC"
    """The zone that `open` is meant in, like `Europe/Paris`."""

    @model_validator(mode="after")
    def _a_doorway(self) -> Self:
        if self.lines and "line" in self.model_fields_set:
            raise ValueError("either one line or several lines, not both")
        try:
            self.doorway()
            self.opening()
        except ContractError as error:
            raise ValueError(str(error)) from error
        return self

    def doorway(self) -> Doorway:
        """The same as lines and a polygon."""
        lines = [Line.of(*one.line, name=one.name) for one in self.lines] or [Line.of(*self.line)]
        return Doorway.of(lines, Zone.of(self.zone) if self.zone else None)

    def opening(self) -> Opening:
        """The opening hours, ready to ask."""
        return Opening.of(self.open, self.time_zone)


class ModelSettings(Settings):
    """`[model]`: what looks at the frames."""

    path: Path = FACTORY_MODEL
    """A full-integer TFLite file with its `manifest.json` beside it; by default the one the agent came with."""
    threads: Annotated[int, Field(ge=1, le=4)] = 1
    """Interpreter threads on the CPU."""
    accelerator: Literal["auto", "edgetpu", "cpu"] = "auto"
    """`auto`: the Coral where the model has a file for it and the stick answers, else the CPU; `edgetpu`: the same, and a heartbeat says
    so wherever it is not the Coral; `cpu`: never the Coral."""
    edgetpu_library: str = "libedgetpu.so.1"
    """The Edge TPU's library: a name that the system finds, or a path."""


class BrokerSettings(Settings):
    """`[broker]`: where events go."""

    url: BrokerUrl = "mqtt://127.0.0.1:1883"
    """`mqtts://host:port` of the broker; `mqtt://` only on this machine, for a quick try."""
    protocol: MqttProtocol = "5"
    """The MQTT that the broker speaks: `5`, or `3.1.1` for one that knows no other (NATS)."""
    identity: Path | None = None
    """The door's identity folder (`key.pem`, `certificate.pem`, `ca.pem`), as `provisioning enrol` made it; for `mqtts`.
    A renewed one is in use from the next connection on, which the agent makes within an hour; the one before helps out until it is accepted."""
    heartbeat_s: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """Seconds between two heartbeats."""

    @model_validator(mode="after")
    def _with_identity(self) -> Self:
        if broker_address(self.url).tls and self.identity is None:
            raise ValueError("mqtts needs an identity folder: set identity beside url; `provisioning enrol` makes one")
        return self


class OutboxSettings(Settings):
    """`[outbox]`: what waits for the cloud's acknowledgement."""

    folder: Path = Path("/var/lib/maskfleet/outbox")
    """A folder of the agent's own; made if missing."""
    cap_bytes: Annotated[int, Field(ge=64 * 1024)] = 200 * 1024 * 1024
    """Most bytes kept; over it the oldest crops go first, and events are refused last."""
    crop_days: Annotated[int, Field(ge=1, le=7)] = 7
    """Crops that the cloud has not fetched after so many days are given up, and counted."""
    event_days: Annotated[int, Field(ge=30)] | None = None
    """Events older than so many days are given up, and counted; by default only `cap_bytes` bounds them."""
    drain_per_s: Annotated[float, Field(gt=0, le=10_000)] = 60.0
    """Events a second at which a back-log is sent after a new connection; what is counted now goes first, at once."""
    clock_wait_s: Annotated[float, Field(ge=0, le=86_400)] = 120.0
    """Once connected, events counted before the clock was set wait so long for NTP; then they go out flagged, as dated."""


class LearningSettings(Settings):
    """`[learning]`: whether, and how many, pictures of single faces may leave this door to be labelled."""

    crops: bool = False
    """Send crops: one face each, eyes and other faces filled. Off unless this door's operator decides otherwise."""
    window_s: Annotated[int, Field(ge=10, le=86_400)] = 7200
    """Length of a sampling window in s, unless the cloud asks for another."""
    budget: Annotated[int, Field(ge=0, le=200)] = 20
    """Most crops of one window, unless the cloud asks for another number."""
    control_share: Annotated[float, Field(ge=LEAST_CONTROL, le=1)] = LEAST_CONTROL
    """Share of the budget drawn evenly from all passes; half is good in the first week of a door or a model."""


class UpdateSettings(Settings):
    """`[update]`: where signed releases come from."""

    url: str = ""
    """`https://HOST[:PORT]/tuf`, or http:// for a loopback host; empty: the door keeps the model it has."""
    ca: Path | None = None
    """PEM file of the authority that signed the server's certificate; by default the system's."""
    folder: Path = Path("/var/lib/maskfleet/models")
    """A folder of the agent's own for downloaded releases; made if missing."""
    root: Path | None = None
    """The first trusted TUF root metadata, which came with the enrolment; needed where `url` is set."""
    deadline_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    """The longest that one fetch of a release may take, s; the next one goes on where it stopped."""
    check_s: Annotated[float, Field(ge=0.1, le=3600)] = 60.0
    """Pause after a fetch that failed, s; it doubles up to 16 times that, and is 64 times that for a refused release."""
    confirm_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """How long a release must look at live frames without a fault before it is kept, s."""

    @field_validator("url")
    @classmethod
    def _a_safe_address(cls, value: str) -> str:
        parts = urlsplit(value)
        safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        )
        if value and not (safe and parts.hostname and parts.path and "@" not in value and not parts.query):
            raise ValueError("write https://HOST:PORT/tuf; plain http only to this machine itself")
        return value


class AgentSettings(Settings):
    """The agent's settings file, TOML."""

    device: DeviceId
    """This door's name: 2 to 39 of a-z, 0-9 and `-`."""
    time_resolution_s: Annotated[int, Field(ge=1, le=3600)] = 60
    """Passes are stamped no finer than this many seconds, for privacy."""
    camera: CameraSettings = CameraSettings()
    door: DoorSettings = DoorSettings()
    model: ModelSettings = ModelSettings()
    broker: BrokerSettings = BrokerSettings()
    outbox: OutboxSettings = OutboxSettings()
    learning: LearningSettings = LearningSettings()
    update: UpdateSettings = UpdateSettings()
