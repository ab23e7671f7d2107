"""Every model on the same held-out events, after one cut in time: is it better than counting?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.kernels import scoring as kernel
from behavio.kernels.arrays import readonly
from behavio.models.base import Prefixes, SequenceModel, Split
from behavio.models.gaps import DAY, GapModel
from behavio.sequences import UNKNOWN, SequenceSet

BINS = 15
RESAMPLES = 500


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How one model did on each held-out event, arrays (n,).

    p           float64  probability given to what happened
    rank        int64    how many activities were ranked above it
    best        int64    the likeliest activity
    confidence  float64  its probability
    squares     float64  sum of squared probabilities
    truth       int64    the activity that came
    """

    p: np.ndarray
    rank: np.ndarray
    best: np.ndarray
    confidence: np.ndarray
    squares: np.ndarray
    truth: np.ndarray

    @property
    def loss(self) -> np.ndarray:
        """Negative log-likelihood of each event, nats."""
        return -np.log(np.maximum(self.p, 1e-12))

    def summary(self) -> dict[str, float]:
        """accuracy, top3, macro_f1, nll, brier, ece."""
        return {
            "accuracy": float((self.rank == 0).mean()),
            "top3": float((self.rank < 3).mean()),
            "macro_f1": self.macro_f1(),
            "nll": float(self.loss.mean()),
            "brier": float((self.squares - 2.0 * self.p + 1.0).mean()),
            "ece": calibration_error(self.reliability()),
        }

    def macro_f1(self) -> float:
        """Mean F1 over the activities that came or were predicted; one that came and never was counts 0."""
        size = int(max(self.truth.max(), self.best.max())) + 1
        came, said = np.bincount(self.truth, minlength=size), np.bincount(self.best, minlength=size)
        right = np.bincount(self.truth[self.rank == 0], minlength=size)
        asked = came + said > 0
        return float((2.0 * right[asked] / (came + said)[asked]).mean())

    def reliability(self) -> list[dict[str, float]]:
        """Confidence against accuracy in 15 equal bins, empty ones left out."""
        place = np.minimum((self.confidence * BINS).astype(np.int64), BINS - 1)
        table = []
        for at in np.unique(place):
            some = place == at
            table.append(
                {
                    "low": float(at / BINS),
                    "high": float((at + 1) / BINS),
                    "n": int(some.sum()),
                    "predicted": float(self.confidence[some].mean()),
                    "seen": float((self.rank[some] == 0).mean()),
                }
            )
        return table


def calibration_error(reliability: list[dict[str, float]]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy, weighted by bin size."""
    n = sum(row["n"] for row in reliability)
    return sum(row["n"] * abs(row["predicted"] - row["seen"]) for row in reliability) / max(n, 1)


def score(model: SequenceModel, sequences: SequenceSet, prefixes: Prefixes) -> Scores:
    """Score a fitted model on these prefixes, in batches; an activity new since training is column 1."""
    coded = model.coded(sequences)
    parts = []
    for _, some in prefixes.batches(len(model.vocabulary_)):
        truth = coded.tokens[some.ends].astype(np.int64)
        parts.append((*kernel.score_rows(model.rows(coded, some), truth), truth))
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _hashes(sequences: SequenceSet) -> np.ndarray:
    """uint64 (n_events,): of each case's events up to each one."""
    return kernel.prefix_hashes(readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64))


def seen_before(split: Split) -> np.ndarray:
    """bool (n,): the whole prefix also begins, word for word, a training case that went on after it."""
    whole = split.sequences
    names = whole.vocabulary
    train = split.train.recode(names)
    known = _hashes(train)
    inner = np.ones(train.n_events, dtype=bool)
    inner[train.offsets[1:] - 1] = False
    asked = _hashes(whole)
    return np.isin(asked[split.prefixes.ends - 1], known[inner])


def repeated_cases(split: Split) -> tuple[int, int]:
    """Cases that began after the cut, and how many of them equal a training case from start to end."""
    whole, train = split.sequences, split.train.recode(split.sequences.vocabulary)
    new = ~whole.case_ids.is_in(train.case_ids.implode()).to_numpy()
    ends = np.asarray(whole.offsets[1:])[new] - 1
    asked = _hashes(whole)[ends]
    known = _hashes(train)[train.offsets[1:] - 1]
    return int(new.sum()), int(np.isin(asked, known).sum())


def gain(worse: Scores, better: Scores, cases: np.ndarray, seed: int) -> dict[str, float]:
    """NLL per event that `better` saves over `worse`, with a 95 % bootstrap interval over cases."""
    saved = worse.loss - better.loss
    _, code = np.unique(cases, return_inverse=True)
    total, n = np.bincount(code, weights=saved), np.bincount(code).astype(np.float64)
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        pick = random.integers(0, len(n), len(n))
        means[i] = total[pick].sum() / n[pick].sum()
    low, high = np.quantile(means, [0.025, 0.975])
    return {"nll": float(saved.mean()), "low": float(low), "high": float(high)}


def gap_errors(
    gaps: GapModel, split: Split, choices: dict[str, np.ndarray]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Mean absolute error in days of each model's median gap (after its likeliest activity), and the
    time model's own table: error of the constant median, of the median given what really came, coverage.
    """
    coded = gaps.coded(split.sequences)
    ends = split.prefixes.ends
    times = np.asarray(coded.times)
    real = (times[ends] - times[ends - 1]).astype(np.float64)
    last, then = coded.tokens[ends - 1], coded.tokens[ends]
    waited = np.full(len(ends), -1, dtype=np.int64)
    errors = {
        name: float(np.abs(gaps.quantiles(last, best, waited, (0.5,))[:, 0] - real).mean() / DAY)
        for name, best in choices.items()
    }
    low, median, high = gaps.quantiles(last, then, waited).T
    table = {
        "n": len(ends),
        "mae_days": float(np.abs(median - real).mean() / DAY),
        "constant_mae_days": float(np.abs(gaps.constant() - real).mean() / DAY),
        "constant_median_days": gaps.constant() / DAY,
        "interval": 0.8,
        "coverage": float(((low <= real) & (real <= high)).mean()),
        "given": "mae_days and coverage: the next activity known; gap_mae_days of a model: as it predicts it",
    }
    return errors, table


def oracle_loss(path: Path, split: Split) -> dict[str, Any]:
    """NLL of the true probabilities on the held-out events that the truth table knows.

    The table (Parquet or CSV) has case_id, event_time (or timestamp), activity, and either probability,
    of what really happened then, or one column p_<activity> for every activity.
    """
    truth = true_probabilities(path)
    whole, held = split.sequences, split.prefixes
    names = pl.Series(whole.vocabulary.names, dtype=pl.String)
    asked = pl.DataFrame(
        {
            "case_id": whole.case_ids.gather(pl.Series(held.cases)),
            "time": np.asarray(whole.times)[held.ends],
            "activity": names.gather(pl.Series(whole.tokens[held.ends])),
            "place": np.arange(len(held)),
        }
    )
    key = ["case_id", "time", "activity"]
    nth = pl.int_range(pl.len()).over(key).alias("nth")
    both = asked.with_columns(nth).join(truth.with_columns(nth), on=[*key, "nth"]).sort("place")
    loss = -np.log(np.maximum(both["probability"].to_numpy(), 1e-12))
    return {
        "n": both.height,
        "share_known": both.height / max(len(held), 1),
        "nll": float(loss.mean()) if both.height else None,
        "places": both["place"].to_numpy(),
    }


def true_probabilities(path: Path) -> pl.DataFrame:
    """case_id, time (µs), activity, probability of a truth table."""
    if not path.exists():
        raise JobError(
            f"model.truth: there is no file {path}", hint="name the simulator's table, or leave it out"
        )
    table = pl.read_csv(path, try_parse_dates=True) if path.suffix == ".csv" else pl.read_parquet(path)
    time = "event_time" if "event_time" in table.columns else "timestamp"
    one_each = [c for c in table.columns if c.startswith("p_")]
    missing = {"case_id", time, "activity"} - set(table.columns)
    if missing or not (one_each or "probability" in table.columns):
        raise JobError(
            f"{path.name} is no table of true probabilities: it has {', '.join(table.columns[:8])}",
            hint="it needs case_id, event_time, activity and probability (or p_<activity> for each)",
        )
    own = pl.lit(None, dtype=pl.Float64)
    for column in one_each:
        own = pl.when(pl.col("activity") == column[2:]).then(pl.col(column).cast(pl.Float64)).otherwise(own)
    probability = pl.col("probability").cast(pl.Float64) if "probability" in table.columns else own
    return table.select(
        pl.col("case_id").cast(pl.String),
        pl.col(time).dt.epoch("us").alias("time"),
        pl.col("activity").cast(pl.String),
        probability.alias("probability"),
    ).drop_nulls("probability")


def new_activities(model: SequenceModel, split: Split) -> int:
    """Held-out events whose activity was never seen before the cut."""
    return int((model.coded(split.sequences).tokens[split.prefixes.ends] == UNKNOWN).sum())
