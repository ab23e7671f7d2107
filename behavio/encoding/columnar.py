"""Parquet and Arrow files in batches of the needed columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from behavio.encoding.moments import is_text
from behavio.encoding.pieces import Pieces, Slices, Unfit
from behavio.encoding.texts import indices
from behavio.log import REJECTED_SCHEMA
from behavio.sources.inputs import Input
from behavio.sources.records import as_text
from behavio.sources.tabular import _plain_types

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1 << 18
CHEAP = 4.0
"""Bytes per value in the file below which a column of text surely is a dictionary."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some rows: their needed columns, and where they stand.

    columns  by name: Arrow arrays, or slices of a text
    first    1-based record number of the first row in its file
    rows     int64 (n,): record numbers, where they do not simply follow the first
    raw      bytes of the row, for formats that cannot be read at a place (delimited text)
    """

    columns: dict[str, Any]
    first: int
    rows: np.ndarray | None = None
    raw: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Record numbers of some rows."""
        return self.first + rows if self.rows is None else self.rows[rows]


class Opened:
    """One file that is read in batches; what kinds of files share.

    notes    what to say about the file     n_wrong   records that are no rows
    """

    typed = True
    at_once = False
    """Whether a batch has to be taken before the next one is read."""
    columns: list[str]

    def __init__(self, item: Input, notes: list[str]) -> None:
        self.item = item
        self.notes = notes
        self.n_wrong = 0
        self._stamp = self._changed()

    def _changed(self) -> tuple[int, int]:
        found = self.item.path.stat()
        return found.st_size, found.st_mtime_ns

    def same(self) -> None:
        """Raise Unfit when the file changed while it was read."""
        if self._changed() != self._stamp:
            raise Unfit("a file that is being written")

    def n_bytes(self) -> int:
        """Size on disk."""
        return self._stamp[0]

    def wrong(self, place: int) -> pl.DataFrame:
        """Records that are no rows, as the careful path tells them."""
        return pl.DataFrame(schema=REJECTED_SCHEMA).drop("source")


class Columnar(Opened):
    """One Parquet or Arrow file."""

    def __init__(self, item: Input, kind: str, notes: list[str]) -> None:
        import pyarrow as pa

        super().__init__(item, notes)
        self.kind = kind
        try:
            schema = self._open([]).schema_arrow if kind == "parquet" else self._ipc().schema
        except (pa.ArrowException, OSError) as problem:
            raise Unfit(str(problem)) from None
        if any(_foreign(f.type) for f in schema):
            raise Unfit("nested or binary columns")
        self.schema = schema
        self.columns = list(schema.names)

    def _open(self, texts: Sequence[str]) -> Any:
        from pyarrow.parquet import ParquetFile

        return ParquetFile(self.item.path, read_dictionary=list(texts), memory_map=False)

    def _ipc(self) -> Any:
        import pyarrow as pa
        from pyarrow import ipc

        file = pa.memory_map(str(self.item.path))
        return ipc.open_file(file) if file.read(6) == b"ARROW1" else ipc.open_stream(str(self.item.path))

    def types(self, columns: Sequence[str]) -> list[str]:
        """Names of the Arrow types of these columns."""
        return [str(self.schema.field(c).type) for c in columns]

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Batch, float]]:
        """Batches with the share of the file that is read after each. Raises Unfit for a damaged file."""
        import pyarrow as pa

        row = 1
        try:
            for batch, share in self._record_batches(columns):
                n = batch.num_rows
                if n:
                    arrays = {c: plain_text(batch.column(c)) for c in columns}
                    yield Batch(arrays, row), share
                row += n
        except (pa.ArrowException, OSError) as problem:
            raise Unfit(str(problem)) from None

    def _record_batches(self, columns: Sequence[str]) -> Iterator[tuple[Any, float]]:
        if self.kind != "parquet":
            reader = self._ipc()
            wanted = reader.schema
            n = getattr(reader, "num_record_batches", None)
            batches = reader if n is None else (reader.get_batch(i) for i in range(n))
            for place, batch in enumerate(batches):
                whole = batch.select([c for c in wanted.names if c in columns])
                for at in range(0, max(whole.num_rows, 1), BATCH):
                    yield whole.slice(at, BATCH), (place + 1) / (n or place + 2)
            return
        file = self._open(self._dictionaries(columns))
        done, total = 0, max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(BATCH, columns=list(columns), use_threads=False):
            done += batch.num_rows
            yield batch, done / total

    def _dictionaries(self, columns: Sequence[str]) -> list[str]:
        """Columns whose chunks are so small that they must be indices into a dictionary."""
        meta = self._open([]).metadata
        found = []
        for place, name in enumerate(meta.schema.names):
            if name in columns and is_text(self.schema.field(name).type) and meta.num_row_groups:
                chunk = meta.row_group(0).column(place)
                if chunk.total_uncompressed_size < CHEAP * max(chunk.num_values, 1):
                    found.append(name)
        return found

    def head(self, n: int) -> pl.DataFrame:
        """All columns of the first rows."""
        import pyarrow as pa

        batch, _ = next(self._record_batches(self.columns), (None, 0.0))
        if batch is None:
            return pl.DataFrame()
        return _plain_types(pl.DataFrame(pa.Table.from_batches([batch.slice(0, n)])))[0]

    def frame(self, rows: np.ndarray) -> pl.DataFrame:
        """All columns of these records (1-based, rising), as the careful path sees them."""
        import pyarrow as pa

        parts, row = [], 1
        file = self._open([]) if self.kind == "parquet" else None
        batches = self._record_batches(self.columns) if file is None else None
        groups = _row_groups(file, rows) if file is not None else ((b, None) for b, _ in batches or ())
        for table, first in groups:
            first = row if first is None else first
            inside = rows[(rows >= first) & (rows < first + table.num_rows)] - first
            whole = table if isinstance(table, pa.Table) else pa.Table.from_batches([table])
            parts.append(_without_views(whole).take(indices(inside)))
            row = first + table.num_rows
        frame = pl.DataFrame(pa.concat_tables(parts))
        return _plain_types(frame)[0]


def _row_groups(file: Any, rows: np.ndarray) -> Iterator[tuple[Any, int]]:
    """The row groups that hold any of these records, with the number of their first record."""
    first = 1
    for place in range(file.metadata.num_row_groups):
        n = file.metadata.row_group(place).num_rows
        if ((rows >= first) & (rows < first + n)).any():
            yield file.read_row_group(place, use_threads=False), first
        first += n


def _without_views(table: pa.Table) -> pa.Table:
    """Text in the layout that Arrow's take knows."""
    import pyarrow as pa

    views = [pa.types.is_string_view(f.type) for f in table.schema]
    kinds = [pa.large_string() if v else f.type for v, f in zip(views, table.schema, strict=True)]
    return table.cast(pa.schema(list(zip(table.schema.names, kinds, strict=True))))


def _foreign(kind: Any) -> bool:
    import pyarrow as pa

    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return pa.types.is_nested(kind) or binary or str(kind).startswith(("extension", "binary_view"))


def plain_text(array: pa.Array) -> pa.Array:
    """Text and times as they are, dictionaries of text too."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind) and not is_text(kind.value_type):
        return array.dictionary_decode()
    return array


def as_texts(column: Slices | Pieces | pa.Array) -> Slices | Pieces | pa.Array:
    """A column as text: numbers, dates and truth values as the careful path writes them."""
    if isinstance(column, Slices | Pieces):
        return column
    import pyarrow as pa

    if is_text(column.type) or pa.types.is_dictionary(column.type):
        return column
    frame, _ = _plain_types(pl.DataFrame({"x": pl.Series("x", column)}))
    texts = frame.select(as_text(frame, "x").alias("x")).to_series()
    return texts.to_arrow(compat_level=pl.CompatLevel.oldest())
