"""Do patterns cry wolf? Each test is asked of logs in which, by construction, there is nothing to find.

    python -m experiments.chance DATA_FOLDER [SEEDS] [TEST…]

Of the real logs complete_journey and open_payments_iowa, SEEDS (default 20) times each:

patterns        the activities of every case dealt anew among its times: order says nothing
telling-labels  the segments of the real log dealt anew among the cases: segments say nothing
telling-order   activities dealt anew inside cases, segments found in that log: order tells no segment from
                another (they differ in how much of what happens)
telling-forced  the same, but four segments asked for, whether or not the log carries any
telling-planted activities drawn anew for the times of each case, all as often; half of the time the next
                one of a ring, in every other case the one before it; segments found in that log: here order
                does tell them apart, and finding it is the power of the test
outcomes        the outcomes of every case given to another case: what came before says nothing
communications  everything inbound of every case given to another case: no sequence is answered more

TEST: only these; the other rows of the results stay. Printed and written: in how many of the logs anything
had a false discovery rate of at most 5 %, and how many rows. At 5 % one log in twenty may have some.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.files import read_json, write_json
from behavio.log import EventLog
from behavio.patterns import PatternSettings, communications, find, frequent, precedes
from behavio.patterns.telling import Place, telling, told_later
from behavio.segments import Found, Segmentation, SegmentSettings
from behavio.segments import find as find_segments
from behavio.segments.finding import assign_labels
from behavio.sequences import SequenceSet

RESULT = Path(__file__).parent / "results" / "chance.json"
LOGS = {
    "complete_journey": ("coupon_redeemed", tuple(f"campaign_received:{kind}" for kind in "ABC")),
    "open_payments_iowa": ("Consulting Fee", ("Food and Beverage", "Education")),
}  # fmt: skip
"""The outcome, and what counts as outbound: for payments a mere convention, to have two sides."""


def load(path: Path, outbound: tuple[str, ...]) -> SequenceSet:
    """The log with a direction."""
    events = pl.read_parquet(path, columns=["case_id", "activity", "timestamp"]).with_columns(
        direction=pl.when(pl.col("activity").is_in(outbound))
        .then(pl.lit("outbound"))
        .otherwise(pl.lit("inbound"))
    )
    return SequenceSet.from_log(EventLog.from_frame(events))


def dealt_inside(log: SequenceSet, rng: np.random.Generator) -> SequenceSet:
    """Activities dealt anew among the times of their case."""
    return replace(log, tokens=np.concatenate([rng.permutation(t) for t in log]), known=None)


def given_away(log: SequenceSet, moved: np.ndarray, rng: np.random.Generator) -> SequenceSet:
    """The marked events of every case given to another case, with their times."""
    donor = rng.permutation(log.n_cases)
    case = log.case_of_event.copy()
    case[moved] = donor[case[moved]]
    order = np.lexsort((log.times, case))
    kept, lengths = np.unique(case, return_counts=True)
    side = log.fields["direction"]
    return replace(
        log,
        tokens=log.tokens[order],
        times=log.times[order],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        case_ids=log.case_ids.gather(pl.Series(kept)),
        fields={"direction": replace(side, codes=side.codes[order])},
        known=None,
    )


def ordered(log: SequenceSet, rng: np.random.Generator) -> SequenceSet:
    """Activities of a ring: half of the time the next one, in every other case the one before, else any."""
    used = np.unique(log.tokens)
    drawn = rng.integers(0, len(used), log.n_events)
    along = rng.random(log.n_events) < 0.5
    along[log.offsets[:-1]] = False
    way = np.where(log.case_of_event % 2 == 0, 1, -1)
    for i in np.flatnonzero(along):
        drawn[i] = (drawn[i - 1] + way[i]) % len(used)
    return replace(log, tokens=used[drawn].astype(np.int32), known=None)


def grouped(log: SequenceSet, k: int | str = "auto") -> Found:
    """The segments of a log."""
    return find_segments(log, SegmentSettings(k=k), 7)


def place(found: Found) -> Place:
    """The segments of any cases as this model sees them."""

    def of(cases: SequenceSet) -> pl.DataFrame:
        label, strength = assign_labels(found.model, cases, 0.5, 3)
        return Segmentation(cases.case_ids, label, strength, found.segmentation.names).to_frame()

    return of


def told(log: SequenceSet, segments: pl.DataFrame, settings: PatternSettings) -> int:
    """Rows of patterns that tell a segment."""
    mined = frequent(log, settings.rules(log))
    return telling(log, mined.select(mined.lengths > 1), segments, settings.top).height


def nulls(log: SequenceSet, outcome: str) -> dict[str, Callable[[np.random.Generator], int]]:
    """For each test the number of findings in one log without any."""
    settings = PatternSettings(outcome=outcome)
    labels = grouped(log).segmentation.to_frame()
    print(labels["segment"].value_counts(sort=True).rows(), flush=True)
    inbound = log.fields["direction"].vocabulary.id("inbound")
    answers = log.fields["direction"].codes == inbound

    def whole(rng: np.random.Generator) -> int:
        return int(find(dealt_inside(log, rng), settings, int(rng.integers(1 << 30))).facts["n_standing_out"])

    def dealt_labels(rng: np.random.Generator) -> int:
        mixed = labels.with_columns(case_id=pl.Series(rng.permutation(labels["case_id"].to_numpy())))
        return told(log, mixed, settings)

    def anew(made: SequenceSet, k: int | str) -> int:
        found = grouped(made, k)
        return told_later(made, found.segmentation.to_frame(), place(found), settings).frame.height

    def before(rng: np.random.Generator) -> int:
        wanted = log.tokens == log.vocabulary.id(outcome)
        return precedes(given_away(log, wanted, rng), outcome, settings).frame.height

    def sent(rng: np.random.Generator) -> int:
        frame = communications(given_away(log, answers, rng), settings).frame
        return int(frame["stands_out"].sum())

    return {
        "patterns": whole,
        "telling-labels": dealt_labels,
        "outcomes": before,
        "communications": sent,
        "telling-order": lambda rng: anew(dealt_inside(log, rng), "auto"),
        "telling-forced": lambda rng: anew(dealt_inside(log, rng), 4),
        "telling-planted": lambda rng: anew(ordered(log, rng), "auto"),
    }


def main(data: Path, seeds: int = 20, *tests: str) -> None:
    """Ask every test of every log, print and write."""
    rows: list[dict[str, Any]] = read_json(RESULT)["rows"] if tests and RESULT.is_file() else []
    for name, (outcome, outbound) in LOGS.items():
        log = load(data / name / "events.parquet", outbound)
        for test, ask in nulls(log, outcome).items():
            if tests and test not in tests:
                continue
            begun = time.perf_counter()
            found = [ask(np.random.default_rng([seed, 20])) for seed in range(seeds)]
            row = {"log": name, "test": test, "logs": seeds, "crying": sum(n > 0 for n in found)}
            rows = [r for r in rows if (r["log"], r["test"]) != (name, test)] + [row | {"rows": sum(found)}]
            print(rows[-1], found, f"{time.perf_counter() - begun:.0f} s", flush=True)
            write_json(RESULT, {"rate": 0.05, "rows": rows})


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:3]), *sys.argv[3:])
