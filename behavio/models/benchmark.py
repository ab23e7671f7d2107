"""All models on any log under one protocol: one table, baselines first, with intervals over cases.

Every model learns from the same events and is asked for the same held-out ones. Numbers are means over
seeds; intervals come from drawing cases, not events, because events of one case are alike.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from behavio.log import EventLog
from behavio.models import evaluation as judge
from behavio.models.base import SequenceModel
from behavio.models.fields import coded
from behavio.models.gaps import DAY, GapModel
from behavio.models.promises import kept_promises
from behavio.models.roster import TO_BEAT, Entry, chosen
from behavio.models.settings import ModelSettings, Protocol
from behavio.models.splits import Held, held_out
from behavio.sequences import SequenceSet

Progress = Callable[[str, float], None]
MOST = 250_000
"""Held-out events scored; of more, an evenly spread part."""
RESAMPLES = 1_000
SHARES = (0.1, 0.5, 0.9)
"""Quantiles of the wait: the median and the ends of the 80 % interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One fitted model on the held-out events: scores, waits (µs, NaN: none), seconds, new memory."""

    scores: judge.Scores
    waits: np.ndarray
    fit_s: float
    predict_s: float
    memory_mb: float
    model: SequenceModel


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Held-out events by case, and draws of cases with replacement."""

    code: np.ndarray
    draws: np.ndarray

    @classmethod
    def of(cls, cases: np.ndarray, seed: int) -> Cases:
        """Draw once, so that all models are compared on the same draws."""
        _, code = np.unique(cases, return_inverse=True)
        n = int(code.max()) + 1
        random = np.random.default_rng(seed)
        times = RESAMPLES if n <= 20_000 else RESAMPLES // 5
        draws = np.stack([np.bincount(random.integers(0, n, n), minlength=n) for _ in range(times)])
        return cls(code, draws.astype(np.float32))

    def interval(self, values: np.ndarray, some: np.ndarray | None = None) -> tuple[float, float]:
        """95 % interval of the mean of `values` (n,), over events where `some` is true."""
        weight = np.ones(len(values)) if some is None else some.astype(np.float64)
        total = np.bincount(self.code, weights=values * weight, minlength=self.draws.shape[1])
        n = np.bincount(self.code, weights=weight, minlength=self.draws.shape[1])
        means = (self.draws @ total) / np.maximum(self.draws @ n, 1e-9)
        low, high = np.quantile(means, [0.025, 0.975])
        return float(low), float(high)


def benchmark(
    sequences: SequenceSet,
    protocol: Protocol,
    settings: ModelSettings,
    seed: int = 7,
    numbers: dict[str, np.ndarray] | None = None,
    progress: Progress = lambda what, done: None,
) -> dict[str, Any]:
    """Fit and judge every model of the protocol; the table, what was held out, seconds under "measured".

    `numbers` as in `held_out`.
    """
    held = held_out(sequences, protocol, MOST, numbers)
    entries = chosen(protocol.models)
    times = GapModel().fit(held.plain.keep(held.known)) if held.plain.timed else None
    cases = Cases.of(held.split.prefixes.cases, seed)
    seen = judge.seen_before(held.split)
    trials: dict[str, list[Trial]] = {}
    for i, (name, entry) in enumerate(entries.items()):
        seeds = range(seed, seed + (protocol.seeds if entry.random else 1))
        trials[name] = [_trial(name, entry, held, times, settings, s) for s in seeds]
        progress(f"judged {name.replace('_', ' ')}", (i + 1) / len(entries))
    new, same = judge.repeated_cases(held.split)
    best = min(TO_BEAT, key=lambda n: _mean(trials[n], lambda t: t.scores.loss.mean()))
    surest = max(TO_BEAT, key=lambda n: _mean(trials[n], lambda t: (t.scores.rank == 0).mean()))
    to_beat = {"nll": trials[best][0], "accuracy": trials[best][0], "best_accuracy": trials[surest][0]}
    return {
        "split": held.split.method,
        "protocol": _said(protocol),
        "n_train_events": held.split.train.n_events,
        "n_test": len(held.split.prefixes),
        "n_test_cases": int(cases.draws.shape[1]),
        "unseen_share": float(1.0 - seen.mean()),
        "n_cases_not_in_training": new,
        "n_identical_cases": same,
        "n_new_activity_events": judge.new_activities(trials["most_popular"][0].model, held.split),
        "best_baseline": best,
        "most_accurate_baseline": surest,
        "constant_gap": _constant(times, held),
        "models": [
            _line(name, entries[name].kind, trials[name], to_beat, held, cases, seen) for name in trials
        ],
        "reliability": {name: some[0].scores.reliability() for name, some in trials.items()},
        "measured": {
            name: {
                "fit_s": round(_mean(some, lambda t: t.fit_s), 3),
                "predict_s": round(_mean(some, lambda t: t.predict_s), 3),
                "memory_mb": round(max(t.memory_mb for t in some), 1),
            }
            for name, some in trials.items()
        },
    }


def benchmark_log(
    data: EventLog | SequenceSet, protocol: Protocol, settings: ModelSettings, seed: int = 7
) -> dict[str, Any]:
    """`benchmark` of a log; of a SequenceSet with the fields it has."""
    if isinstance(data, SequenceSet):
        return benchmark(data, protocol, settings, seed)
    sequences, numbers = coded(data, protocol)
    return benchmark(sequences, protocol, settings, seed, numbers)


def _said(protocol: Protocol) -> dict[str, Any]:
    """The rules, as they are written next to the numbers."""
    fields = None if protocol.fields is None else list(protocol.fields)
    return {
        "split": protocol.split,
        "end": protocol.end,
        "first": protocol.first,
        "min_prefix": protocol.least,
        "seeds": protocol.seeds,
        "fields": fields,
    }


def _trial(
    name: str, entry: Entry, held: Held, times: GapModel | None, settings: ModelSettings, seed: int
) -> Trial:
    """Fit one model and ask it for every held-out event."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    model = entry.make(settings, seed).fit(held.split.train)
    fitted = time.perf_counter()
    scores = judge.score(model, held.split.sequences, held.split.prefixes)
    done = time.perf_counter()
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    waits = _waits(model, scores.best, held, times)
    return Trial(scores, waits, fitted - began, done - fitted, memory, model)


def _waits(model: SequenceModel, best: np.ndarray, held: Held, times: GapModel | None) -> np.ndarray:
    """float64 (n, 3), µs: when, as the model says or by the gaps after its likeliest activity."""
    found = np.full((len(best), len(SHARES)), np.nan)
    asked = held.waited
    if times is None or not asked.any():
        return found
    own = model.waits(model.coded(held.split.sequences), held.split.prefixes[asked], SHARES)
    if own is not None:
        found[asked] = own
        return found
    ids = np.array([times.vocabulary_.id(n) for n in model.vocabulary_.names])
    coded = times.coded(held.plain)
    last = coded.tokens[held.events[asked] - 1]
    never = np.full(len(last), -1, dtype=np.int64)
    found[asked] = times.quantiles(last, ids[best[asked]], never, SHARES)
    return found


def _real(held: Held) -> np.ndarray:
    """float64 (n,), µs: how long it really took; NaN where nothing was waited for."""
    result = np.full(len(held.events), np.nan)
    some, moments = held.waited, np.asarray(held.plain.times)
    result[some] = moments[held.events[some]] - moments[held.events[some] - 1]
    return result


def _constant(times: GapModel | None, held: Held) -> dict[str, float] | None:
    """The constant median gap and its mean absolute error, days: what a time model must beat."""
    if times is None or not held.waited.any():
        return None
    real = _real(held)[held.waited]
    return {
        "median_days": times.constant() / DAY,
        "mae_days": float(np.abs(real - times.constant()).mean() / DAY),
    }


def _line(
    name: str,
    kind: str,
    trials: list[Trial],
    to_beat: dict[str, Trial],
    held: Held,
    cases: Cases,
    seen: np.ndarray,
) -> dict[str, Any]:
    """One line of the table: means over seeds; intervals over cases of the mean of the seeds' values.

    Gains in NLL and accuracy are over the baseline with the best NLL, that in "best_accuracy" over the most
    accurate one.
    """
    each = [t.scores.summary() for t in trials]
    line: dict[str, Any] = {"name": name, "kind": kind}
    line |= {key: float(np.mean([e[key] for e in each])) for key in each[0]}
    right = np.mean([t.scores.rank == 0 for t in trials], axis=0)
    loss = np.mean([t.scores.loss for t in trials], axis=0)
    line["accuracy_low"], line["accuracy_high"] = cases.interval(right)
    line["nll_low"], line["nll_high"] = cases.interval(loss)
    line |= _times(trials, _real(held))
    for side, some in (("seen", seen), ("unseen", ~seen)):
        line[f"n_{side}"] = int(some.sum())
        line[f"accuracy_{side}"] = float(right[some].mean()) if some.any() else None
        line[f"nll_{side}"] = float(loss[some].mean()) if some.any() else None
    if name not in TO_BEAT:
        for what, baseline in to_beat.items():
            more = right - (baseline.scores.rank == 0)
            values = baseline.scores.loss - loss if what == "nll" else more
            low, high = cases.interval(values)
            line[f"gain_{what}"] = {"mean": float(values.mean()), "low": low, "high": high}
    line |= kept_promises(trials[0].model, held.split)
    if len(trials) > 1:
        line["seeds"] = [{key: e[key] for key in ("accuracy", "nll", "ece")} for e in each]
    return line


def _times(trials: list[Trial], real: np.ndarray) -> dict[str, float | None]:
    """Mean absolute error of the median wait in days and coverage of the 80 % interval."""
    some = ~np.isnan(real)
    if not some.any() or np.isnan(trials[0].waits[some]).all():
        return {"gap_mae_days": None, "coverage80": None}
    errors, covered = [], []
    for trial in trials:
        low, median, high = trial.waits[some].T
        errors.append(float(np.nanmean(np.abs(median - real[some])) / DAY))
        covered.append(float(((low <= real[some]) & (real[some] <= high)).mean()))
    return {"gap_mae_days": float(np.mean(errors)), "coverage80": float(np.mean(covered))}


def _mean(trials: list[Trial], of: Callable[[Trial], Any]) -> float:
    return float(np.mean([of(t) for t in trials]))
