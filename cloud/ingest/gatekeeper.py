"""Who is let in before a message is opened, so that one door cannot keep the others waiting; and the account of who was not."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cloud.ingest.meter import Meter, Sender, sender_of
from cloud.ingest.parcels import Message, Parcel
from cloud.rules import MeterRules
from contract.errors import TryAgainError

log = logging.getLogger("cloud.consumer")

LEAST_SHARE = 500  # messages; a door has at most 400 letters under way (agent/delivery/uplink.py)
CROWDED = 0.75  # of the window: when so much waits, nobody may have more than a share of it
FULL_BYTES = 48 * 2**20  # of messages that wait
TELL_S = 1.0


@dataclass(frozen=True, slots=True)
class Turned:
    """Messages that were not opened: acknowledged to the broker, told to nobody."""

    sender: Sender
    messages: int


class Ledger(Protocol):
    """Where the account is kept."""

    def turned_away(self, turned: Sequence[Turned], *, now: datetime) -> None:
        """Add it; raises TryAgainError while that is impossible."""


class Gatekeeper:
    """Of one consumer with a window of so many messages. `sift` and `opened` are the network thread's, the rest the other's.

    Turned away is whoever the meter has shut out, and, while much waits, what a sender has beyond its share of that. No pass
    is lost by it: an agent sends again what the cloud did not answer.
    """

    def __init__(
        self, rules: MeterRules, ledger: Ledger, *, window: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._meter, self._ledger, self._clock, self._enabled = Meter(rules), ledger, clock, rules.enabled
        self._window, self._crowded = window, int(window * CROWDED)
        self._share = max(LEAST_SHARE, int(window * rules.share))
        self._held: dict[str, int] = {}  # messages that wait, by topic
        self._waiting = self._waiting_bytes = self._unconfirmed = 0  # the last: those that the broker waits for
        self._turned: Counter[Sender] = Counter()
        self._lock = threading.Lock()
        self._told_s = clock()
        self._unmetered_told = False

    def sift(self, messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
        """Who may come in, and who is turned away. Nothing is asked of anybody while there is room and nobody is shut out."""
        with self._lock:
            away: Sequence[Message] = ()
            if self._meter.anybody_shut or (self._waiting > self._crowded and not self._all_fit(len(messages))):
                messages, away = self._sifted(messages)
            held = self._held
            for one in messages:
                held[one.topic] = held.get(one.topic, 0) + 1
            self._waiting += len(messages)
            self._waiting_bytes += sum([len(one.payload) for one in messages])
            self._unconfirmed += sum([one.qos for one in messages])
        return messages, away

    def opened(self, parcels: Iterable[Parcel]) -> None:
        """Charge for those that were misfits."""
        misfits = [one.message for one in parcels if one.misfit is not None]
        if misfits:
            self.charge(misfits)

    def charge(self, misfits: Iterable[Message]) -> None:
        """These were. Safe in any thread."""
        if not self._enabled:
            return
        now_s = self._clock()
        with self._lock:
            for one in misfits:
                sender = sender_of(one.topic)
                if self._meter.charge(sender, len(one.payload), now_s):
                    log.warning("%s floods us with messages that break the contract", _name(sender))

    def taken(self, batch: Sequence[Parcel]) -> None:
        """These wait no longer."""
        size = sum([len(parcel.message.payload) for parcel in batch])
        confirmed = sum([parcel.message.qos for parcel in batch])
        with self._lock:
            for topic, number in Counter([one.message.topic for one in batch]).items():
                left = self._held.pop(topic, 0) - number
                if left > 0:
                    self._held[topic] = left
                self._waiting -= number
            self._waiting = max(0, self._waiting)
            self._waiting_bytes = max(0, self._waiting_bytes - size)
            self._unconfirmed = max(0, self._unconfirmed - confirmed)

    @property
    def full(self) -> bool:
        """Whether nothing more should be read until some of what waits is stored.

        A broker should send no more than the window ahead, but mosquitto 2.0.11 sends another window for each acknowledgement once
        it has that of its oldest message (ADR 24).
        """
        return self._waiting_bytes > FULL_BYTES or self._unconfirmed >= self._window

    @property
    def somebody_has_much(self) -> bool:
        """Whether what waits should be written in turns, lest others wait behind one sender."""
        with self._lock:
            return self._enabled and max(self._held.values(), default=0) > self._share // 2

    def forget(self) -> None:
        """Nobody waits: the connection is another."""
        with self._lock:
            self._held.clear()
            self._waiting = self._waiting_bytes = self._unconfirmed = 0

    def tell(self, *, at_once: bool = False) -> None:
        """Bring the account to the ledger, at most once a second; while that is impossible it is kept."""
        now_s = self._clock()
        if not at_once and now_s - self._told_s < TELL_S:
            return
        self._told_s = now_s
        with self._lock:
            self._meter.reopen(now_s)
            turned, self._turned = self._turned, Counter()
        if not turned:
            return
        try:
            self._ledger.turned_away([Turned(*one) for one in sorted(turned.items())], now=datetime.now(UTC))
        except TryAgainError:  # the next batch says what is wrong with the database
            with self._lock:
                self._turned.update(turned)

    def _sifted(self, messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
        kept, away = list[Message](), list[Message]()
        now_s, meter, here = self._clock(), self._meter, Counter[str]()
        shut, waiting = meter.anybody_shut, self._waiting
        for one in messages:
            if (shut and meter.is_shut(sender_of(one.topic), now_s)) or (
                waiting > self._crowded and self._is_too_much(one, here[one.topic], waiting)
            ):
                away.append(one)
            else:
                here[one.topic] += 1
                waiting += 1
                kept.append(one)
        for one in away:
            self._turned[sender_of(one.topic)] += 1
        return kept, away

    def _all_fit(self, number: int) -> bool:
        """Whether nobody can have too much, even if so many more messages were all one sender's; without a look at each."""
        return self._waiting + number <= 2 * self._window and max(self._held.values(), default=0) + number < self._share

    def _is_too_much(self, message: Message, here: int, waiting: int) -> bool:
        """Quality 0 knows no acknowledgement that would slow the broker down: what many send has an end too."""
        if self._enabled and self._held.get(message.topic, 0) + here >= self._share:
            return True
        if message.qos or waiting <= 2 * self._window:
            return False
        if not self._unmetered_told:
            log.error("messages of quality 0 come faster than they are stored; the surplus is dropped")
            self._unmetered_told = True
        return True


def _name(sender: Sender) -> str:
    return f"{sender.device} ({sender.channel})" if sender.device else "somebody without a door's name"
