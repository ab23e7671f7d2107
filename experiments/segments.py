"""How well do segments recover known groups, and is the sequence model worth it?

python -m experiments.segments --log FILE [--truth FILE] [--json OUT] [--seed 7]
FILE: CSV or Parquet with case_id, activity, timestamp (and direction, where the log tells who acted).
Truth: case_id and group (or archetype). Prints ARI, NMI, k and seconds of every method.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.files import write_json
from behavio.log import EventLog
from behavio.segments import SegmentSettings, find
from behavio.sequences import SequenceSet

METHODS = ("semi_markov", "kmeans")


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet or CSV file."""
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, try_parse_dates=True)


def read_sequences(path: Path) -> SequenceSet:
    """The log as sequences; times without a zone are UTC, ties keep the order of the file."""
    table = read_table(path)
    columns = [c for c in ("case_id", "activity", "timestamp", "direction") if c in table.columns]
    table = table.select(columns)
    timed = table["timestamp"].null_count() < table.height
    if not timed:  # an order without a clock: positions stand for seconds
        place = pl.int_range(pl.len()).over("case_id") * 1_000_000
        table = table.with_columns(place.cast(pl.Datetime("us")).alias("timestamp"))
    return SequenceSet.from_log(EventLog.from_frame(table, timed=timed))


def agreement(truth: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Adjusted Rand index and normalised mutual information; unassigned cases count as a group."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "ari": round(float(adjusted_rand_score(truth, label)), 4),
        "nmi": round(float(normalized_mutual_info_score(truth, label)), 4),
    }


def run(log: Path, truth: Path | None, seed: int) -> dict[str, Any]:
    """Every method on one log."""
    sequences = read_sequences(log)
    groups = None
    if truth is not None:
        table = read_table(truth).with_columns(pl.col("case_id").cast(pl.String))
        column = "group" if "group" in table.columns else "archetype"
        known = sequences.case_ids.to_frame("case_id").join(
            table.select("case_id", column).unique("case_id"), on="case_id", how="left", maintain_order="left"
        )
        if known[column].null_count() == known.height:
            sys.exit(f"error: no case of {log} is in {truth}\n\nhint: the truth needs the log's case_id")
        groups = known[column].cast(pl.String).to_numpy()
    answer: dict[str, Any] = {"n_cases": sequences.n_cases, "n_events": sequences.n_events, "methods": {}}
    for kind in METHODS:
        began = time.perf_counter()
        found = find(sequences, SegmentSettings(kind=kind), seed)
        facts: dict[str, Any] = {"k": found.choice.k, "seconds": round(time.perf_counter() - began, 2)}
        facts["n_unassigned"] = found.segmentation.n_unassigned
        facts["held_out_gain_per_event"] = round(found.choice.gain, 6)
        facts["names"] = list(found.segmentation.names)
        if groups is not None:
            told = np.array([g is not None for g in groups])
            facts |= agreement(groups[told].astype(str), found.segmentation.segment_id[told])
        answer["methods"][kind] = facts
    answer["default"] = {"method": "semi_markov", "k": answer["methods"]["semi_markov"]["k"]}
    return answer


def main() -> None:
    """Read the arguments, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    answer = run(chosen.log, chosen.truth, chosen.seed)
    print(f"{answer['n_cases']:,} cases, {answer['n_events']:,} events")
    for name, facts in answer["methods"].items():
        scores = f"ARI {facts['ari']:.3f}  NMI {facts['nmi']:.3f}  " if "ari" in facts else ""
        print(f"{name:12s} {scores}k {facts['k']:2d}  {facts['seconds']:.1f} s  {', '.join(facts['names'])}")
    if chosen.json is not None:
        write_json(chosen.json, answer)


if __name__ == "__main__":
    main()
