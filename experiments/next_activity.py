"""Next activity on any log: every model beside its baselines on the same held-out events.

    python -m experiments.next_activity --log ../shared/data/bpic2012/events.parquet --strip + --seeds 3

--split time     one global cut (--cut, default 70 % of events): nothing after it is seen, cases cross it
--split case     whole cases held out, the latest to begin
--split column   the log's own column (--column, default split): test (or true) is held out

Without --end only steps with a next event are scored, so the end of a case is neither a class nor judged.
With --end it is one more class; --first also asks for the first event, from nothing; --min-prefix N leaves
out shorter prefixes.

Next to published numbers: Tax et al. (2017) score prefixes of two events and more, and their test lines
carry no end, so only non-final events count:

    --log tax_helpdesk/events.parquet --split column --min-prefix 2         (1,993 events)
    --log tax_bpi12_w/events.parquet --split column --min-prefix 2          (17,453 events)

The re-run of a Tax-style LSTM on the 64/16/20 splits counts the end and, on the Helpdesk, the first event:

    --log helpdesk_italian/events.parquet --split column --end --first --fields resource

Stack Overflow badges, test part 1 with its users out of training:

    --log stackoverflow_badges/events.parquet --split column --column in_test_1

--fields a,b lets models read attributes; numbers are cut into steps by what is learnt from. --json OUT writes
`log`, `split`, `n_test` and `models.{name}.{accuracy,top3,nll,brier,ece,gap_mae_days,coverage80,fit_s,…}`.
Numbers are means over seeds with 95 % intervals over cases; seconds and memory are this machine's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import polars as pl

import behavio

MAIN = ("accuracy", "top3", "macro_f1", "nll", "brier", "ece", "gap_mae_days", "coverage80")
SPENT = ("fit_s", "predict_s", "memory_mb")


def log_of(path: Path, activity: str | None, strip: str | None) -> pl.DataFrame:
    """The table, with the activity cut at `strip` or taken from another column where asked."""
    table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    if activity is not None:
        table = table.with_columns(pl.col(activity).cast(pl.String).fill_null("(none)").alias("activity"))
    if strip is not None:
        table = table.with_columns(pl.col("activity").str.split(strip).list.first())
    return table


def result(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """What --json writes: models by name, rounded so that equal runs compare."""
    lines = {line["name"]: {k: v for k, v in line.items() if k != "name"} for line in found["models"]}
    for model, line in lines.items():
        line |= found["measured"][model]
    rest = {k: v for k, v in found.items() if k not in ("models", "measured", "split")}
    return {"log": name, "split": found["split"], **rest, "models": lines}


def shown(found: dict[str, Any]) -> pl.DataFrame:
    """One line per model."""
    rows = []
    for line in found["models"]:
        row: dict[str, Any] = {"model": line["name"]}
        row |= {key: line[key] for key in MAIN}
        row["accuracy 95 %"] = f"{line['accuracy_low']:.3f}–{line['accuracy_high']:.3f}"
        row["seen"], row["unseen"] = line["nll_seen"], line["nll_unseen"]
        gain = line.get("gain_nll")
        row["saves nll"] = (
            "" if gain is None else f"{gain['mean']:+.4f} ({gain['low']:+.4f} {gain['high']:+.4f})"
        )
        row |= found["measured"][line["name"]]
        rows.append(row)
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table.with_columns(pl.col(pl.Float64).round(4))


def asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--split", default="time", choices=("time", "case", "column"))
    parser.add_argument("--column", default="split", help="column of --split column")
    parser.add_argument(
        "--cut", type=float, default=0.7, help="share of events (time) or cases to learn from"
    )
    parser.add_argument("--activity", help="column to take as the activity")
    parser.add_argument("--strip", help="cut the activity at this text, for example + before a lifecycle")
    parser.add_argument("--fields", default="", help="attributes models may read, comma between")
    parser.add_argument("--end", action="store_true", help="the end of a case is a class")
    parser.add_argument("--first", action="store_true", help="predict the first event too")
    parser.add_argument("--min-prefix", type=int, help="fewest events before a judged one")
    parser.add_argument("--models", default="", help="only these and the baselines, comma between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="OUT")
    return parser.parse_args()


def main() -> None:
    """Read, judge, print one table."""
    options = asked()
    rules: dict[str, Any] = {
        "split": options.split,
        "column": options.column,
        "cut": options.cut,
        "end": options.end,
        "first": options.first,
        "min_prefix": options.min_prefix,
        "seeds": options.seeds,
        "models": [n for n in options.models.split(",") if n],
        "fields": [n for n in options.fields.split(",") if n],
    }
    table = log_of(options.log, options.activity, options.strip)
    found = behavio.evaluate(table, seed=options.seed, **rules)
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=240, tbl_hide_dataframe_shape=True):
        print(shown(found).drop("memory_mb"))
    print(
        f"{found['split']}; {found['n_test']:,} events of {found['n_test_cases']:,} cases held out, "
        f"{found['unseen_share']:.0%} after a history never seen whole; {found['n_identical_cases']:,} of "
        f"{found['n_cases_not_in_training']:,} new cases equal a training case"
    )
    if found["constant_gap"]:
        gap = found["constant_gap"]
        print(f"constant median gap {gap['median_days']:.3f} days: mean absolute error {gap['mae_days']:.3f}")
    if options.json:
        name = options.log.parent.name if options.log.stem == "events" else options.log.stem
        text = json.dumps(result(name, found), indent=2, ensure_ascii=False) + "\n"
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
