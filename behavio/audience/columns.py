"""What may be asked about the cases of a run: one table, one row per case, made of what the run knows.

Only the columns that a question names are made, so a question stays quick on a log of any size.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import polars as pl

from behavio.folder import needed
from behavio.suggest import SuggestSettings
from behavio.suggest.timeline import PRESSURE_DAYS, is_touch

COUNT, AGO, LIKELY, SAYS = "n_", "days_since_", "p_", "says_"
"""Families of columns, each followed by an activity, the last by a question of the survey."""
BASIS, SURE = "_basis", "_p"
"""What stands beside an answer: answered or projected, and how likely it is."""
OWN = {
    "segment": "segments/segments.parquet",
    "strength": "segments/segments.parquet",
    "variant_rank": "journeys/cases.parquet",
    "stage": "stages/stages.parquet",
    "pressure": "pressure/cases.parquet",
    "profile": "perceptions/combined.parquet",
    "profile_basis": "perceptions/combined.parquet",
    "suggested": "suggestions/suggestions.parquet",
}
"""Columns that come from a table of the run, which may be missing."""
WORDS = {
    "case_id": "id of the case",
    "events": "number of events",
    "days_since_first": "days between the first event and the newest of the log",
    "days_since_last": "days between the last event and the newest of the log",
    f"contacts_{PRESSURE_DAYS}d": f"contacts by the company in the last {PRESSURE_DAYS} days",
    "segment": "group of the run",
    "strength": "how clearly the case belongs to its group, 0 to 1",
    "variant_rank": "rank of the journey among all, 1 the most frequent",
    "stage": "stage on the adoption ladder",
    "pressure": "contact pressure: over, within, under or unknown",
    "profile": "profile of behaviour and answers together (by projected answers: see profile_basis)",
    "profile_basis": "answered or projected",
    "suggested": "action suggested first",
}


@dataclass(frozen=True)
class CaseColumns:
    """The columns of a run that a question may name."""

    run: Path

    @cached_property
    def events(self) -> pl.LazyFrame:
        """Events of the run."""
        return pl.scan_parquet(needed(self.run, "log/events.parquet"))

    @cached_property
    def as_of(self) -> dt.datetime | None:
        """Time of the newest event; None without a clock."""
        if "timestamp" not in self.events.collect_schema():
            return None
        found: dt.datetime | None = self.events.select(pl.col("timestamp").max()).collect().item()
        return found

    @cached_property
    def activities(self) -> list[str]:
        """Every activity of the log, by name."""
        return (
            self.events.select(pl.col("activity").cast(pl.String).unique())
            .collect()["activity"]
            .sort()
            .to_list()
        )

    @cached_property
    def attributes(self) -> dict[str, str]:
        """Attributes of the cases: the name to ask by, the column. Own names win: segment → case_segment."""
        schema = pl.read_parquet_schema(self.run / "log" / "cases.parquet")
        return {(f"case_{c}" if c in WORDS else c): c for c in schema if c != "case_id"}

    @cached_property
    def named(self) -> list[str]:
        """Every column, activities one by one."""
        own = [c for c in WORDS if (self.run / OWN.get(c, "log/events.parquet")).is_file()]
        likely = (self.run / "next" / "next_steps.parquet").is_file()
        families = (COUNT, AGO, *((LIKELY,) if likely else ()))
        said = [c + end for c in self.questions for end in ("", BASIS, SURE)]
        return [*own, *self.attributes, *(f"{f}{a}" for f in families for a in self.activities), *said]

    @cached_property
    def questions(self) -> dict[str, str]:
        """Questions of the survey: the name to ask by, the question."""
        file = self.run / "perceptions" / "cases.parquet"
        if not file.is_file():
            return {}
        asked = pl.read_parquet(file, columns=["question"])["question"].unique().sort().to_list()
        return {SAYS + re.sub(r"[^a-z0-9]+", "_", q.lower()).strip("_"): q for q in asked}

    def marked(self, wanted: Collection[str]) -> list[str]:
        """The wanted columns, and beside every answer whether it was given or projected."""
        found = list(wanted)
        for name in wanted:
            stem = name.removesuffix(BASIS).removesuffix(SURE)
            beside = (
                stem + BASIS if stem in self.questions else "profile_basis" if name == "profile" else name
            )
            found += [beside] if beside not in found else []
        return found

    def described(self) -> pl.DataFrame:
        """column, meaning, example: families of columns once, attributes with their most frequent values."""
        rows = [(c, WORDS[c], "") for c in WORDS if c in self.named]
        cases = pl.read_parquet(self.run / "log" / "cases.parquet")
        for name, column in self.attributes.items():
            seen = cases[column].drop_nulls().cast(pl.String)
            usual = seen.value_counts(sort=True).head(3)[column].to_list() if seen.len() else []
            rows.append((name, "attribute of the case", ", ".join(usual)))
        for name, question in self.questions.items():
            rows.append((name, f"{question}: the answer, given or (name{BASIS}) projected", ""))
        some = ", ".join(self.activities[:3])
        rows.append((f"{COUNT}ACTIVITY", "how often the case has the activity", some))
        rows.append((f"{AGO}ACTIVITY", "days since its last one; empty when there is none", some))
        if f"{LIKELY}{self.activities[0]}" in self.named:
            rows.append(
                (f"{LIKELY}ACTIVITY", "probability that it is the next event; 0 when not listed", some)
            )
        return pl.DataFrame(rows, schema=["column", "meaning", "example"], orient="row")

    def table(self, wanted: Collection[str]) -> pl.DataFrame:
        """One row per case of the log with `case_id` and the wanted columns, in order of case ids."""
        frame = pl.read_parquet(self.run / "log" / "cases.parquet").with_columns(
            pl.col("case_id").cast(pl.String)
        )
        frame = frame.select(
            "case_id", *(pl.col(c).alias(n) for n, c in self.attributes.items() if n in wanted)
        )
        frame = frame.join(self._counted(wanted), on="case_id", how="left").sort("case_id")
        counted = [c for c in frame.columns if c.startswith(("events", COUNT, "contacts_"))]
        frame = frame.with_columns(pl.col(c).fill_null(0) for c in counted if c not in self.attributes)
        for columns, made in self._from_tables(wanted):
            frame = frame.join(made(), on="case_id", how="left")
            zero = [c for c in columns if c.startswith(LIKELY)]
            frame = frame.with_columns(pl.col(c).fill_null(0.0) for c in zero)
        return frame.select("case_id", *(c for c in wanted if c != "case_id"))

    def _counted(self, wanted: Collection[str]) -> pl.DataFrame:
        """What the events say: counts and days."""
        found = {"events": pl.len()}
        newest, when = self.as_of, pl.col("timestamp")
        if newest is not None:
            day = 86_400_000_000

            def ago(time: pl.Expr) -> pl.Expr:
                return (pl.lit(newest) - time).dt.total_microseconds() / day

            found |= {"days_since_first": ago(when.min()), "days_since_last": ago(when.max())}
            recent = when > newest - dt.timedelta(days=PRESSURE_DAYS)
            if f"contacts_{PRESSURE_DAYS}d" in wanted:
                touch = is_touch(SuggestSettings()) & recent
                found[f"contacts_{PRESSURE_DAYS}d"] = touch.sum()
        for activity in self.activities:
            own = pl.col("activity").cast(pl.String) == activity
            found[f"{COUNT}{activity}"] = own.sum()
            if newest is not None:
                found[f"{AGO}{activity}"] = ago(when.filter(own).max())
        asked = [e.alias(n) for n, e in found.items() if n in wanted and n not in self.attributes]
        return self.events.group_by(pl.col("case_id").cast(pl.String)).agg(asked).collect()

    def _from_tables(self, wanted: Collection[str]) -> list[tuple[list[str], Callable[[], pl.DataFrame]]]:
        """Columns from the run's other tables, each table read once and only when it is asked for."""
        found: list[tuple[list[str], Callable[[], pl.DataFrame]]] = []
        for table in sorted(set(OWN.values())):
            columns = [c for c in wanted if OWN.get(c) == table]
            if columns:
                found.append((columns, partial(self._own, table, columns)))
        likely = [c for c in wanted if c.startswith(LIKELY) and c not in self.attributes]
        if likely:
            found.append((likely, partial(self._likely, likely)))
        said = [c for c in wanted if self._stem(c) in self.questions and c not in self.attributes]
        if said:
            found.append((said, partial(self._said, said)))
        return found

    @staticmethod
    def _stem(column: str) -> str:
        return column.removesuffix(BASIS).removesuffix(SURE)

    def _said(self, columns: list[str]) -> pl.DataFrame:
        """Answers: on a scale the value, else the likeliest one; each with its basis and probability."""
        rows = pl.read_parquet(needed(self.run, "perceptions/cases.parquet"))
        table = rows.select(pl.col("case_id").cast(pl.String).unique().sort())
        for stem in dict.fromkeys(self._stem(c) for c in columns):
            own = rows.filter(question=self.questions[stem])
            scale = own["answer"].null_count() == own.height
            best = own.sort("probability", descending=True, nulls_last=True).unique(
                "case_id", keep="first", maintain_order=True
            )
            best = best.select(
                pl.col("case_id").cast(pl.String),
                pl.col("value" if scale else "answer").alias(stem),
                pl.col("basis").alias(stem + BASIS),
                pl.col("probability").alias(stem + SURE),
            )
            table = table.join(best, on="case_id", how="left")
        return table.select("case_id", *columns)

    def _own(self, table: str, columns: list[str]) -> pl.DataFrame:
        rows = pl.read_parquet(needed(self.run, table))
        if "suggested" in columns:
            rows = rows.filter(pl.col("rank") == 1).rename({"action": "suggested"})
        if "profile_basis" in columns:
            rows = rows.rename({"basis": "profile_basis"})
        if "pressure" in columns:
            rows = rows.rename({"verdict": "pressure"})
        return rows.select(pl.col("case_id").cast(pl.String), *columns).unique("case_id", keep="first")

    def _likely(self, columns: list[str]) -> pl.DataFrame:
        steps = pl.read_parquet(needed(self.run, "next/next_steps.parquet")).drop_nulls("activity")
        probability = pl.col("probability")
        return steps.group_by(pl.col("case_id").cast(pl.String)).agg(
            probability.filter(pl.col("activity") == c.removeprefix(LIKELY)).sum().alias(c) for c in columns
        )
