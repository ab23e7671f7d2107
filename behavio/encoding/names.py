"""Distinct texts judged once each, as the careful path judges rows: trimmed, empty, too long, damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.encoding.pieces import frozen
from behavio.encoding.texts import Texts
from behavio.kernels.intern import suspects
from behavio.sources.sieve import LONGEST, NOTHING


@dataclass(slots=True)
class Keys:
    """The texts of a key column (case or activity) and what is known about each.

    bad      bool per code: rows with it are rejected
    trimmed  code → the text without the blanks around it
    padded   codes whose text has blanks around it
    nothing  codes that stand for "missing" in other files: noted, not rejected
    """

    texts: Texts
    typed: bool
    renamed: Mapping[str, str]
    bad: np.ndarray
    trimmed: dict[int, str]
    padded: list[int]
    nothing: list[int]
    judged: int = 0
    any_bad: bool = False

    @classmethod
    def empty(cls, *, typed: bool, renamed: Mapping[str, str] | None = None) -> Keys:
        """Nothing seen yet."""
        return cls(Texts(), typed, renamed or {}, np.zeros(1 << 11, np.bool_), {}, [], [])

    def judge(self) -> None:
        """Look at the texts that are new."""
        n = self.texts.n
        if n > len(self.bad):
            larger = np.zeros(2 * n, np.bool_)
            larger[: len(self.bad)] = self.bad
            self.bad = larger
        if self.renamed:
            odd = np.arange(self.judged, n)
        else:
            pool, bounds = frozen(self.texts.pool), frozen(self.texts.bounds)
            odd = suspects(pool, bounds, self.judged, n, LONGEST)
        self.judged = n
        if not len(odd):
            return
        raw = self.texts.series(odd)
        held = pl.select(
            pl.when(raw.str.strip_chars() == "").then(None).otherwise(raw).alias("x")
        ).to_series()
        if self.renamed:
            held = held.replace(dict(self.renamed))
        clean = held.str.strip_chars()
        blank = clean.is_null() | (clean == "")
        listed = clean.is_in(list(NOTHING)) & ~blank
        bad = blank | (clean.str.len_chars() > LONGEST) | clean.str.contains("\x00", literal=True)
        bad = (bad if self.typed else bad | listed).fill_null(True)
        self.bad[odd[bad.to_numpy()]] = True
        self.any_bad = self.any_bad or bool(bad.any())
        for code, before, text in zip(odd.tolist(), raw, clean, strict=True):
            if not self.bad[code] and text != before:
                self.trimmed[code] = text
        self.padded += odd[(clean != held).fill_null(False).to_numpy()].tolist()
        if self.typed:
            self.nothing += odd[listed.fill_null(False).to_numpy()].tolist()

    def ranks(self) -> tuple[np.ndarray, pl.Series, np.ndarray]:
        """Place of each code among the distinct clean texts in byte order (int32, -1 when bad), the texts in
        that order, and codes in that order (empty when the order had to be found from the texts)."""
        n = self.texts.n
        rank = np.full(n, -1, np.int32)
        good = ~self.bad[:n]
        if not self.trimmed:
            order = self.texts.in_order()
            order = order[good[order]] if not good.all() else order
            rank[order] = np.arange(len(order), dtype=np.int32)
            return rank, self.texts.series(order), order
        clean = self.texts.series()
        codes = pl.Series(list(self.trimmed), dtype=pl.Int64)
        clean = clean.scatter(codes, pl.Series(list(self.trimmed.values()), dtype=pl.String))
        names = clean.filter(pl.Series(good)).unique().sort()
        places = pl.int_range(len(names), eager=True, dtype=pl.Int32)
        found = clean.filter(pl.Series(good)).replace_strict(names, places, return_dtype=pl.Int32)
        rank[good] = found.to_numpy()
        return rank, names.alias("text"), np.zeros(0, np.int64)


def ids_of(keys: Texts, clean: dict[int, str], seen: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Vocabulary names of the codes that were seen, and the id of every code (int32, 0 when unseen)."""
    texts = keys.series().to_list()
    for code, text in clean.items():
        texts[code] = text
    codes = np.flatnonzero(seen).tolist()
    names = ("", "(unknown)", *sorted({texts[c] for c in codes} - {"", "(unknown)"}))
    places = {name: place for place, name in enumerate(names)}
    ids = np.zeros(len(texts), np.int32)
    for code in codes:
        ids[code] = places[texts[code]]
    return names, ids
