"""How a door is doing: the heartbeat it sends, and the last will that the broker sends in its place."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contract.events import Accelerator
from contract.identity import DeviceId
from contract.wire import SCHEMA_VERSION, Count, Instant, SchemaVersion, Wire

HEALTH_LIMIT = 8 * 1024  # bytes of one health message


class Heartbeat(Wire):
    """The payload of a `health` message; `state` is `offline` only in the last will and in an orderly goodbye."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    device: DeviceId
    state: Literal["online", "offline"]
    boot: UUID
    at: Instant | None = Field(default=None, description="When it was written; absent in the last will.")
    uptime_s: Annotated[float, Field(ge=0)] = 0.0
    release: Count = Field(default=0, description="Release number of the running model.")
    accelerator: Accelerator = Accelerator.CPU
    fps: Annotated[float, Field(ge=0, le=1000)] = Field(default=0.0, description="Frames analysed a second, lately.")
    frames: Count = Field(default=0, description="Frames analysed since the start.")
    frames_dropped: Count = Field(default=0, description="Frames that came while another was being analysed.")
    passes: Count = Field(default=0, description="Passes counted in this boot: the next event's sequence number.")
    waiting: Count = Field(default=0, description="Letters in the outbox.")
    waiting_bytes: Count = 0
    events_lost: Count = Field(default=0, description="Events refused or evicted by a full outbox, ever.")
    crops_lost: Count = Field(default=0, description="Crops evicted by a full outbox, ever.")
    trouble: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=10)] = ()
