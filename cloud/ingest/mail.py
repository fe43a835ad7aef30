"""What doors should run, on its way to the broker: retained, and done only when the broker has confirmed it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from paho.mqtt.client import Client, MQTTMessageInfo

from contract.errors import TryAgainError
from contract.fleet import Desired
from contract.topics import Channel, Topic

EVERY_S = 1.0
AGAIN_S = 30.0  # after which an unconfirmed wish is sent once more


class Wishes(Protocol):
    """Where the wishes are kept; both methods raise TryAgainError while that is impossible."""

    def waiting(self) -> Sequence[Desired]:
        """Those the broker has not confirmed."""

    def published(self, device: str, number: int, now: datetime) -> None:
        """The broker has confirmed this one."""


@dataclass(frozen=True, slots=True)
class _Sent:
    wish: Desired
    info: MQTTMessageInfo
    session: int
    at: float


class Mail:
    """Sends the wishes; a lost connection makes what was under way be sent again."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes, self._sent = wishes, dict[str, _Sent]()
        self._refused: set[int] = set()
        self._looked = 0.0

    def send(self, client: Client, session: int) -> None:
        """Send what waits and record what was confirmed, at most each second. Never raises for an absent database."""
        now = time.monotonic()
        if now - self._looked < EVERY_S:
            return
        self._looked = now
        try:
            self._settle(session, now)
            for wish in self._wishes.waiting():
                known = self._sent.get(wish.device)
                if known is None or known.wish.number != wish.number:
                    topic = Topic(wish.device, Channel.DESIRED).text
                    info = client.publish(topic, wish.encode(), qos=1, retain=True)
                    self._sent[wish.device] = _Sent(wish, info, session, now)
        except TryAgainError:
            return  # the next batch says what is wrong with the database

    def on_publish(self, _client: Client, _data: Any, mid: int, code: Any, _properties: Any) -> None:
        """The broker's answer: remember the refusals."""
        if code.is_failure:
            self._refused.add(mid)

    def _settle(self, session: int, now: float) -> None:
        for device, sent in list(self._sent.items()):
            if confirmed(sent.info) and sent.info.mid not in self._refused:
                self._wishes.published(device, sent.wish.number, datetime.now(UTC))
            elif sent.session == session and now - sent.at < AGAIN_S:
                continue
            self._refused.discard(sent.info.mid)
            del self._sent[device]


def confirmed(info: MQTTMessageInfo) -> bool:
    """Whether the broker has answered, be it a refusal."""
    try:
        return info.is_published()
    except (ValueError, RuntimeError):  # it was never taken into the queue
        return False
