"""Next activity on any log: every model beside its baselines, on the same events after one cut in time.

    python -m experiments.next_activity ../shared/data/bpic2012/events.parquet --strip "+" --save bpic2012

Writes experiments/results/next_activity_<name>.json with --save. Seconds are wall clock on this machine
and stand apart; everything else repeats with the seed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import polars as pl

import behavio

RESULTS = Path(__file__).parent / "results"


def log_of(path: Path, activity: str | None, strip: str | None) -> pl.DataFrame:
    """The table, with the activity cut at `strip` or taken from another column where asked."""
    table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    if activity is not None:
        table = table.with_columns(pl.col(activity).cast(pl.String).fill_null("(none)").alias("activity"))
    if strip is not None:
        table = table.with_columns(pl.col("activity").str.split(strip).list.first())
    return table


def shown(found: dict[str, Any]) -> pl.DataFrame:
    """The columns worth printing."""
    columns = ("name", "kind", "order", "accuracy", "top3", "nll", "brier", "ece", "gap_mae_days")
    lines = [{c: line[c] for c in columns} for line in found["models"]]
    return pl.DataFrame(lines, infer_schema_length=None).with_columns(pl.col(pl.Float64).round(4))


def main() -> None:
    """Read, evaluate, print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("--kind", default="pool", help="ngram, gru or pool")
    parser.add_argument("--activity", help="column to take as the activity")
    parser.add_argument("--strip", help="cut the activity at this text, for example + before a lifecycle")
    parser.add_argument("--cut", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--truth", help="table of true probabilities of a simulated log")
    parser.add_argument("--save", metavar="NAME", help="write results/next_activity_NAME.json")
    options = parser.parse_args()
    table = log_of(options.log, options.activity, options.strip)
    settings: dict[str, Any] = {"kind": options.kind, "cut": options.cut}
    if options.truth:
        settings["truth"] = options.truth
    began = time.perf_counter()
    found = behavio.evaluate(table, seed=options.seed, **settings)
    seconds = time.perf_counter() - began
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True):
        print(shown(found))
    for note in found["notes"]:
        print(note)
    print(f"{found.get('split')}; {found['n_test_events']:,} events held out; {seconds:.1f} s")
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        whole = {"log": options.log.parent.name, **settings, "seed": options.seed, **found}
        if options.truth:
            whole["truth"] = Path(options.truth).name
        whole["measured"] = {"seconds": round(seconds, 1)}
        text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
        (RESULTS / f"next_activity_{options.save}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
