"""Which cases of a log belong to which of two groups: by a column that is the same in a whole case."""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.log import EVENT_SCHEMA, EventLog


def groups_by(
    log: EventLog, column: str, case_ids: pl.Series, values: tuple[str, ...] = ()
) -> tuple[tuple[str, str], np.ndarray, np.ndarray]:
    """Names of two groups and the masks of their cases, both bool (n_cases,) in the order of `case_ids`.

    The column is looked for in the case table, then among the events, where the first value of a case
    counts. One value: those cases against all others that have any; two: one against the other; none: the
    two most frequent values. Raises JobError when the column or a value is not there.
    """
    own = _values(log, column)
    found = case_ids.to_frame("case_id").join(own, on="case_id", how="left", maintain_order="left")[column]
    known = found.drop_nulls().value_counts(sort=True).sort("count", column, descending=[True, False])[column]
    for value in values:
        if value not in known:
            near = get_close_matches(value, known.to_list(), 3, 0.4) or known.head(5).to_list()
            raise JobError(f"{column} is never {value!r}", hint=f"it is, for example: {', '.join(near)}")
    if not values and len(known) < 2:
        raise JobError(f"{column} has {len(known)} values", hint="choose a column with two or more")
    first = values[0] if values else str(known[0])
    in_first = (found == first).fill_null(False).to_numpy()
    if len(values) == 1:
        rest = (found != first).fill_null(False).to_numpy()
        return (first, f"not {first}"), in_first, rest
    second = values[1] if values else str(known[1])
    return (first, second), in_first, (found == second).fill_null(False).to_numpy()


def _values(log: EventLog, column: str) -> pl.DataFrame:
    for table in (log.cases, log.events):
        if column in table.columns and column not in EVENT_SCHEMA:
            rows = table.select("case_id", pl.col(column).cast(pl.String)).drop_nulls(column)
            return rows.unique("case_id", keep="first", maintain_order=True)
    have = [c for t in (log.cases, log.events) for c in t.columns if c not in EVENT_SCHEMA]
    near = get_close_matches(column, have, 1, 0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise JobError(f"there is no column {column!r} to group by", hint=f"{hint}known: {', '.join(have[:30])}")
