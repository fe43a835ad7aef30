"""Messages about alerts: made with the alert in one transaction, sent by a thread of their own until they arrive or are a day old."""

import json
import logging
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.duties import ALONE, LostDutyError, Post
from cloud.fleet.alerts import RULES, Change, What
from cloud.fleet.mailer import Mailer, read_password
from cloud.fleet.webhook import Webhook, read_secret
from cloud.rules import AlertSettings
from cloud.store import alerts as store
from cloud.store import writing
from cloud.store.alerts import Pending
from cloud.store.database import reason
from contract.errors import ContractError, TryAgainError

log = logging.getLogger("cloud.alerts")

EVERY_S = 1.0
FIRST_WAIT, GREATEST_WAIT = timedelta(seconds=10), timedelta(hours=1)
DEAD_AFTER = timedelta(days=1)
MOST = 50  # messages in one turn

WORDS = {What.OPENED: "", What.REMINDER: "still: ", What.CLOSED: "over: "}


class Carrier(Protocol):
    """One way to reach people."""

    def carry(self, pending: Pending, now: datetime) -> None:
        """Deliver it. Raises TryAgainError that says why it did not arrive."""


@dataclass(frozen=True, slots=True)
class ByWebhook:
    """The body as it is."""

    webhook: Webhook

    def carry(self, pending: Pending, now: datetime) -> None:
        body = json.dumps({"id": str(pending.id), **pending.body}, ensure_ascii=False).encode()
        self.webhook.send(pending.target, body, str(pending.id), now)


@dataclass(frozen=True, slots=True)
class ByMail:
    """The body as a few lines of text."""

    mailer: Mailer

    def carry(self, pending: Pending, now: datetime) -> None:
        told = pending.body
        lines = [f"{told['text']}.", "", f"Since {told['opened_at']}; this message is of {told['at']}."]
        self.mailer.send(pending.target, f"maskfleet: {told['text']}"[:150], "\n".join(lines), str(pending.id), now)


class Postman:
    """In each server: knows who is to be told; the duty says which one tells them, in order.

    A server that stalls between a message and its mark may send that one twice, with the same id.
    """

    def __init__(
        self, engine: Engine, carriers: Mapping[str, Carrier], targets: Sequence[tuple[str, str]],
        new_id: Callable[[], UUID] = uuid4, duty: Post = ALONE,
    ) -> None:  # fmt: skip
        """`targets` are pairs of a carrier's name and an address."""
        self._engine, self._carriers, self._targets, self._new_id = engine, carriers, tuple(targets), new_id
        self._duty = duty
        self._stop = threading.Event()

    def queue(self, connection: Connection, alert: UUID, change: Change, opened_at: datetime, now: datetime) -> None:
        """Messages about a change, one for each target, written with whatever else is in this transaction."""
        body = message_of(alert, change, opened_at, now)
        rows = [
            {
                "id": self._new_id(), "alert": alert, "channel": channel, "target": target, "body": body, "made_at": now,
                "next_at": now,
            }
            for channel, target in self._targets
        ]  # fmt: skip
        store.queue(connection, rows)

    def run(self) -> None:
        """Send until `stop`."""
        told = ""
        while not self._stop.wait(EVERY_S):
            if not self._duty.held():
                continue
            try:
                self.turn(lambda: datetime.now(UTC))
                told = ""
            except LostDutyError as error:
                log.info("%s", error)
            except SQLAlchemyError as error:
                if told != (told := reason(error)):
                    log.warning("messages wait while the database is away (%s)", told)

    def stop(self) -> None:
        """Ask `run` to return after the message under way. Safe in any thread."""
        self._stop.set()

    def turn(self, clock: Callable[[], datetime]) -> int:
        """Send what is due, the oldest of each target first; returns how many arrived. Raises SQLAlchemyError, LostDutyError."""
        sent = 0
        for _ in range(MOST):
            now = clock()
            with self._engine.connect() as connection:
                if not store.any_due(connection, now):
                    return sent
                due = [one for one in store.read_next(connection) if one.next_at <= now]
            for one in due:
                if self._stop.is_set():
                    return sent
                sent += self._deliver(one, clock())
            if not due:
                return sent
        return sent

    def _deliver(self, one: Pending, now: datetime) -> bool:
        error = ""
        carrier = self._carriers.get(one.channel)
        if carrier is None or (one.channel, one.target) not in self._targets:
            error = "it is no longer in the settings"
        elif now - one.made_at > DEAD_AFTER:
            error = "given up after a day"
        else:
            with self._engine.begin() as connection:
                self._duty.require(connection)
                if not store.is_waiting(connection, one.id):
                    return False  # another server was quicker
            try:
                carrier.carry(one, now)
            except TryAgainError as trouble:
                self._postpone(one, str(trouble), now)
                return False
        with self._engine.begin() as connection:
            if error:
                self._duty.require(connection)
                store.mark_failed(connection, one.id, error, None)
            else:  # it has arrived, whoever has the duty now
                store.mark_sent(connection, one.id, now)
            writing.mark_change(connection)
        return not error

    def _postpone(self, one: Pending, why: str, now: datetime) -> None:
        wait = min(FIRST_WAIT * 2 ** min(one.tries, 12), GREATEST_WAIT)
        if not one.tries:
            log.warning("a message by %s did not arrive: %s; trying again for a day", one.channel, why)
        with self._engine.begin() as connection:
            self._duty.require(connection)
            store.mark_failed(connection, one.id, why, now + wait)
            writing.mark_change(connection)


def message_of(alert: UUID, change: Change, opened_at: datetime, now: datetime) -> dict[str, Any]:
    """What is told: the same for machines and, in `text`, for people."""
    one = change.finding
    text = f"{WORDS[change.what]}{one.name or one.subject}: {RULES[one.kind].title}"
    if one.reason and change.what is not What.CLOSED:
        text += f", {one.reason}"
    return {
        "version": 1, "event": change.what.value, "alert": str(alert), "kind": one.kind.value, "subject": one.subject,
        "door": one.door, "reason": one.reason, "text": text, "opened_at": f"{opened_at:%Y-%m-%dT%H:%M:%SZ}",
        "at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip


def new_postman(engine: Engine, settings: AlertSettings, duty: Post = ALONE) -> Postman:
    """By the settings. Raises ContractError where a secret, a password or an authority cannot be read."""
    tls = ssl.create_default_context()
    if settings.ca:
        try:
            tls.load_verify_locations(settings.ca)
        except OSError as error:
            raise ContractError(f"cannot use alerts.ca {settings.ca}: {error.strerror or error}") from error
    carriers: dict[str, Carrier] = {}
    if settings.webhooks and settings.webhook_secret:
        secret = read_secret(settings.webhook_secret)
        carriers["webhook"] = ByWebhook(Webhook(secret, private=settings.private_addresses, tls=tls))
    if settings.email_to:
        password = read_password(settings.smtp_password)
        carriers["email"] = ByMail(
            Mailer(
                settings.smtp_host, settings.smtp_port, settings.smtp_tls, settings.email_from, tls, settings.smtp_user,
                password,
            )
        )  # fmt: skip
    targets = [("webhook", url) for url in settings.webhooks] + [("email", one) for one in settings.email_to]
    return Postman(engine, carriers, targets, duty=duty)
