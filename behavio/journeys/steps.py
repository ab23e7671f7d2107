"""Step matrix: what the first, second, … n-th event of cases is."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl

from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.errors import JobError
from behavio.kernels.arrays import readonly
from behavio.kernels.orders import count_positions
from behavio.sequences import SequenceSet

STEP_SCHEMA: dict[str, pl.DataType] = {
    "step": pl.Int64(),
    "activity": pl.String(),
    "cases": pl.Int64(),
    "share": pl.Float64(),
}


def tally_positions(sequences: SequenceSet, n_steps: int) -> np.ndarray:
    """int64 (n_steps, size) of one shard of whole cases."""
    return count_positions(
        readonly(sequences.tokens, np.int32),
        readonly(sequences.offsets, np.int64),
        len(sequences.vocabulary),
        n_steps,
    )


def positions_count(n_steps: int) -> Count[np.ndarray]:
    """The question about the first n_steps events of each case."""
    return Count(of=partial(tally_positions, n_steps=n_steps), merge=np.add)


def steps(sequences: Encoded, n: int = 10, engine: Engine | None = None) -> pl.DataFrame:
    """Share of the cases whose 1st, 2nd, … n-th event is each activity, as STEP_SCHEMA.

    Shares are of all cases, so those of one step add up to the share of cases that are that long: what is
    missing to 1 has no such event (yet). Steps that no case reaches have no rows.
    """
    if n < 1:
        raise JobError(f"a step matrix of {n} steps", hint="ask for 1 step or more")
    engine = LocalEngine() if engine is None else engine
    found = engine.run(positions_count(n), sequences)
    step, token = np.nonzero(found)
    frame = pl.DataFrame(
        {
            "step": step + 1,
            "activity": pl.Series(sequences.vocabulary.names, dtype=pl.String).gather(pl.Series(token)),
            "cases": found[step, token],
            "share": found[step, token] / max(int(found[0].sum()), 1),
        },
        schema=STEP_SCHEMA,
    )
    return frame.sort("step", "cases", "activity", descending=[False, True, False])


def step_matrix(found: pl.DataFrame) -> pl.DataFrame:
    """The table of `steps` laid out to be read: a row per activity, a column per step, shares of all cases.

    Activities in the order of their total; the last row, "(none)", is the share of cases without that step.
    """
    order = (
        found.group_by("activity")
        .agg(pl.col("cases").sum())
        .sort("cases", "activity", descending=[True, False])
    )
    wide = order.select("activity").join(
        found.pivot("step", index="activity", values="share"),
        on="activity",
        how="left",
        maintain_order="left",
    )
    numbers = [name for name in wide.columns if name != "activity"]
    wide = wide.with_columns(pl.col(numbers).fill_null(0.0))
    rest = wide.select(
        pl.lit("(none)").alias("activity"), *((1.0 - pl.col(n).sum()).clip(0.0).alias(n) for n in numbers)
    )
    return pl.concat([wide, rest])
