"""What was found against a plan, and the tables made of it: cases, steps, single deviations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from behavio.contrasts import RatioSums, Z, wilson
from behavio.log import TIME
from behavio.sequences import SequenceSet

CONFORMS, DEVIATES, OPEN = 1, -1, 2
KINDS = ("skipped", "extra", "wrong_order", "too_late", "under", "over")
"""How a case can deviate: a step did not happen, something happened that was not planned, it happened in
another place, after its time, too seldom, too often."""
SKIPPED, EXTRA, WRONG_ORDER, TOO_LATE, UNDER, OVER = range(len(KINDS))
COUNTS: dict[str, pl.DataType] = {kind: pl.Int64() for kind in KINDS}

CASE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "plan": pl.String(),
    "state": pl.String(),
    "planned": pl.Float64(),
    "done": pl.Float64(),
    "attainment": pl.Float64(),
    **COUNTS,
    "still_open": pl.Int64(),
    "cost": pl.Int64(),
}
"""One row per case and part of the plan. state: conforms, deviates, open (nothing is wrong yet, something is
still to come), not started. planned and done count required steps, called-for rules, steps of the model, or
contacts (planned: due so far); attainment is done / planned; cost of the alignment is null without a process
model."""
STEP_SCHEMA: dict[str, pl.DataType] = {
    "plan": pl.String(),
    "kind": pl.String(),
    "place": pl.Int64(),
    "step": pl.String(),
    "cases": pl.Int64(),
    "conforming": pl.Int64(),
    "deviating": pl.Int64(),
    "open": pl.Int64(),
    "share": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    **COUNTS,
    "planned": pl.Float64(),
    "done": pl.Float64(),
    "attainment": pl.Float64(),
    "attainment_low": pl.Float64(),
    "attainment_high": pl.Float64(),
}
"""One row per step, rule, contact goal or activity of the model, in the order of the plan. share is of the
cases that are decided, with its 95 % interval; the six kinds count cases. attainment is Σ min(done, planned)
/ Σ planned."""
DEVIATION_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "plan": pl.String(),
    "kind": pl.String(),
    "step": pl.String(),
    "activity": pl.String(),
    "event": pl.Int64(),
    "timestamp": TIME,
    "due": TIME,
    "late_s": pl.Float64(),
}
"""The evidence, one row per deviation. event counts from 0 inside the case, null where nothing happened; due
is when the step should have happened at the latest, null where there was no limit."""


@dataclass(slots=True, eq=False)
class Rows:
    """Deviations as they are found: flat arrays of one length, several pieces each.

    case, step  int64; kind int64 (place in KINDS); event int64, −1: none; due int64 µs, −1: none
    """

    pieces: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def add(
        self,
        case: np.ndarray,
        step: int | np.ndarray,
        kind: int | np.ndarray,
        event: int | np.ndarray = -1,
        due: int | np.ndarray = -1,
    ) -> None:
        """More rows; single numbers stand for all of them."""
        case = np.asarray(case, dtype=np.int64)
        rest = [np.broadcast_to(np.asarray(x, dtype=np.int64), case.shape) for x in (step, kind, event, due)]
        self.pieces.append((case, *rest))

    def columns(self) -> tuple[np.ndarray, ...]:
        """case, step, kind, event, due, sorted by case, then event, step, kind."""
        if not self.pieces:
            return tuple(np.empty(0, np.int64) for _ in range(5))
        case, step, kind, event, due = (np.concatenate(c) for c in zip(*self.pieces, strict=True))
        order = np.lexsort((kind, step, event, case))
        return case[order], step[order], kind[order], event[order], due[order]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """One part of a plan held against all cases.

    name, kind  of the part; kind is flow, rule, contacts or model
    steps       their names, in the order of the plan
    case_ids    the cases, first those of the log in its order, then those only the plan knows
    case, step  int64 (n,): verdicts in long form; state int8, planned and done float64 (n,) beside them
    deviations  single deviations
    started     bool (n_cases,): the part applies to the case
    reach       float64 (n,): what counts towards a case's attainment; None: what was done
    moment      int64 (n_cases,): µs from which on a response counts; −1: none
    """

    name: str
    kind: str
    steps: tuple[str, ...]
    case_ids: pl.Series
    case: np.ndarray
    step: np.ndarray
    state: np.ndarray
    planned: np.ndarray
    done: np.ndarray
    deviations: Rows
    started: np.ndarray
    moment: np.ndarray | None = None
    cost: np.ndarray | None = None
    reach: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def verdicts(self) -> pl.DataFrame:
        """The verdicts as a frame: case, step, state, planned, done."""
        names = ("case", "step", "state", "planned", "done")
        return pl.DataFrame({n: getattr(self, n) for n in names})


def case_table(f: Findings) -> pl.DataFrame:
    """One row per case as CASE_SCHEMA."""
    n = len(f.case_ids)
    reach = f.done if f.reach is None else f.reach
    planned, done, reached = (np.bincount(f.case, weights=x, minlength=n) for x in (f.planned, f.done, reach))
    waiting = np.bincount(f.case[f.state == OPEN], minlength=n)
    case, _, kind, _, _ = f.deviations.columns()
    counts = {k: np.bincount(case[kind == i], minlength=n) for i, k in enumerate(KINDS)}
    wrong = np.bincount(case, minlength=n) > 0
    wrong |= np.bincount(f.case[f.state == DEVIATES], minlength=n) > 0
    state = np.select(
        [~f.started, wrong, waiting > 0], ["not started", "deviates", "open"], default="conforms"
    )
    return pl.DataFrame(
        {
            "case_id": f.case_ids,
            "plan": [f.name] * n,
            "state": state.astype(object),
            "planned": planned,
            "done": done,
            "attainment": ratio(reached, planned),
            **counts,
            "still_open": waiting,
            "cost": [None] * n if f.cost is None else [None if c < 0 else c for c in f.cost.tolist()],
        },
        schema=CASE_SCHEMA,
    ).with_columns(pl.col("attainment").fill_nan(None))


def step_table(f: Findings) -> pl.DataFrame:
    """One row per step as STEP_SCHEMA."""
    size = len(f.steps)

    def count(mask: np.ndarray) -> np.ndarray:
        return np.bincount(f.step[mask], minlength=size)

    good, bad, waiting = (count(f.state == s) for s in (CONFORMS, DEVIATES, OPEN))
    low, high = wilson(good, good + bad)
    decided = good + bad > 0
    case, step, kind, _, _ = f.deviations.columns()
    kinds = {}
    for i, name in enumerate(KINDS):
        pairs = np.unique(case[kind == i] * size + step[kind == i])
        kinds[name] = np.bincount(pairs % size, minlength=size)
    reach = np.minimum(f.done, f.planned)
    planned, done = (np.bincount(f.step, weights=x, minlength=size) for x in (f.planned, f.done))
    value, below, above = capped(f.step, reach, f.planned, size)
    return pl.DataFrame(
        {
            "plan": [f.name] * size,
            "kind": [f.kind] * size,
            "place": np.arange(1, size + 1),
            "step": list(f.steps),
            "cases": good + bad + waiting,
            "conforming": good,
            "deviating": bad,
            "open": waiting,
            "share": ratio(good, good + bad),
            "low": np.where(decided, low, np.nan),
            "high": np.where(decided, high, np.nan),
            **kinds,
            "planned": planned,
            "done": done,
            "attainment": value,
            "attainment_low": below,
            "attainment_high": above,
        },
        schema=STEP_SCHEMA,
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def capped(
    group: np.ndarray, reach: np.ndarray, planned: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ reach / Σ planned of each group with its 95 % interval, the spread taken between rows (cases)."""

    def total(x: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=x, minlength=size)

    sums = RatioSums(
        total(reach),
        total(planned),
        total(reach**2),
        total(reach * planned),
        total(planned**2),
        total((planned > 0).astype(float)).astype(np.int64),
        total((reach > 0).astype(float)).astype(np.int64),
    )
    value = sums.value
    with np.errstate(invalid="ignore"):
        wide = Z * np.sqrt(sums.variance)
    few = sums.cases < 2
    low, high = np.clip(value - wide, 0.0, 1.0), np.clip(value + wide, 0.0, 1.0)
    return value, np.where(few, np.nan, low), np.where(few, np.nan, high)


def deviation_table(f: Findings, sequences: SequenceSet) -> pl.DataFrame:
    """One row per deviation as DEVIATION_SCHEMA."""
    case, step, kind, event, due = f.deviations.columns()
    seen = event >= 0
    place = np.where(seen, event, 0)
    names = np.array(sequences.vocabulary.names, dtype=object)
    times = np.asarray(sequences.times)[place]
    starts = np.append(np.asarray(sequences.offsets[:-1]), np.zeros(len(f.case_ids) - sequences.n_cases, int))
    late = np.where(seen & (due >= 0), (times - due) / 1e6, np.nan)
    clock = seen & sequences.timed

    def when(values: np.ndarray, known: np.ndarray) -> pl.Series:
        found = pl.Series(values).cast(pl.Datetime("us", "UTC"))
        return pl.select(pl.when(pl.Series(known)).then(found)).to_series()

    activity = pl.Series(names[np.asarray(sequences.tokens)[place]].tolist(), dtype=pl.String)
    return pl.DataFrame(
        {
            "case_id": f.case_ids.gather(pl.Series(case)),
            "plan": pl.Series([f.name], dtype=pl.String).new_from_index(0, len(case)),
            "kind": pl.Series(KINDS, dtype=pl.String).gather(pl.Series(kind)),
            "step": pl.Series(list(f.steps), dtype=pl.String).gather(pl.Series(step)),
            "activity": pl.select(pl.when(pl.Series(seen)).then(activity)).to_series(),
            "event": pl.select(pl.when(pl.Series(seen)).then(pl.Series(place - starts[case]))).to_series(),
            "timestamp": when(times, clock),
            "due": when(due, (due >= 0) & sequences.timed),
            "late_s": late,
        },
        schema=DEVIATION_SCHEMA,
    ).with_columns(pl.when(pl.col("late_s").fill_nan(None) > 0).then("late_s").alias("late_s"))


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(len(a), np.nan), where=np.asarray(b) > 0)
