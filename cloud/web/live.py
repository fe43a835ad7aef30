"""Server-sent events that fire when the database changed, whichever process changed it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

POLL_S = 0.5
AT_LEAST_EVERY_S = 15.0  # last-seen times grow old without any change


class Pulse:
    """Asks for the change number twice a second, once for all listeners, and only while there are any."""

    def __init__(self, change_number: Callable[[], int], closing: threading.Event) -> None:
        self._change_number, self._closing = change_number, closing
        self._number, self._listeners = -1, 0
        self._task: asyncio.Task[None] | None = None

    async def beats(self) -> AsyncIterator[str]:
        """`changed` events as text/event-stream, until the server closes."""
        self._listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        told, quiet_s = None, 0.0
        try:
            while not self._closing.is_set():
                if self._number >= 0 and (self._number != told or quiet_s >= AT_LEAST_EVERY_S):
                    told, quiet_s = self._number, 0.0
                    yield f"event: changed\ndata: {told}\n\n"
                await asyncio.sleep(POLL_S)
                quiet_s += POLL_S
        finally:
            self._listeners -= 1

    async def _watch(self) -> None:
        while self._listeners and not self._closing.is_set():
            try:
                self._number = await run_in_threadpool(self._change_number)
            except SQLAlchemyError:
                self._number = -1  # nobody is told anything until the database answers again
            await asyncio.sleep(POLL_S)
