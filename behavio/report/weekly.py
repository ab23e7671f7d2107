"""What a week, a month or a part of a journey brings, as shares of the people of each group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from behavio.report.kinds import SILENCE, Kinds
from behavio.report.language import spoken, t
from behavio.report.run_tables import RunTables

MOST_BINS = 80
STEP = "step"
UNITS = (
    (1.0, "second"),
    (60.0, "minute"),
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
    bins      how many, whole ones only where the calendar cuts
    """

    unit: str
    seconds: float
    relative: bool
    bins: int

    @classmethod
    def of(cls, run: RunTables) -> Calendar:
        """Calendar time where most cases live through half of the log or more, else time since the start.

        Without a clock, bins are the steps of the journey.
        """
        if not run.timed:
            lengths = run.events.group_by("case_id").len()["len"]
            return cls(STEP, 1.0, True, max(1, min(int(quantile(lengths, 0.9)), MOST_BINS)))
        spans = run.events.group_by("case_id").agg(
            span=(pl.col("timestamp").max() - pl.col("timestamp").min()).dt.total_seconds()
        )["span"]
        whole = (run.last - run.first).total_seconds()
        return cls.over(quantile(spans, 0.5), quantile(spans, 0.75), whole)

    @classmethod
    def over(cls, median_s: float, upper_s: float, whole: float) -> Calendar:
        """By how long journeys take (median and upper quartile) against the whole log, in seconds."""
        relative = median_s < whole / 2
        length = upper_s if relative else whole
        seconds, unit = next(((s, u) for s, u in UNITS if length / s < MOST_BINS - 1), UNITS[-1])
        whole_bins = int(length // seconds) + (relative or length < 8 * seconds)
        bins = max(1, min(whole_bins, MOST_BINS))
        return cls(unit, seconds, relative, bins)

    @property
    def brings(self) -> str:
        """What a caption says: "a week brings", "four weeks bring"."""
        if self.unit == "four weeks":
            return "four weeks bring"
        return f"{'an' if self.unit == 'hour' else 'each' if self.unit == STEP else 'a'} {self.unit} brings"

    def place(self, run: RunTables) -> pl.DataFrame:
        """case_id, activity, bin (from 0) of every event inside the bins."""
        if self.unit == STEP:
            step = pl.int_range(pl.len(), dtype=pl.Int64).over("case_id")
            return run.events.select("case_id", "activity", bin=step).filter(pl.col("bin") < self.bins)
        start = pl.col("timestamp").min().over("case_id") if self.relative else pl.lit(self.origin(run))
        micro = (pl.col("timestamp") - start).dt.total_microseconds()
        return run.events.select(
            "case_id", "activity", bin=(micro // int(self.seconds * 1e6)).cast(pl.Int64)
        ).filter(pl.col("bin") < self.bins)

    def origin(self, run: RunTables) -> datetime:
        """Midnight of the day of the oldest event."""
        return midnight(run.first)

    def ticks(self, run: RunTables) -> list[tuple[float, str]]:
        """Places and labels of the axis."""
        return self.ticks_from(self.origin(run), run.timed)

    def ticks_from(self, origin: datetime, timed: bool = True) -> list[tuple[float, str]]:
        """Places and labels of an axis that begins there."""
        if self.relative or not timed:
            every = max(1, self.bins // 5)
            return [(float(b), f"{t(self.unit)} {b + 1}") for b in range(0, self.bins, every)]
        whole = self.bins * self.seconds
        months = whole / (30.4375 * 86_400)
        every = 1 if months <= 7 else 2 if months <= 14 else 3 if months <= 26 else 6 if months <= 50 else 12
        ticks: list[tuple[float, str]] = []
        year, month = origin.year, 1
        while True:
            at = (origin.replace(year=year, month=month, day=1) - origin).total_seconds()
            if at > whole:
                return ticks
            if at >= 0:
                label = str(year) if month == 1 else spoken().months[month - 1]
                ticks.append((at / self.seconds, label))
            year, month = (year, month + every) if month + every <= 12 else (year + 1, 1)


def midnight(moment: datetime) -> datetime:
    """The beginning of its day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def quantile(values: pl.Series, q: float) -> float:
    """The nearest quantile of a column, 0 when it is empty."""
    found = values.quantile(q, "nearest")
    return 0.0 if found is None else float(found)


def shares(
    run: RunTables, kinds: Kinds, calendar: Calendar, groups: pl.DataFrame, k: int
) -> dict[str, list[dict[str, float | None]]]:
    """For every group: one row a bin with the share of its people each kind took.

    A person whose week holds two kinds counts half for each. A cell of fewer than k people is None; they are
    part of the rest, which is silence. groups: case_id, group.
    """
    placed = calendar.place(run).join(kinds.frame(), on="activity").select("case_id", "bin", "kind").unique()
    placed = placed.with_columns(weight=1.0 / pl.len().over("case_id", "bin"))
    sizes = dict(groups.group_by("group").len().sort("group").iter_rows())
    counted = (
        placed.join(groups, on="case_id")
        .group_by("group", "bin", "kind")
        .agg(pl.col("weight").sum(), people=pl.len())
        .sort("group", "bin", "kind")
    )
    table: dict[str, list[dict[str, float | None]]] = {
        g: [dict.fromkeys(kinds.names, 0.0) for _ in range(calendar.bins)] for g in sizes
    }
    for group, place, kind, weight, people in counted.iter_rows():
        table[group][place][kind] = weight / sizes[group] if people >= k else None
    for rows in table.values():
        for row in rows:
            row[SILENCE] = max(0.0, 1.0 - sum(v or 0.0 for v in row.values()))
    return table
