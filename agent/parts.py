"""The parts that `agent run` and its safe mode are put together from, each out of the settings."""

import time
from random import Random
from uuid import UUID

from agent.clock import Clock, synchronised
from agent.config import AgentSettings
from agent.delivery.credentials import Credentials
from agent.delivery.outbox import Outbox
from agent.delivery.uplink import Uplink
from agent.health.notify import Notifier
from agent.health.steward import Steward
from agent.learning.gleaner import Gleaner
from agent.learning.sampler import Plan, Streams
from contract.health import Heartbeat


def outbox(settings: AgentSettings) -> Outbox:
    """What waits for the cloud."""
    return Outbox.open(
        settings.outbox.folder, cap_bytes=settings.outbox.cap_bytes, crop_days=settings.outbox.crop_days,
        event_days=settings.outbox.event_days,
    )  # fmt: skip


def uplink(settings: AgentSettings, outbox: Outbox, boot: UUID) -> Uplink:
    """The way to the broker, whose last will says that this door is gone."""
    identity = settings.broker.identity
    return Uplink(
        settings.device, settings.broker.url, outbox,
        last_will=Heartbeat(device=settings.device, state="offline", boot=boot),
        tls=Credentials(identity) if identity else None, protocol=settings.broker.protocol,
        drain_per_s=settings.outbox.drain_per_s,
    )  # fmt: skip


def steward(settings: AgentSettings, begun_s: float) -> Steward:
    """Who measures, remembers and answers the watchdog."""
    return Steward(
        settings.door.opening(), settings.outbox.folder, begun_s=begun_s, wall=time.time,
        synchronised=synchronised, notifier=Notifier.from_environment(),
    )  # fmt: skip


def gleaner(settings: AgentSettings, clock: Clock) -> Gleaner | None:
    """Who picks crops; None where no crop may leave this door."""
    learning = settings.learning
    if not learning.crops:
        return None
    plan = Plan(learning.budget, control_share=learning.control_share, window_s=float(learning.window_s))
    streams = Streams(control=Random(), priority=Random(), near_miss=Random())  # noqa: S311 - a sample, no secret
    return Gleaner(settings.device, plan, streams, now=clock.now, resolution_s=settings.time_resolution_s)
