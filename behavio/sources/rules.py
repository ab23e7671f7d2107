"""What rules add to events: topics and brands by the job's patterns, opt-outs by the mapping."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from behavio.errors import JobError
from behavio.log import CONSENT_SCHEMA, TIME
from behavio.sources.mapping import SourceMapping
from behavio.sources.records import as_text
from behavio.sources.settings import SourceSettings
from behavio.sources.sieve import Sieve
from behavio.sources.topics import Rules, named, page_path, rules_of, unmatched_note


def by_rules(
    sieve: Sieve, mapping: SourceMapping, settings: SourceSettings, columns: Mapping[str, pl.Expr]
) -> dict[str, pl.Expr]:
    """`content` and `brand` by the rules of the job, and `content` of visits by what was looked at."""
    found: dict[str, pl.Expr] = {}
    nothing = pl.lit(None, dtype=pl.String)
    topics, brands = rules_of(settings.topics), rules_of(settings.brands)
    if "__topic__" in sieve.frame.columns:
        own = columns.get("content", nothing)
        found["content"] = pl.when("__apart__").then(own).otherwise("__topic__")
    elif topics:
        found["content"] = pl.lit(_ruled(sieve, mapping, topics, "topics"))
    if brands:
        rule = pl.lit(_ruled(sieve, mapping, brands, "brands"))
        found["brand"] = pl.coalesce(columns.get("brand", nothing), rule)
    return found


def _ruled(sieve: Sieve, mapping: SourceMapping, rules: Rules, what: str) -> pl.Series:
    have = [c for c in mapping.page.needs if c in sieve.frame.columns]
    if not have:
        hint = "name it in a copy of the mapping: page = …"
        raise JobError(f"[source.{sieve.name}] has {what}, but no column names a page or mail", hint=hint)
    texts = [sieve.frame.select(page_path(as_text(sieve.frame, c))).to_series() for c in have]
    names = named(rules, texts)
    shown = sieve.frame.select(pl.coalesce([pl.lit(t) for t in texts])).to_series()
    if note := unmatched_note(shown, names, what):
        sieve.notes.append(note)
    return names


def opted_out(events: pl.DataFrame, mapping: SourceMapping, settings: SourceSettings) -> pl.DataFrame:
    """Consent statements that events make by themselves: who unsubscribes has opted out since then."""
    new = settings.values.get("activity", {})
    rules = {new.get(a, a) if isinstance(new, Mapping) else a: c for a, c in mapping.opt_out.items()}
    said = events.filter(pl.col("activity").is_in(list(rules)))
    return said.select(
        "case_id",
        pl.col("activity").replace_strict(dict(rules), default=None, return_dtype=pl.String).alias("channel"),
        pl.lit("opt_out").alias("state"),
        "timestamp",
        pl.lit(None, dtype=TIME).alias("expires"),
        "source",
        "source_row",
        pl.lit(None, dtype=pl.String).alias("brand"),
    ).cast(dict(CONSENT_SCHEMA))  # type: ignore[arg-type]
