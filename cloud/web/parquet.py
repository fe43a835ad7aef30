"""Export rows as a Parquet file that is sent while it is written."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cloud.counts.export import ExportRow

ROW_GROUP = 20_000
TEXT = pa.dictionary(pa.int32(), pa.string())
INSTANT = pa.timestamp("us", tz="UTC")
FIELDS = (
    ("start", INSTANT, False, "UTC, inclusive"),
    ("end", INSTANT, False, "UTC, not included"),
    ("day", pa.string(), False, "first day of the period in the site's zone, ISO"),
    ("door", TEXT, False, "the device's name"),
    ("line", TEXT, False, "which of a camera's lines; empty where it has only one"),
    ("direction", TEXT, True, "in or out; null: looked at, and nobody passed"),
    ("release", pa.int64(), True, "of the model that counted"),
    ("label", TEXT, True, "as the model called it, not corrected"),
    ("passes", pa.int64(), False, "counted"),
    ("share", pa.float64(), True, "of this label among passes of its door, line, direction and release; null below 20"),
    ("open_minutes", pa.int32(), True, "of the door in the whole period; null: not known"),
    ("seen_minutes", pa.int32(), True, "of those, looked at"),
)


class _Sink:
    """A file that only grows, and gives away what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Nothing waits anywhere."""

    def close(self) -> None:
        """Nothing to let go of."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def taken(self) -> bytes:
        """What was written since this was last asked."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def parquet(found: Iterable[ExportRow], about: Mapping[str, str]) -> Iterator[bytes]:
    """The file's bytes, a row group at a time; `about` goes into its metadata."""
    schema = pa.schema(
        [pa.field(name, kind, nullable, {"about": words}) for name, kind, nullable, words in FIELDS],
        metadata=dict(about),
    )
    sink, rows = _Sink(), iter(found)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        while some := list(islice(rows, ROW_GROUP)):
            columns = [pa.array([getattr(row, name) for row in some], kind) for name, kind, _, _ in FIELDS]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            yield sink.taken()
    yield sink.taken()
