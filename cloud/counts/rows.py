"""How a model errs at each door, drawn from its control labels: once for as long as they stay the same."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np

from cloud.counts.evidence import Table, draw_rows
from cloud.counts.likeness import Floats

MOST_BYTES = 64 * 1024 * 1024  # kept
Drawing = Callable[[Table, str, Sequence[str], int, int], Floats]


def draw(table: Table, model: str, devices: Sequence[str], draws: int, seed: int) -> Floats:
    """P(outcome | counted as) of these doors under a model, (draws, doors, labels, outcomes); the same for the same arguments."""
    return draw_rows(table, devices, draws, np.random.default_rng((seed, crc32(model.encode()))))


class Drawn:
    """`draw` that remembers its last answers by everything that they come from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, tuple[Table, Floats]] = OrderedDict()

    def __call__(self, table: Table, model: str, devices: Sequence[str], draws: int, seed: int) -> Floats:
        key = (model, tuple(devices), draws, seed, len(table.labels), table.since, table.until)
        with self._lock:
            known = self._kept.get(key)
            if known is not None and known[0] == table:
                self._kept.move_to_end(key)
                return known[1]
        rows = draw(table, model, devices, draws, seed)
        with self._lock:
            self._kept[key] = table, rows
            self._kept.move_to_end(key)
            while self._kept and sum(one.nbytes for _, one in self._kept.values()) > MOST_BYTES:
                self._kept.popitem(last=False)
        return rows
