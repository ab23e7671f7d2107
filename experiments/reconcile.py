"""Is all the dirt found that the simulator planted, kind by kind and to the row?

    python -m experiments.reconcile --cases 400 --months 12 --seeds 3

Simulates extracts, reads them as the demo job does and sets what was planted beside what the reader says it
left out or rejected. Results go to experiments/results/reconcile.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from behavio.job import demo_job
from behavio.log import EventLog
from behavio.simulate import SimulateSettings, simulate
from behavio.sources import read_log

OLD, GONE = "an older or equal copy of a record", "deleted in the CRM"
TIME = "the time cannot be read"
KINDS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "Account.csv": ((("duplicate",), OLD), (("deleted",), GONE)),
    "Call2_vod__c.csv": (
        (("planned", "saved"), "a planned or saved call is no fact"),
        (("deleted",), GONE),
        (("duplicate",), OLD),
        (("broken",), TIME),
        (("group_parent", "group_colleague"), "the attendee is no HCP|the header of a group"),
    ),
    "Call2_Key_Message_vod__c.csv": ((("duplicate",), OLD), (("deleted",), GONE)),
    "Sent_Email_vod__c.csv": (
        (("unsent",), "the email never reached the mailbox"),
        (("double_opt_in", "receipt"), "an opt-in confirmation or a receipt"),
        (("deleted",), GONE),
        (("duplicate",), OLD),
        (("broken",), TIME),
    ),
    "Email_Activity_vod__c.csv": (
        (("invented_open",), "an open the CRM added to a click"),
        (("machine_open",), "a machine: opened within"),
        (("delivered",), "the mail server reported"),
        (("duplicate",), OLD),
        (("deleted",), GONE),
    ),
    "ga4_events.jsonl": (
        (("anonymous",), "an anonymous visitor"),
        (("bot_named",), "a bot by its device"),
        (("bot_burst",), "a bot: more than"),
    ),
}
"""Per file: kinds of planted dirt, and the beginning of what the reader says of it (| for either)."""


def reconcile(files: Mapping[str, Any], log: EventLog) -> pl.DataFrame:
    """file, kind, planted, found: one row per kind of dirt, and one per file for rows and for facts."""
    rows: list[tuple[str, str, int, int]] = []
    for count in log.sources:
        planted = files[count.file]
        said = dict(count.left_out)
        for reason in log.reasons():
            if reason["source"] == count.name:
                said[reason["reason"]] = said.get(reason["reason"], 0) + reason["rows"]
        rows.append((count.file, "rows read", planted["rows"], count.read))
        rows.append((count.file, "rows accounted for", count.read, count.accepted + sum(said.values())))
        for kinds, words in KINDS.get(count.file, ()):
            found = sum(n for why, n in said.items() if why.startswith(tuple(words.split("|"))))
            rows.append((count.file, " + ".join(kinds), sum(planted["dirt"].get(k, 0) for k in kinds), found))
        unnamed = set(planted["dirt"]) - {k for kinds, _ in KINDS.get(count.file, ()) for k in kinds}
        rows += [(count.file, kind, planted["dirt"][kind], 0) for kind in sorted(unnamed)]
        rows.append((count.file, "events or people", _facts(planted), count.accepted))
    return pl.DataFrame(rows, schema=["file", "kind", "planted", "found"], orient="row")


def _facts(planted: Mapping[str, Any]) -> int:
    """What must remain; of a web export one visit per session, and its downloads."""
    marks = planted["marks"]
    return int(marks["visits"] + marks["downloads"] if "visits" in marks else planted["facts"])


def main() -> None:
    """Simulate, read, compare, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    tables = []
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            made = simulate(SimulateSettings(n_cases=given.cases, months=given.months, seed=seed), out)
            log = read_log(demo_job(out / "extracts", 7).inputs)
            found = reconcile(made["files"], log)
        tables.append(found.with_columns(pl.lit(seed).alias("seed")))
    table = pl.concat(tables)
    total = table.group_by("file", "kind", maintain_order=True).agg(pl.col("planted", "found").sum())
    with pl.Config(tbl_rows=-1, fmt_str_lengths=40, tbl_hide_dataframe_shape=True):
        sys.stdout.write(f"{total}\n")
    wrong = table.filter(pl.col("planted") != pl.col("found"))
    sys.stdout.write(f"{table.height} comparisons, {wrong.height} differ\n")
    results = {
        "cases": given.cases,
        "months": given.months,
        "seeds": given.seeds,
        "comparisons": table.height,
        "differ": wrong.to_dicts(),
        "table": total.to_dicts(),
    }
    target = Path(__file__).parent / "results" / "reconcile.json"
    target.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(1 if wrong.height else 0)


if __name__ == "__main__":
    main()
