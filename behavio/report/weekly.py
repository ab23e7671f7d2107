"""What a week, a month or a part of a journey brings, as shares of the people of each group."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from behavio.report.kinds import SILENCE, Kinds
from behavio.report.numbers import MONTHS
from behavio.report.run_tables import RunTables

MOST_BINS = 60
UNITS = (
    (3600.0, "hour"),
    (86_400.0, "day"),
    (7 * 86_400.0, "week"),
    (28 * 86_400.0, "four weeks"),
    (91 * 86_400.0, "quarter"),
    (365.25 * 86_400.0, "year"),
)


@dataclass(frozen=True, eq=False)
class Calendar:
    """How time is cut into bins.

    unit      what one bin is called
    seconds   its length
    relative  True: from each case's own first event; False: by the calendar
    bins      how many
    """

    unit: str
    seconds: float
    relative: bool
    bins: int

    @classmethod
    def of(cls, run: RunTables) -> Calendar:
        """Calendar time where most cases live through half of the log or more, else time since the start."""
        spans = run.events.group_by("case_id").agg(
            span=(pl.col("timestamp").max() - pl.col("timestamp").min()).dt.total_seconds()
        )["span"]
        whole = (run.last - run.first).total_seconds()
        relative = quantile(spans, 0.5) < whole / 2
        length = quantile(spans, 0.9) if relative else whole
        seconds, unit = next(((s, u) for s, u in UNITS if length / s < MOST_BINS - 1), UNITS[-1])
        bins = min(int(length // seconds) + 1, MOST_BINS)
        return cls(unit, seconds, relative, bins)

    def place(self, run: RunTables) -> pl.DataFrame:
        """case_id, activity, bin (from 0) of every event inside the bins."""
        start = pl.col("timestamp").min().over("case_id") if self.relative else pl.lit(self.origin(run))
        micro = (pl.col("timestamp") - start).dt.total_microseconds()
        return run.events.select(
            "case_id", "activity", bin=(micro // int(self.seconds * 1e6)).cast(pl.Int64)
        ).filter(pl.col("bin") < self.bins)

    def origin(self, run: RunTables) -> object:
        """Midnight of the day of the oldest event."""
        return run.first.replace(hour=0, minute=0, second=0, microsecond=0)

    def ticks(self, run: RunTables) -> list[tuple[float, str]]:
        """Places and labels of the axis."""
        if self.relative or not run.timed:
            every = max(1, self.bins // 5)
            return [(float(b), f"{self.unit} {b + 1}") for b in range(0, self.bins, every)]
        origin = self.origin(run)
        whole = self.bins * self.seconds
        ticks: list[tuple[float, str]] = []
        year, month = origin.year, origin.month  # type: ignore[attr-defined]
        for _ in range(12 * 100):
            at = origin.replace(year=year, month=month, day=1)  # type: ignore[attr-defined]
            seconds = (at - origin).total_seconds()
            if seconds > whole:
                break
            if seconds >= -10 * 86_400:
                label = MONTHS[month - 1] if month > 1 or not ticks else str(year)
                ticks.append((max(seconds, 0.0) / self.seconds, label))
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return [t for i, t in enumerate(ticks) if len(ticks) <= 14 or t[1].isdigit() or i % 3 == 0]


def quantile(values: pl.Series, q: float) -> float:
    """The nearest quantile of a column, 0 when it is empty."""
    found = values.quantile(q, "nearest")
    return 0.0 if found is None else float(found)


def shares(
    run: RunTables, kinds: Kinds, calendar: Calendar, groups: pl.DataFrame
) -> dict[str, list[dict[str, float]]]:
    """For every group: one row a bin with the share of its people each kind took; silence is the rest.

    A person whose week holds two kinds counts half for each. groups: case_id, group.
    """
    placed = calendar.place(run).join(kinds.frame(), on="activity").select("case_id", "bin", "kind").unique()
    placed = placed.with_columns(weight=1.0 / pl.len().over("case_id", "bin"))
    sizes = dict(groups.group_by("group").len().sort("group").iter_rows())
    counted = (
        placed.join(groups, on="case_id")
        .group_by("group", "bin", "kind")
        .agg(pl.col("weight").sum())
        .sort("group", "bin", "kind")
    )
    table: dict[str, list[dict[str, float]]] = {
        g: [dict.fromkeys(kinds.names, 0.0) for _ in range(calendar.bins)] for g in sizes
    }
    for group, place, kind, weight in counted.iter_rows():
        table[group][place][kind] = weight / sizes[group]
    for rows in table.values():
        for row in rows:
            row[SILENCE] = max(0.0, 1.0 - sum(row.values()))
    return table
