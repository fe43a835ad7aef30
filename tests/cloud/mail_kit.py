"""A real mail server for tests: STARTTLS and a password, and nothing left open when it stops."""

import asyncio
import email
import email.policy
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Mailbox:
    """What aiosmtpd's server took."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], Any]] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.taken.append((envelope.rcpt_tos, parsed))
        return "250 OK"


class Talk(SMTP):
    """A session whose first, plain connection can be ended, whatever became of its TLS."""

    line: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.line = self.line or transport
        super().connection_made(transport)


class Postoffice(Controller):
    """aiosmtpd's server in a thread; it forgets open connections when it stops, so they are ended before."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._talks: list[Talk] = []

    def factory(self) -> SMTP:
        self._talks.append(Talk(self.handler, **self.SMTP_kwargs))
        return self._talks[-1]

    async def _end_all(self) -> None:
        for talk in self._talks:
            if isinstance(talk.line, asyncio.WriteTransport):
                talk.line.abort()
        await asyncio.sleep(0.01)

    def hang_up(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end_all(), self.loop).result(5)


def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"cloud", b"pass word")
    return AuthResult(success=right, handled=False)
