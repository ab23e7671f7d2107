"""The next 7, 30 and 90 days: is asking directly better than what counting rates say?

    python -m experiments.horizons ../shared/data/open_payments_iowa/events.parquet --json OUT

Learns from what lies before one cut in time and asks, for every case that had begun, at the cut and at three
later moments, which activities follow within each horizon. Only horizons that end inside the log are judged.
Baselines: the mean share in hindsight; the case's own rate of the activity so far, shrunk to the mean
(a Poisson process). Log loss is per case, activity and horizon; numbers are means over activities and ANY.
`gain` is the log loss saved over the better baseline with its 95 % interval over cases, `gain_any` of ANY.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from behavio import api
from behavio.models.gaps import DAY
from behavio.models.horizons import Horizons, Moments
from behavio.sequences import SequenceSet, time_cut


def own_rate(model: Horizons, known: SequenceSet, asked: Moments) -> np.ndarray:
    """Expected number from each case's own rate so far: (its count + mean count) / (its time + mean time)."""
    coded = model.coded(known)
    codes = model._codes(coded)
    size = len(model.common_)
    counts = np.zeros((known.n_cases, 1 + size))
    np.add.at(counts, (known.case_of_event, np.where(codes >= 0, codes + 1, 0)), 1.0)
    counts[:, 0] = known.lengths
    first = np.asarray(known.times)[known.offsets[:-1]]
    days = np.maximum((int(asked.moments.max()) - first) / DAY, 0.0)
    rate = (counts + counts.mean(axis=0)) / (days + days.mean())[:, None]
    return rate[:, None, :] * model.days_[None, :, None]


def losses(p: np.ndarray, happened: np.ndarray) -> np.ndarray:
    """Log loss of each answer."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    result: np.ndarray = -np.where(happened, np.log(p), np.log1p(-p))
    return result


def gain(
    p: np.ndarray, others: list[np.ndarray], happened: np.ndarray, cases: np.ndarray
) -> dict[str, float]:
    """Log loss saved over the better of the others, with its 95 % interval over cases (1,000 draws)."""
    best = min((losses(o, happened) for o in others), key=lambda loss: loss.mean())
    saved = (best - losses(p, happened)).mean(axis=1)
    _, code = np.unique(cases, return_inverse=True)
    total, n = np.bincount(code, weights=saved), np.bincount(code)
    random = np.random.default_rng(7)
    picks = [random.integers(0, len(n), len(n)) for _ in range(1_000)]
    low, high = np.quantile([total[k].sum() / n[k].sum() for k in picks], [0.025, 0.975])
    return {"mean": float(saved.mean()), "low": float(low), "high": float(high)}


def judged(sequences: SequenceSet, share: float, seed: int) -> dict[str, Any]:
    """One fit, four moments after it."""
    cut, end = time_cut(sequences, share), int(np.asarray(sequences.times).max())
    known = sequences.until(cut)
    began = time.perf_counter()
    model = Horizons(seed=seed).fit(known)
    seconds = time.perf_counter() - began
    found: dict[str, list[np.ndarray]] = {}
    cases: list[np.ndarray] = []
    for moment in np.linspace(cut, max(end - int(model.days_[0]) * DAY, cut), 4).astype(np.int64):
        asked = Moments.at(sequences, int(moment))
        chance, number = model.ask(sequences, asked)
        real = model.counted(model.coded(sequences), asked)
        rate = own_rate(model, sequences.until(int(moment) + 1), asked)
        inside = moment + model.days_ * DAY <= end
        cases.append(asked.cases)
        for name, value in (("p", chance), ("n", number), ("real", real), ("rate", rate)):
            found.setdefault(name, []).append(np.where(inside[None, :, None], value, np.nan))
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    of_case = np.concatenate(cases)
    base = {d: (whole["real"][:, i] > 0).mean(axis=0) for i, d in enumerate(model.days_)}
    lines = []
    for i, days in enumerate(model.days_):
        use = ~np.isnan(whole["real"][:, i, 0])
        real, p, rate = whole["real"][use, i], whole["p"][use, i], whole["rate"][use, i]
        happened = real > 0
        varied = [a for a in range(happened.shape[1]) if 0 < happened[:, a].mean() < 1]
        lines.append(
            {
                "days": int(days),
                "n": int(use.sum()),
                "loss": float(losses(p, happened).mean()),
                "gain": gain(p, [-np.expm1(-rate), base[days][None, :]], happened, of_case[use]),
                "gain_any": gain(
                    p[:, :1], [-np.expm1(-rate[:, :1]), base[days][None, :1]], happened[:, :1], of_case[use]
                ),
                "loss_own_rate": float(losses(-np.expm1(-rate), happened).mean()),
                "loss_hindsight_share": float(losses(base[days][None, :], happened).mean()),
                "auc_any": float(roc_auc_score(happened[:, 0], p[:, 0])) if 0 in varied else None,
                "auc": float(np.mean([roc_auc_score(happened[:, a], p[:, a]) for a in varied])),
                "auc_own_rate": float(np.mean([roc_auc_score(happened[:, a], rate[:, a]) for a in varied])),
                "ap": float(np.mean([average_precision_score(happened[:, a], p[:, a]) for a in varied])),
                "any_predicted": float(p[:, 0].mean()),
                "any_seen": float(happened[:, 0].mean()),
                "number_mae": float(np.abs(whole["n"][use, i] - real).mean()),
                "number_mae_own_rate": float(np.abs(rate - real).mean()),
            }
        )
    return {"cut_share": share, "seed": seed, "horizons": lines, "measured": {"fit_s": round(seconds, 1)}}


def main() -> None:
    """Read, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("--cut", type=float, default=0.6)
    parser.add_argument("--strip", help="cut the activity at this text")
    parser.add_argument("--activity", help="column to take as the activity")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    table = pl.read_parquet(options.log)
    if options.activity:
        table = table.with_columns(
            pl.col(options.activity).cast(pl.String).fill_null("(none)").alias("activity")
        )
    if options.strip:
        table = table.with_columns(pl.col("activity").str.split(options.strip).list.first())
    found = judged(SequenceSet.from_log(api.read(table)), options.cut, options.seed)
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, tbl_hide_dataframe_shape=True):
        table = pl.DataFrame(found["horizons"])
        print(table.drop("gain", "gain_any").with_columns(pl.col(pl.Float64).round(4)))
        print(
            table.select("days", pl.col("gain").struct.unnest()),
            table.select("days", pl.col("gain_any").struct.unnest()),
        )
    print(f"fitted in {found['measured']['fit_s']} s")
    if options.json:
        text = json.dumps({"log": options.log.parent.name, **found}, indent=2) + "\n"
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
