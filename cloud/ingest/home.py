"""Keeps Home Assistant's picture of the doors current, over the consumer's own connection, and takes back what is gone."""

import logging
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from paho.mqtt.client import Client, MQTTMessageInfo

from cloud.fleet.homes import Home, withdrawals
from cloud.ingest.mail import confirmed
from contract.errors import TryAgainError
from contract.home import status_topic

log = logging.getLogger("cloud.home")

EVERY_S = 10.0
MOST_NEW = 50  # doors announced in one look: a large fleet comes bit by bit


class Homes(Protocol):
    """Where the doors come from; every method raises TryAgainError while that is impossible."""

    def homes(self, now: datetime) -> Sequence[Home]:
        """Every door that is to be seen."""

    def announced(self) -> frozenset[tuple[str, str]]:
        """Prefix and device of all that was announced and not taken back."""

    def remember(self, prefix: str, devices: Collection[str]) -> None:
        """These are announced now."""

    def forget(self, prefix: str, device: str) -> None:
        """It was taken back."""


class HomePublisher:
    """Everything is retained and said again after a reconnect; a state only where it changed, at most every 10 s."""

    def __init__(self, homes: Homes, prefix: str, *, every_s: float = EVERY_S) -> None:
        self._homes, self._prefix, self._every_s = homes, prefix, every_s
        self._digests, self._states = dict[str, str](), dict[str, bytes]()
        self._session = -1
        self._looked = float("-inf")
        self._mids, self._refused = set[int](), set[int]()
        self._leaving = dict[tuple[str, str], list[MQTTMessageInfo]]()
        self._refusal_told = False

    def prepare(self, client: Client) -> None:
        """Before the connection: the broker says that we are gone when we are."""
        client.will_set(status_topic(self._prefix), b"offline", qos=1, retain=True)

    def send(self, client: Client, session: int) -> None:
        """Say what is new, at most every 10 s. Never raises for an absent database."""
        now = time.monotonic()
        fresh = session != self._session
        if not fresh and now - self._looked < self._every_s:
            return
        self._looked = now
        if fresh:
            self._session = session
            self._digests.clear()
            self._states.clear()
            self._mids.clear()
            self._refused.clear()
            self._leaving.clear()
            self._say(client, status_topic(self._prefix), b"online")
        try:
            self._show(client, self._homes.homes(datetime.now(UTC)))
        except TryAgainError:
            return  # the next batch of messages says what is wrong with the database

    def goodbye(self, client: Client) -> None:
        """The broker speaks no last will for an orderly end, so say it; without any door nothing is left behind."""
        self._say(client, status_topic(self._prefix), b"offline" if self._digests else b"")

    def on_publish(self, mid: int, code: Any) -> bool:
        """Whether this answer of the broker was about a message of ours; a refusal is said once."""
        if mid not in self._mids:
            return False
        self._mids.discard(mid)
        if code.is_failure:
            self._refused.add(mid)
        if code.is_failure and not self._refusal_told:
            self._refusal_told = True
            log.error(
                "the broker lets us write nothing below %s/ (%s): run `provisioning broker` with --home-assistant",
                self._prefix, code,
            )  # fmt: skip
        return True

    def _show(self, client: Client, homes: Sequence[Home]) -> None:
        new = [home for home in homes if self._digests.get(home.device) != home.digest][:MOST_NEW]
        self._homes.remember(self._prefix, [home.device for home in new])
        for home in new:
            for topic, payload in home.configs:
                self._say(client, topic, payload)
            self._digests[home.device] = home.digest
        for home in homes:
            if home.device in self._digests and self._states.get(home.device) != home.state:
                self._say(client, withdrawals(self._prefix, home.device)[-1], home.state)
                self._states[home.device] = home.state
        self._take_back(client, {(self._prefix, home.device) for home in homes})

    def _take_back(self, client: Client, there: set[tuple[str, str]]) -> None:
        """Clear what was announced and is gone; it is forgotten once the broker has taken that, else tried at the next connect."""
        for prefix, device in sorted(self._homes.announced() - there):
            infos = self._leaving.get((prefix, device))
            if infos is None:
                topics = withdrawals(prefix, device)
                self._leaving[prefix, device] = [self._say(client, topic, b"") for topic in topics]
                self._digests.pop(device, None)
                self._states.pop(device, None)
            elif all(confirmed(info) and info.mid not in self._refused for info in infos):
                self._homes.forget(prefix, device)
                del self._leaving[prefix, device]

    def _say(self, client: Client, topic: str, payload: bytes) -> MQTTMessageInfo:
        info = client.publish(topic, payload, qos=1, retain=True)
        self._mids.add(info.mid)
        return info
