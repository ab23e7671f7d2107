"""Times of a streamed column as microseconds: what a kernel can read it reads, the rest reads `read_times`.

Nothing is guessed from a part of a column: odd values (no ISO 8601) wait until the whole column has been
seen and are then read together, beside as many plain ones as decide how the careful reader takes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from behavio.encoding.pieces import EVERY, Chosen, Micros, Piece, Pieces, Slices, Unfit, frozen
from behavio.encoding.texts import Texts, slices_of, valid_rows
from behavio.kernels import clock
from behavio.kernels.clock import MISSING
from behavio.kernels.intern import gather
from behavio.kernels.pages import chosen
from behavio.sources.times import EARLIEST, LATEST, read_times

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED = re.compile(r"^([\d,]+) (times fall .*)$", re.DOTALL)
OF_READ = re.compile(r"^([\d,]+) of [\d,]+ times read as (.*)$", re.DOTALL)
READ_AS = re.compile(r"^times read as (.*)$", re.DOTALL)
MOST_ODD = 500_000
"""More odd values than this, or than half of the first batch, are left to the careful path as a whole."""


@dataclass(slots=True)
class Moments:
    """Reads one column of times, batch by batch.

    zone, format   as in SourceSettings
    """

    zone: str = "UTC"
    format: str | None = None
    n_rows: int = 0
    n_naive: int = 0
    n_zoned: int = 0
    odd_rows: list[np.ndarray] = field(default_factory=list)
    odd_texts: list[str] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    _last: tuple[Any, np.ndarray, bool, bool] = (None, EVERY, False, False)

    def read(self, column: Piece | Pieces | pa.Array, out: np.ndarray) -> np.ndarray:
        """Fill out int64 (n,): microseconds UTC of the next rows, MISSING where there is none (yet)."""
        if isinstance(column, Pieces):
            for piece, rows in column:
                self.read(piece, out[rows])
            return out
        if isinstance(column, Slices):
            found = self._texts(column, out)
        elif isinstance(column, Chosen):
            found = self._chosen(column, out)
        else:
            found = self._micros(column, out) if isinstance(column, Micros) else self._arrow(column, out)
        if found is not out:
            out[:] = found
        self.n_rows += len(out)
        return out

    def _arrow(self, column: pa.Array, out: np.ndarray) -> np.ndarray:
        import pyarrow as pa

        kind = column.type
        if pa.types.is_dictionary(kind) and is_text(kind.value_type) and self.format is None:
            return self._dictionary(column, out)
        if is_text(kind):
            return self._texts(slices_of(column), out)
        if pa.types.is_timestamp(kind) and kind.unit == "us" and (kind.tz or self.zone == "UTC"):
            raw = np.frombuffer(column.buffers()[1], np.int64)[column.offset :][: len(column)]
            bad = (raw < EARLIEST) | (raw > LATEST)
            if column.null_count:
                bad |= ~valid_rows(column)
            if not kind.tz and column.null_count != len(column):
                self._note("times without a zone are taken as UTC")
            self.n_naive += len(column) - column.null_count
            return np.where(bad, MISSING, raw) if bad.any() else raw
        if pa.types.is_temporal(kind) or (is_number(kind) and self.format is not None):
            return self._counted(self._careful(pl.Series("time", column)))
        raise Unfit(f"times of type {kind}")

    def _dictionary(self, column: pa.Array, out: np.ndarray) -> np.ndarray:
        """Times that repeat: each distinct text is read once."""
        texts = slices_of(column.dictionary)
        micros, _, odd, counts = _kernel(texts, np.empty(len(texts), np.int64))
        valid = valid_rows(column)
        indices = column.indices.cast("int32")
        places = np.frombuffer(indices.buffers()[1], np.int32)[indices.offset :][: len(out)]
        if len(odd) or (counts[0] and counts[1]):
            return self._texts(slices_of(column.cast(column.type.value_type)), out)
        gather(frozen(places), valid, frozen(micros), out)
        if len(valid):
            out[~valid] = MISSING
        n = int((out != MISSING).sum())
        self._count(n if counts[0] else 0, n if counts[1] else 0)
        return out if not counts[0] else self._placed(out, None)

    def _chosen(self, column: Chosen, out: np.ndarray) -> np.ndarray:
        """Times that repeat, by their place in a dictionary."""
        if isinstance(column.words, Micros):
            return self._micros(column.words.of(column.places), out)
        if self.format is not None:
            return self._texts(column.spelled(), out)
        if self._last[0] is not column.words:
            micros, _, odd, counts = _kernel(column.words, np.empty(len(column.words), np.int64))
            plain = not len(odd) and not (counts[0] and counts[1])
            self._last = (column.words, frozen(micros), plain, bool(counts[0]))
        _, micros, plain, naive = self._last
        if not plain:
            return self._texts(column.spelled(), out)
        chosen(column.places, micros, int(MISSING), out)
        n = int((out != MISSING).sum())
        self._count(n if naive else 0, 0 if naive else n)
        return self._placed(out, None) if naive else out

    def _micros(self, column: Micros, out: np.ndarray) -> np.ndarray:
        """Times that the file holds as numbers."""
        raw, there = column.values, column.values != MISSING
        n = int(there.sum())
        if not column.zoned and self.zone != "UTC":
            local = pl.Series("time", raw).cast(pl.Datetime("us"))
            return self._counted(self._careful(local.set(pl.Series(~there), None)))
        if n and not column.zoned:
            self._note("times without a zone are taken as UTC")
        self.n_naive += n
        bad = (raw < EARLIEST) | (raw > LATEST)
        return np.where(bad, MISSING, raw) if bad.any() else raw

    def _texts(self, texts: Slices, out: np.ndarray) -> np.ndarray:
        if self.format is not None:
            names = Texts()
            codes = names.codes(texts)
            series = names.series().gather(pl.Series(np.maximum(codes, 0))) if names.n else None
            if series is None:
                return np.full(len(codes), MISSING)
            return self._counted(self._careful(series.set(pl.Series(codes < 0), None)))
        micros, zoned, odd, (n_naive, n_zoned) = _kernel(texts, out)
        if len(odd):
            if len(self.odd_texts) + len(odd) > MOST_ODD or (not self.n_rows and 2 * len(odd) > len(texts)):
                raise Unfit("most times are no ISO 8601")
            self.odd_rows.append(odd + self.n_rows)
            self.odd_texts += [texts.at(int(row)) for row in odd]
        self._count(n_naive, n_zoned)
        return micros if not n_naive else self._placed(micros, zoned if n_zoned else None)

    def _count(self, n_naive: int, n_zoned: int) -> None:
        self.n_naive += n_naive
        self.n_zoned += n_zoned

    def _placed(self, micros: np.ndarray, zoned: np.ndarray | None) -> np.ndarray:
        """Wall-clock times of a zone other than UTC, put where they belong by the careful reader."""
        if self.zone == "UTC":
            self._note("times without a zone are taken as UTC")
            return micros
        naive = micros != MISSING
        if zoned is not None:
            naive &= ~zoned
        local = pl.Series("time", micros[naive]).cast(pl.Datetime("us"))
        micros[naive] = self._careful(local)
        return micros

    def _careful(self, values: pl.Series) -> np.ndarray:
        """Values that are read row by row, whatever stands in the other rows."""
        found = read_times(values, self.zone, self.format)
        for note in found.notes:
            self._note(note)
        return found.utc.dt.epoch("us").fill_null(int(MISSING)).to_numpy().astype(np.int64)

    def _counted(self, micros: np.ndarray) -> np.ndarray:
        self.n_naive += int((micros != MISSING).sum())
        return micros

    def _note(self, note: str) -> None:
        match = COUNTED.match(note)
        what, n = (match[2], int(match[1].replace(",", ""))) if match else (note, 0)
        self.counted[what] = self.counted.get(what, 0) + n

    def settle(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Rows whose odd values turned out to be times, those times, and what there is to note.

        The careful reader decides by shares of the whole column; plain values beside the odd ones keep
        these shares, or at least the side of one half on which they lie.
        """
        rows = np.concatenate(self.odd_rows) if self.odd_rows else np.zeros(0, np.int64)
        notes = [f"{n:,} {what}" if n else what for what, n in self.counted.items()]
        plain = self.n_naive + self.n_zoned
        if not len(rows):
            return rows, rows, tuple(self._mixed(notes))
        beside = min(plain, 2 * len(rows) + 2)
        column = pl.Series("time", [*self.odd_texts, *["2000-01-01T12:00:00"] * beside], dtype=pl.String)
        found = read_times(column, self.zone, None)
        micros = found.utc.dt.epoch("us").head(len(rows)).fill_null(int(MISSING)).to_numpy()
        good = micros != MISSING
        if self.n_zoned or any(COUNTED.match(n) or "carry a zone" in n for n in found.notes):
            raise Unfit("odd times beside zones")
        n_read = plain + int(good.sum())
        told = []
        for note in found.notes:
            if match := OF_READ.match(note):
                told.append(f"{match[1]} of {n_read:,} times read as {match[2]}")
            elif match := READ_AS.match(note):
                told.append(note)
        return rows[good], micros[good], (*told, *notes)

    def _mixed(self, notes: list[str]) -> list[str]:
        """The note on a column where some times carry a zone and others do not."""
        if not (self.n_naive and self.n_zoned):
            return notes
        mixed = (
            f"{self.n_zoned:,} times carry a zone and keep it, {self.n_naive:,} carry none "
            f"and are taken as {self.zone}"
        )
        return [mixed, *(n for n in notes if not n.startswith("times without"))]


def _kernel(texts: Slices, micros: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    n = len(texts)
    zoned, odd = np.empty(n, np.bool_), np.empty(n, np.int64)
    n_naive, n_zoned, n_odd = clock.iso_times(
        texts.data, texts.starts, texts.ends, texts.valid, micros, zoned, odd
    )
    return micros, zoned, odd[:n_odd].copy(), (n_naive, n_zoned)


def is_text(kind: Any) -> bool:
    """True for Arrow's types of text."""
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_number(kind: Any) -> bool:
    """True for Arrow's whole and floating numbers."""
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
