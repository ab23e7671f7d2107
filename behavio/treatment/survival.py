"""Time on treatment: how long lines last, told with those that are still open, and how they end.

A stop is only known `gap` later. Every line is therefore followed until `gap` before the end of the patient's
observation, whatever became of it since: else stops of the last weeks would count as open lines, and adds and
switches as ends.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from behavio.contrasts import Z, false_discovery, log_rank
from behavio.durations import seconds
from behavio.treatment.exposures import Records
from behavio.treatment.settings import TreatmentSettings

DAY_US = 86_400_000_000
OTHERS = "(others)"
YEARS = (182.625, 365.25, 730.5)
CURVES = {
    "regimen": pl.String(),
    "days": pl.Float64(),
    "share": pl.Float64(),  # still on it
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_at_risk": pl.Int64(),
}
TIMES = {
    "regimen": pl.String(),
    "n_lines": pl.Int64(),
    "n_patients": pl.Int64(),
    "n_ended": pl.Int64(),
    "median_days": pl.Float64(),  # null: not reached
    "low": pl.Float64(),
    "high": pl.Float64(),
}
ENDINGS = {
    "regimen": pl.String(),
    "ended_by": pl.String(),
    "days": pl.Float64(),
    "n": pl.Int64(),  # so ended until then
    "share": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
}
LOG_RANK = {
    "a": pl.String(),
    "b": pl.String(),  # "": all regimens at once
    "ratio": pl.Float64(),  # observed ÷ expected ends of b over that of a: below 1, b lasts longer
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
}


@dataclass(frozen=True, eq=False)
class TimeOnTreatment:
    """times: TIMES; curves: CURVES; endings: ENDINGS; log_rank: LOG_RANK.

    n_too_late  lines that began too near the end of observation to say anything
    """

    times: pl.DataFrame
    curves: pl.DataFrame
    endings: pl.DataFrame
    log_rank: pl.DataFrame
    n_too_late: int


def followed(lines: pl.DataFrame, records: Records, settings: TreatmentSettings) -> pl.DataFrame:
    """Lines with `days` on them, `ended` (bool) and `how` ("" while open), as far as they can be followed."""
    late = pl.duration(microseconds=int(seconds(settings.gap) * 1e6))
    dead = pl.col("case_id").is_in(records.died["case_id"].to_list())
    ends = pl.col("until") - late
    if settings.observed == "case":
        ends = pl.when(dead).then("until").otherwise(ends)
    elif records.died.height:
        ends = pl.lit(lines["until"].max()) - late
    told = lines.with_columns(_stop=ends).filter(pl.col("start") < pl.col("_stop"))
    ended = (pl.col("ended_by") != "") & (pl.col("end") <= pl.col("_stop"))
    last = pl.when(ended).then("end").otherwise("_stop")
    days = (last - pl.col("start")).dt.total_microseconds() / DAY_US
    how = pl.when(ended).then("ended_by").otherwise(pl.lit(""))
    return told.with_columns(days=days, ended=ended, how=how).drop("_stop")


def time_on_treatment(lines: pl.DataFrame, records: Records, settings: TreatmentSettings) -> TimeOnTreatment:
    """Kaplan–Meier per regimen (log-log intervals), cumulative incidence of each ending, log-rank tests.

    Regimens of fewer than k patients, and those beyond the `top` most frequent, are told together; endings
    that fewer than k lines had are not told.
    """
    known = followed(lines, records, settings)
    names = frequent(known, settings)
    table = known.with_columns(
        regimen=pl.when(pl.col("regimen").is_in(names)).then("regimen").otherwise(pl.lit(OTHERS))
    )
    parts = [(n, p) for n in [*names, OTHERS] if (p := table.filter(regimen=n)).height]
    parts = [(n, p) for n, p in parts if p["case_id"].n_unique() >= settings.k]
    times, curves, endings = [], [], []
    for name, part in parts:
        row, curve = _kaplan_meier(name, part, settings.k)
        times.append(row)
        curves += curve
        endings += _endings(name, part)
    return TimeOnTreatment(
        pl.DataFrame(times, schema=TIMES, orient="row"),
        pl.DataFrame(curves, schema=CURVES, orient="row"),
        pl.DataFrame(endings, schema=ENDINGS, orient="row").filter(pl.col("n") >= settings.k),
        _tests([(n, p) for n, p in parts if n != OTHERS]),
        lines.height - known.height,
    )


def frequent(lines: pl.DataFrame, settings: TreatmentSettings) -> list[str]:
    """Regimens of k patients or more, the most frequent `top` of them."""
    counted = lines.group_by("regimen").agg(n=pl.col("case_id").n_unique())
    counted = counted.filter(pl.col("n") >= settings.k).sort("n", "regimen", descending=[True, False])
    return counted["regimen"].head(settings.top).to_list()


def _kaplan_meier(name: str, part: pl.DataFrame, k: int) -> tuple[tuple, list[tuple]]:
    """One row of TIMES and the rows of CURVES, those that fewer than k patients reach left out."""
    from lifelines import KaplanMeierFitter
    from lifelines.utils import median_survival_times

    days, ended = part["days"].to_numpy(), part["ended"].to_numpy()
    fitted = KaplanMeierFitter().fit(days, ended)
    band = fitted.confidence_interval_
    middle = [fitted.median_survival_time_, *median_survival_times(band).to_numpy()[0]]
    values = [None if not np.isfinite(v) else float(v) for v in middle]
    row = (name, part.height, part["case_id"].n_unique(), int(ended.sum()), *values)
    risk = fitted.event_table["at_risk"].to_numpy()
    rows = np.column_stack([band.index.to_numpy(), fitted.survival_function_.to_numpy()[:, 0], band])
    told = [(name, *map(float, r), int(n)) for r, n in zip(rows, risk, strict=True) if n >= k]
    return row, told


def _endings(name: str, part: pl.DataFrame) -> list[tuple]:
    """Rows of ENDINGS after half a year, one and two years, or where nobody was followed so long, at last."""
    days, how = part["days"].to_numpy(), part["how"].to_numpy()
    kinds = sorted({h for h in how if h})
    rows = []
    for at in [t for t in YEARS if t <= days.max()] or [float(days.max())]:
        for kind in kinds:
            share, wide = incidence(days, how, kind, at)
            n = int(((how == kind) & (days <= at)).sum())
            rows.append((name, kind, at, n, share, max(share - wide, 0.0), min(share + wide, 1.0)))
    return rows


def incidence(days: np.ndarray, how: np.ndarray, kind: str, at: float) -> tuple[float, float]:
    """Share that ended in this way until then, others ending first, and half its 95 % interval.

    Aalen & Johansen 1978; variance by the influence of each line on the estimate (infinitesimal jackknife).
    """
    order = np.argsort(days, kind="stable")
    days, how = days[order], how[order]
    moments, first = np.unique(days, return_index=True)
    place = np.searchsorted(moments, days)
    size, n = len(moments), len(days)
    risk = n - first.astype(float)
    ends = np.bincount(place, how != "", size)
    mine = np.bincount(place, how == kind, size)
    after = np.cumprod(1 - ends / risk)
    before = np.concatenate([[1.0], after[:-1]])
    within = moments <= at
    steps = np.where(within, before * mine / risk, 0.0)
    total = np.cumsum(steps)
    share = float(total[-1])
    # what one more end, or one more at risk, at each moment does to the share
    gone = share - total
    with np.errstate(divide="ignore", invalid="ignore"):
        later = np.where(risk > ends, gone / (risk - ends), 0.0)
    hit = np.where(within, before / risk, 0.0)
    drag = np.cumsum(np.where(within, steps / risk - later * ends / risk, 0.0))
    own = -drag[place] + np.where(how == kind, hit[place], 0.0)
    own -= np.where((how != "") & within[place], later[place], 0.0)
    return share, Z * float(np.sqrt(np.sum(own**2)))


def _tests(parts: list[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """All regimens at once, then each pair; q over the pairs."""
    from lifelines.statistics import multivariate_logrank_test

    if len(parts) < 2:
        return pl.DataFrame(schema=LOG_RANK)
    days = np.concatenate([p["days"].to_numpy() for _, p in parts])
    ended = np.concatenate([p["ended"].to_numpy() for _, p in parts])
    names = np.repeat([n for n, _ in parts], [p.height for _, p in parts])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lifelines")  # its calls of pandas, not ours to change
        whole = multivariate_logrank_test(days, names, ended).p_value if ended.any() else float("nan")
    rows = []
    for (a, one), (b, other) in combinations(parts, 2):
        given = [t[c].to_numpy() for t in (one, other) for c in ("days", "ended")]
        rows.append((a, b, *log_rank(*given)))
    q = false_discovery(np.array([r[3] for r in rows]))
    told = [(*r, v) for r, v in zip(rows, q, strict=True)]
    first = ("(all)", "", None, float(whole), None)
    table = pl.DataFrame([first, *told], schema=LOG_RANK, orient="row")
    return table.fill_nan(None)
