"""Audiences: the cases of a run that fit a question, counted first, exported with consent applied.

A question is the WHERE of SQL over one row per case: "segment = 'Portal after email' and specialty =
'Cardiology' and days_since_last > 21 and p_email_open > 0.4". What may be asked is in `audience_columns`.
A saved audience is its question, no list of people: asked again it counts who fits now.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import polars as pl

from behavio.audience.columns import BASIS, CaseColumns
from behavio.errors import JobError, RunError
from behavio.files import read_json, write_json
from behavio.suggest.candidates import case_flags
from behavio.suggest.consents import CLOSED, about_product, consent_states, product_states, spoken_of
from behavio.suggest.rules import CALLS
from behavio.targets.csvfiles import confirm, guarded, write_csv

__all__ = ["SMALLEST", "Audience", "audience", "audience_columns", "saved_audiences"]

SMALLEST = 10
"""Groups of fewer people are neither counted nor exported: they would name somebody."""
SAVED = "audiences.json"


@dataclass(frozen=True, eq=False)
class Audience:
    """The cases of a run that fit a question.

    members    one row per case: case_id and the columns the question names, in order of case ids
    n_cases    how many cases the run has
    """

    run: Path
    where: str
    members: pl.DataFrame
    n_cases: int

    @property
    def small(self) -> bool:
        """True for a group that is too small to be told about, but not empty."""
        return 0 < self.members.height < SMALLEST

    @property
    def count(self) -> int | None:
        """Number of members; None where there are fewer than SMALLEST."""
        return None if self.small else self.members.height

    @property
    def projected(self) -> int:
        """Members who are in by a projected answer: nobody said it of them."""
        basis = [c for c in self.members.columns if c.endswith(BASIS)]
        if not basis:
            return 0
        return self.members.filter(pl.any_horizontal(pl.col(c) == "projected" for c in basis)).height

    @cached_property
    def reachable(self) -> pl.DataFrame:
        """channel, reachable: members who may be contacted there today, for each channel of the run.

        Counts below SMALLEST are null, 0 stays 0.
        """
        n = {c: self.allowed(c).height for c in self.channels}
        shown = [None if 0 < v < SMALLEST else v for v in n.values()]
        return pl.DataFrame(
            {"channel": list(n), "reachable": shown}, schema_overrides={"reachable": pl.Int64}
        )

    @cached_property
    def by_segment(self) -> pl.DataFrame:
        """segment, n_cases, share of the audience; empty without groups or for a small audience.

        Groups of fewer than SMALLEST members stand in one row, with the next larger one where it takes that
        to hide them.
        """
        file = self.run / "segments" / "segments.parquet"
        if not file.is_file() or self.small:
            return pl.DataFrame(schema={"segment": pl.String, "n_cases": pl.Int64, "share": pl.Float64})
        labels = pl.read_parquet(file, columns=["case_id", "segment"])
        found = self.members.select("case_id").join(labels, on="case_id", how="left")
        sizes = found.group_by(pl.col("segment").fill_null("no group")).agg(
            pl.len().cast(pl.Int64).alias("n_cases")
        )
        sizes = sizes.sort("n_cases", "segment", descending=[True, False])
        together = pl.col("n_cases").cum_sum(reverse=True)
        small = sizes.select(
            (pl.col("n_cases") < SMALLEST) | (together - pl.col("n_cases")).is_between(1, SMALLEST - 1)
        )
        hidden = small.to_series()
        if hidden.sum() > 1:
            rest = {
                "segment": ["smaller groups together"],
                "n_cases": [int(sizes.filter(hidden)["n_cases"].sum())],
            }
            sizes = pl.concat([sizes.filter(~hidden), pl.DataFrame(rest)])
        return sizes.with_columns(share=pl.col("n_cases") / max(self.members.height, 1))

    @cached_property
    def channels(self) -> list[str]:
        """Channels the company used in the run."""
        events = CaseColumns(self.run).events
        if not {"channel", "direction"} <= set(events.collect_schema().names()):
            return []
        used = events.filter(pl.col("direction") == "outbound").select(
            pl.col("channel").drop_nulls().unique()
        )
        return used.collect()["channel"].sort().to_list()

    def allowed(self, channel: str, brand: str | None = None) -> pl.DataFrame:
        """Members who may be contacted through a channel, about a product, on the day of the newest event.

        Left out are those without a valid opt-in where one is asked for, those who opted out, do-not-call for
        calls, inactive accounts and data-privacy opt-outs. Without a product everybody is left out who closed
        the channel to any: nobody can tell what the list will be used for. Raises JobError for a channel
        never used.
        """
        if channel not in self.channels:
            near = get_close_matches(channel, self.channels, 1, 0.3)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise JobError(
                f"nobody was contacted through {channel!r}",
                hint=f"{hint}channels: {', '.join(self.channels)}",
            )
        log = self.run / "log"
        flags = case_flags(pl.read_parquet(log / "cases.parquet"))
        closed = pl.col("inactive") | pl.col("privacy_opt_out")
        if channel in CALLS:
            closed |= pl.col("do_not_call")
        barred = flags.filter(closed).select("case_id")
        left = self.members.join(barred, on="case_id", how="anti", maintain_order="left")
        consents = pl.read_parquet(log / "consents.parquet")
        newest = CaseColumns(self.run).as_of
        if newest is None or consents.is_empty():
            return left
        now = int(newest.timestamp() * 1_000_000)
        states = consent_states(consents, [channel], now, now).select("case_id", "consent")
        known = left.join(states, on="case_id", how="left", maintain_order="left")
        own = product_states(consents, [channel], now, now)
        if brand is None:
            shut = own.filter(pl.col("product_consent").is_in(CLOSED)).select("case_id").unique()
            known = known.join(shut, on="case_id", how="anti", maintain_order="left")
        else:
            asked = known.select("case_id", "consent", channel=pl.lit(channel), brand=pl.lit(brand))
            asked = about_product(asked, own).select("case_id", "consent")
            known = known.drop("consent").join(asked, on="case_id", how="left", maintain_order="left")
        granted = pl.col("consent") == "granted"
        if channel not in spoken_of(consents):
            granted |= pl.col("consent").is_null()
        return known.filter(granted.fill_null(False)).drop("consent")

    def export(self, path: Path, channel: str, brand: str | None = None) -> int:
        """Write the members who may be contacted through a channel, about a product, as CSV: their number.

        RunError for fewer than SMALLEST people: such a list names them by what they have in common.
        """
        left = self.allowed(channel, brand)
        if left.height < SMALLEST:
            raise RunError(
                f"fewer than {SMALLEST} people fit and may be contacted through {channel}",
                hint="no list is written: ask for less, so that the group grows",
            )
        rows = [
            {c: "" if v is None else str(v) for c, v in row.items()}
            for row in left.with_columns(pl.lit(channel).alias("channel")).iter_rows(named=True)
        ]
        columns, safe = [*left.columns, "channel"], guarded(rows, exact=("case_id",))
        write_csv(path, columns, safe)
        return confirm(path, columns, safe)

    def save(self, name: str) -> None:
        """Keep the question under a name, replacing an older one. JobError when it names people."""
        if "case_id" in pl.sql_expr(self.where).meta.root_names():
            raise JobError("a saved audience is a rule, it may not name people", hint="leave case_id out")
        write_json(self.run / SAVED, {**saved_audiences(self.run), name: self.where})


def audience(run: Path, where: str) -> Audience:
    """The cases of a run that fit a question, or the saved question of that name.

    Raises JobError for a question that is no SQL, names an unknown column (the nearest is told), or
    compares what cannot be compared.
    """
    where = saved_audiences(run).get(where, where)
    known = CaseColumns(run)
    try:
        asked = pl.sql_expr(where)
        wanted = list(dict.fromkeys(asked.meta.root_names()))
    except pl.exceptions.PolarsError as problem:
        raise JobError(f"{where!r} is no question: {_first_line(problem)}", hint=EXAMPLE) from None
    for column in wanted:
        if column not in known.named:
            near = get_close_matches(column, known.named, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else "behavio audience RUN lists what may be asked"
            raise JobError(f"there is no column {column!r}", hint=hint)
    table = known.table(known.marked(wanted))
    try:
        fits = table.select(asked.alias("fits"))["fits"]
    except pl.exceptions.PolarsError as problem:
        kinds = ", ".join(f"{c} is {_kind(table.schema[c])}" for c in wanted)
        raise JobError(f"{where!r} cannot be answered: {_first_line(problem)}", hint=kinds) from None
    if fits.dtype != pl.Boolean or len(fits) != table.height:
        raise JobError(f"{where!r} is not true or false for each case", hint=EXAMPLE)
    return Audience(run, where, table.filter(fits.fill_null(False)), table.height)


def audience_columns(run: Path) -> pl.DataFrame:
    """What a question may name: column, meaning, example."""
    return CaseColumns(run).described()


def saved_audiences(run: Path) -> dict[str, str]:
    """Saved questions by name."""
    path = run / SAVED
    return {str(k): str(v) for k, v in dict(read_json(path)).items()} if path.is_file() else {}


EXAMPLE = "for example: \"segment = 'Quick openers' and days_since_last > 21\" (texts in single quotes)"


def _kind(kind: pl.DataType) -> str:
    return "a number" if kind.is_numeric() else "a text" if kind == pl.String else str(kind)


def _first_line(problem: Exception) -> str:
    return str(problem).partition("\n")[0]
