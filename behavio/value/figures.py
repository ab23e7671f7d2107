"""Value beside behaviour, and what contacts and answers cost, each with an interval from the cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import Z
from behavio.errors import JobError
from behavio.touches import SMALLEST, ratio

EVERY = "all"
ANSWERING = 5
"""Cases that answered, from which a cost per answer is told."""
CELLS = {
    "level": pl.String(),
    "segment": pl.String(),
    "n_cases": pl.Int64(),
    "share": pl.Float64(),
    "contacts_28d": pl.Float64(),
    "answered": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
}
COSTS = {
    "by": pl.String(),  # all | channel | segment | level | segment and channel
    "name": pl.String(),
    "n_cases": pl.Int64(),
    "n_touches": pl.Int64(),
    "n_answers": pl.Int64(),
    "cost": pl.Float64(),
    "per_touch": pl.Float64(),
    "touch_low": pl.Float64(),
    "touch_high": pl.Float64(),
    "per_answer": pl.Float64(),
    "answer_low": pl.Float64(),
    "answer_high": pl.Float64(),
}


def cells(people: pl.DataFrame, contacts: pl.DataFrame, months: float) -> pl.DataFrame:
    """CELLS: every level with every group, and with all; cells of fewer than 10 cases are left out.

    people    case_id, level, segment     contacts  case_id, answered, settled of the time that counts
    """
    per = contacts.group_by("case_id").agg(
        pl.len().alias("touches"),
        pl.col("settled").sum().alias("n"),
        (pl.col("answered") & pl.col("settled")).sum().alias("x"),
    )
    table = people.join(per, on="case_id", how="left").with_columns(pl.col("touches", "n", "x").fill_null(0))
    both = pl.concat([table, table.with_columns(segment=pl.lit(EVERY))])
    both = pl.concat([both, both.with_columns(level=pl.lit(EVERY))]).drop_nulls(["level", "segment"])
    total = people.height
    rows = []
    for (level, segment), own in both.group_by("level", "segment", maintain_order=True):
        if own.height < SMALLEST:
            continue
        x, n = own["x"].to_numpy(), own["n"].to_numpy()
        told = (n > 0).sum() >= SMALLEST
        value, low, high = ratio(x, n) if told else (None, None, None)
        rows.append(
            {
                "level": level,
                "segment": segment,
                "n_cases": own.height,
                "share": own.height / total,
                "contacts_28d": float(own["touches"].sum()) / own.height / months,
                "answered": value,
                "low": low,
                "high": None if high is None else min(high, 1.0),
            }
        )
    return pl.DataFrame(rows, schema=CELLS).sort("level", "segment")


def costs(contacts: pl.DataFrame, people: pl.DataFrame, price: Mapping[str, float]) -> pl.DataFrame:
    """COSTS per channel, group, level and in all. JobError for a channel in use without a cost."""
    used = contacts["channel"].fill_null("unknown").unique().sort().to_list()
    unknown = [c for c in used if c not in price]
    if unknown:
        raise JobError(
            f"no cost is named for the channel {unknown[0]!r}",
            hint=f"costs = {{ {', '.join(f'{c} = …' for c in used)} }}; 0 where it is free",
        )
    table = (
        contacts.filter("settled")
        .with_columns(
            cost=pl.col("channel").fill_null("unknown").replace_strict(dict(price), return_dtype=pl.Float64)
        )
        .join(people, on="case_id", how="left")
    )
    if table.height == 0:
        return pl.DataFrame(schema=COSTS)
    both = pl.concat_str("segment", "channel", separator=" · ")
    views = {
        EVERY: pl.lit(EVERY),
        "channel": pl.col("channel"),
        "segment": pl.col("segment"),
        "level": pl.col("level"),
        "segment and channel": both,
    }
    rows: list[dict[str, Any]] = []
    for by, name in views.items():
        for (what,), own in (
            table.with_columns(name=name)
            .drop_nulls("name")
            .sort("name")
            .group_by("name", maintain_order=True)
        ):
            row = _cost(own)
            if row is not None:
                rows.append({"by": by, "name": what, **row})
    return pl.DataFrame(rows, schema=COSTS)


def _cost(own: pl.DataFrame) -> dict[str, Any] | None:
    """What contacts of these rows cost, each and per answer; None of fewer than 10 cases."""
    per = (
        own.group_by("case_id")
        .agg(pl.col("cost").sum(), pl.len().alias("touches"), pl.col("answered").sum().alias("answers"))
        .sort("case_id")
    )
    if per.height < SMALLEST:
        return None
    cost, touches, answers = (per[c].to_numpy().astype(float) for c in ("cost", "touches", "answers"))
    each = quotient(cost, touches)
    answer = quotient(cost, answers) if (answers > 0).sum() >= ANSWERING else (None, None, None)
    return {
        "n_cases": per.height,
        "n_touches": int(touches.sum()),
        "n_answers": int(answers.sum()),
        "cost": float(cost.sum()),
        **dict(zip(("per_touch", "touch_low", "touch_high"), each, strict=True)),
        **dict(zip(("per_answer", "answer_low", "answer_high"), answer, strict=True)),
    }


def quotient(x: np.ndarray, n: np.ndarray) -> tuple[float, float, float]:
    """Σx / Σn over cases and its 95 % interval on the logarithm; cases without any n count with their x.

    Cochran, Sampling Techniques (1977), section 6.4.
    """
    m, total = len(x), float(n.sum())
    value = float(x.sum()) / total
    if value <= 0 or m < 2:
        return value, value, value
    off = x - value * n
    wide = Z * float(np.sqrt(m / (m - 1) * (off * off).sum())) / total / value
    return value, value * float(np.exp(-wide)), value * float(np.exp(wide))
