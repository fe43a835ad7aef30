"""Work done ahead: a stream's next items are made in a thread of their own while whoever asked for them is busy."""

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], room: int = 1, *, name: str = "ahead") -> Iterator[T]:
    """The same items in the same order, each as soon as it is made, and up to `room` made before they are asked for.

    What making one raises is raised here, after those before it. Who leaves early ends the thread, which is called
    `name`, at its next item.
    """
    asked: SimpleQueue[bool] = SimpleQueue()
    made: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    for _ in range(room):
        asked.put(True)
    threading.Thread(target=_make, args=(items, asked, made), name=name, daemon=True).start()
    try:
        while (one := made.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            asked.put(True)
            yield one[0]
    finally:
        asked.put(False)


def _make(items: Iterable[T], asked: "SimpleQueue[bool]", made: "SimpleQueue[tuple[T] | BaseException | None]") -> None:
    source = iter(items)
    try:
        while asked.get():
            made.put((next(source),))
    except StopIteration:
        made.put(None)
    except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for items
        made.put(fault)
