"""What suggestions must show, on a finished run: python experiments/must_show.py RUN [--out FILE].

caps        at most three suggestions fall due for a rep on a day
rows        what each reason tells of the HCP stands in the rows it names, with the same dates
recount     counts, shares and bases of each suggestion counted again, event by event, by the slow checker of
            the tests, on 150 simulated HCPs
colleague   a colleague's visit today, added for each of 20 HCPs with a suggestion: it is held back or changed
consent     the opt-in erased for each of 20 HCPs with an email suggested: it is gone
shuffled    the responses of every HCP given to another one, 60 times, by seeds that nothing was chosen on:
            how often any suggestion is left
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from oracles_suggest import Recount

from behavio.files import write_json
from behavio.log import EventLog
from behavio.simulate import SimulateSettings, simulate_log
from behavio.sources import read
from behavio.suggest import Found, SuggestSettings
from behavio.suggest.make import make_suggestions
from behavio.suggest.reasons import date

TRIED = 20
SHUFFLES = 60
FIRST_SHUFFLE = 1_000
"""Seeds 0 to 99 were looked at while the tests of a gain were made."""


def made(log: EventLog, run: Path | None, settings: SuggestSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Suggestions and suppressions, with what the run found."""

    def table(path: str) -> pl.DataFrame | None:
        return pl.read_parquet(run / path) if run is not None and (run / path).is_file() else None

    found = Found(
        table("stages/stages.parquet"), table("stages/moves.parquet"), table("pressure/cases.parquet")
    )
    tables = make_suggestions(
        log, None, table("segments/segments.parquet"), settings, lambda _w, _s: None, found
    ).tables
    return tables["suggestions"], tables["suppressed"]


def rows_hold(suggestions: pl.DataFrame, log: EventLog) -> dict[str, int]:
    """Every date a reason tells of the HCP is that of a row it names, and every row is of that HCP."""
    names = pl.format("{}:{}", "source", "source_row")
    events = log.events.with_columns(name=names).select("name", "case_id", "timestamp")
    known = {name: (case, when) for name, case, when in events.iter_rows()}
    wrong = 0
    for s in suggestions.iter_rows(named=True):
        said = s["reason"].split(". ")[0]
        rows = [known[r] for r in s["evidence_rows"]]
        days = {date(when.date()) for _, when in rows}
        told = {f"{p[0]} {p[1]} {p[2]}" for p in _dates(said)}
        wrong += any(case != s["case_id"] for case, _ in rows) or not told <= days or not rows
    return {"checked": suggestions.height, "wrong": wrong}


def _dates(text: str) -> list[tuple[str, str, str]]:
    import re

    return re.findall(r"\b(\d{1,2}) ([A-Z][a-z]{2}) (\d{4})\b", text)


def recounted() -> dict[str, int]:
    """Every number behind every suggestion, counted by loops over events."""
    events, _ = simulate_log(SimulateSettings(n_cases=150, seed=3))
    log = read(events)
    suggestions, _ = made(log, None, SuggestSettings())
    oracle, wrong = Recount(log, 14), 0
    known: dict[tuple[Any, ...], tuple[int, int, int, float]] = {}
    for s in suggestions.iter_rows(named=True):
        cell = (s["action"], s["level"], s["segment"], s["pressure"], s["seen"])
        n, k, base_n, base = known.setdefault(cell, oracle.numbers(s))
        same = (s["evidence_n"], s["responses"], s["base_n"]) == (n, k, base_n)
        wrong += not same or abs(s["base_share"] - base) > 1e-4 or f" {n:,} " not in s["reason"]
    return {"checked": suggestions.height, "statements": len(known), "wrong": wrong}


def with_visit(log: EventLog, case: str) -> EventLog:
    """A colleague's visit on the day of the newest event."""
    newest = log.events.sort("timestamp").tail(1)
    row = log.events.filter((pl.col("case_id") == case) & (pl.col("activity") == "call_f2f")).tail(1)
    row = row if row.height else log.events.filter(pl.col("activity") == "call_f2f").tail(1)
    visit = row.with_columns(
        case_id=pl.lit(case),
        timestamp=pl.lit(newest["timestamp"][0] - dt.timedelta(hours=1)).cast(log.events.schema["timestamp"]),
        actor_id=pl.lit("a colleague"),
        event_index=pl.lit(10**6).cast(log.events.schema["event_index"]),
    )
    events = pl.concat([log.events, visit.select(log.events.columns)]).sort(
        "case_id", "timestamp", "event_index"
    )
    return replace(log, events=events)


def shuffled(log: EventLog, seed: int) -> EventLog:
    """The inbound events of every case given to another case."""
    ids = log.events["case_id"].unique().sort()
    other = ids.gather(np.random.default_rng(seed).permutation(len(ids)))
    swap = dict(zip(ids, other, strict=True))
    inbound = (pl.col("direction") == "inbound").fill_null(False)
    moved = pl.col("case_id").replace_strict(swap, return_dtype=pl.String)
    events = log.events.with_columns(case_id=pl.when(inbound).then(moved).otherwise("case_id"))
    return replace(log, events=events.sort("case_id", "timestamp", "event_index"))


def after_shuffles(log: EventLog, run: Path, settings: SuggestSettings) -> dict[str, Any]:
    """What is left of the suggestions when responses mean nothing."""
    kept, unproven = {}, []
    for seed in range(FIRST_SHUFFLE, FIRST_SHUFFLE + SHUFFLES):
        after, held = made(shuffled(log, seed), run, settings)
        unproven.append(held.filter(reason="no_evidence").height)
        if after.height:
            kept[str(seed)] = dict(after.group_by("action").len().sort("action").iter_rows())
    told = {"tried": SHUFFLES, "keep_any": len(kept), "kept": kept}
    return told | {"no_evidence_least": min(unproven), "no_evidence_most": max(unproven)}


def main() -> None:
    """Ask everything, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    log, settings = EventLog.read(asked.run / "log"), SuggestSettings()
    first, _ = made(log, asked.run, settings)
    told: dict[str, Any] = {"n_suggestions": first.height}
    busiest = (
        first.filter(pl.col("owner_id").is_not_null()).group_by("owner_id", "due_from").len()["len"].max()
    )
    told["caps"] = {"most_per_rep_and_day": busiest}
    told["rows"] = rows_hold(first, log)
    calls = first.filter(pl.col("action") == "call_f2f").sort("suggestion_id").head(TRIED)
    visited = log
    for case in calls["case_id"]:
        visited = with_visit(visited, case)
    after, held = made(visited, asked.run, settings)
    rules = held.filter(pl.col("case_id").is_in(calls["case_id"].implode()), pl.col("action") == "call_f2f")
    still = after.join(calls.select("case_id", "action"), on=["case_id", "action"], how="semi")
    told["colleague"] = {"tried": calls.height, "still_suggested": still.height}
    told["colleague"] |= dict(rules.group_by("reason").len().sort("reason").iter_rows())
    mails = first.filter(pl.col("action") == "email_sent").sort("suggestion_id").head(TRIED)
    erased = replace(log, consents=log.consents.filter(~pl.col("case_id").is_in(mails["case_id"].implode())))
    after, held = made(erased, asked.run, settings)
    still = after.join(mails.select("case_id", "action"), on=["case_id", "action"], how="semi")
    rules = held.filter(pl.col("case_id").is_in(mails["case_id"].implode()), pl.col("action") == "email_sent")
    told["consent"] = {"tried": mails.height, "still_suggested": still.height}
    told["consent"] |= dict(rules.group_by("reason").len().sort("reason").iter_rows())
    told["shuffled"] = after_shuffles(log, asked.run, settings)
    told["recount"] = recounted()
    print(json.dumps(told, indent=1))
    if asked.out:
        write_json(asked.out, told)


if __name__ == "__main__":
    main()
