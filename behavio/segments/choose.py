"""How many segments: by held-out likelihood and stability together, the whole curve kept.

Cases are split; groups are found in one part and tried on the other. A log without groups then loses
by every further group, because it learns noise. Real logs have the opposite trouble: people differ
without end, and every further group gains a little. So three things are asked of a number of groups:
that unseen cases are clearly likelier than under one group; that they are told apart (the gain less the
doubt about who belongs where: the integrated completed likelihood of Biernacki, Celeux & Govaert, 2000,
on held-out cases); and that the same groups are found again from other cases (bootstrap stability,
Hennig, 2007). Among those that pass, share of the gain and stability are weighed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from behavio.segments.agreement import adjusted_rand
from behavio.segments.contract import Segmenter, steady
from behavio.segments.semi_markov import SemiMarkovMixture
from behavio.segments.settings import SegmentSettings
from behavio.segments.views import views_of
from behavio.sequences import SequenceSet

MIN_CASES = 40
"""Fewer cases are one segment: nothing found in so few would be found again."""

FIT_CASES, TRY_CASES = 6_000, 3_000
CLEAR = 2.0  # standard errors
STABLE, FIRM = 0.8, 0.65
"""From STABLE on groups are called stable; a number of groups whose stability less its spread over resamples
is below FIRM is taken only if none is firmer."""

STABILITY_WEIGHT, COST_OF_A_GROUP = 0.4, 0.01
AGAIN, AGAIN_RESTARTS, AGAIN_CASES, PROBES = 4, 4, 4_000, 3
BETTER_VIEW = 1.5  # times the gain of the plainer view
DISTINCT = 1 - np.exp(-1)
NEARLY = 0.85  # of the gain of the best number of groups

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What k groups do on held-out cases, per event but for the last two.

    nll        negative log-likelihood
    separated  the same plus the entropy of who belongs where: smaller is better told apart
    gain, low  how much less than one group's nll, and that gain less two standard errors over cases
    smallest   share of cases in the smallest group
    stability  agreement (adjusted Rand index) with groups found again in resampled cases; −1 where
               it was not asked, because fewer groups do as well
    spread     standard deviation of that agreement over the resamples
    """

    k: int
    nll: float
    separated: float
    gain: float
    low: float
    smallest: float
    stability: float = -1.0
    spread: float = 0.0

    def to_json(self) -> dict[str, float | int | None]:
        """With the column names of profiles.json."""
        return {
            "k": self.k,
            "held_out_nll_per_event": round(self.nll, 6),
            "with_doubt": round(self.separated, 6),
            "gain": round(self.gain, 6),
            "gain_low": round(self.low, 6),
            "smallest_share": round(self.smallest, 4),
            "stability": round(self.stability, 4) if self.stability >= 0 else None,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """The number of segments, how much estimates are smoothed, and the whole curve behind it.

    model       the method with its view and smoothing, not fitted
    runners_up  other numbers that explain nearly as much, the best first
    """

    k: int
    smoothing: float
    curve: tuple[CurvePoint, ...]
    model: Segmenter
    note: str = ""
    runners_up: tuple[int, ...] = ()

    @property
    def gain(self) -> float:
        """Held-out gain per event of the chosen k over one group."""
        return next((p.gain for p in self.curve if p.k == self.k), 0.0)


NONE = "the log carries no stable groups, more than one never fits unseen cases clearly better"


def choose(
    model: Segmenter, sequences: SequenceSet, settings: SegmentSettings, seed: int, progress: Progress
) -> Choice:
    """Number of segments for this log; `model` names the method, its k is not looked at."""
    n = sequences.n_cases
    if model.finds_k:
        return Choice(model.k, model.smoothing, (), model)
    if n < MIN_CASES:
        k = 1 if settings.k == "auto" else int(settings.k)
        note = f"{n} cases are too few to look for smaller groups: at least {MIN_CASES} are needed"
        return Choice(k, model.smoothing, (), model, note if k == 1 else "")
    kept, tried = split(n, seed)
    fit_on, try_on = sequences.select(kept), sequences.select(tried)
    # every group needs enough cases in the fitting part to be more than one person's habits
    largest = min(settings.max_k, max(1, len(kept) // 10))
    if settings.k != "auto":
        replace(model, k=int(settings.k)).check_enough(n)
        largest = min(int(settings.k), len(kept))
    model, known, unknown = _viewed(model, settings.view, fit_on, try_on, min(4, largest))
    wanted = range(1, largest + 1) if settings.k == "auto" else sorted({1, largest})
    curve = _curve(model, wanted, known, unknown, settings.min_size, progress)
    if settings.k != "auto":
        return Choice(int(settings.k), model.smoothing, curve, model)
    best = ranked(curve, settings.min_size)
    if not best:
        return Choice(1, model.smoothing, curve, model, NONE)
    return Choice(best[0], model.smoothing, curve, model, runners_up=best[1:])


def _viewed(
    model: Segmenter, view: str, fit_on: SequenceSet, try_on: SequenceSet, k: int
) -> tuple[Segmenter, Any, Any]:
    """The model with the view that tells most of k groups, its smoothing, and what it counts in both parts.

    A view that looks at more than events must tell clearly more, so that what is plain stays plain.
    """
    views: tuple[str, ...] = ("",)
    if isinstance(model, SemiMarkovMixture):
        views = views_of(fit_on) if view == "auto" else (view,)
    best: tuple[float, Segmenter, Any, Any] | None = None
    for name in views:
        seen = replace(model, view=name) if name else model  # type: ignore[call-arg]
        with steady():
            seen.lay_out(fit_on)
            known, unknown = seen.gather(fit_on), seen.gather(try_on)
            seen, told = _smoothed(seen, k, known, unknown)
        if best is None or told > max(BETTER_VIEW * best[0], 0.0):
            best = told, seen, known, unknown
    assert best is not None
    return best[1:]


def _smoothed(model: Segmenter, k: int, known: Any, unknown: Any) -> tuple[Segmenter, float]:
    """The smoothing under which k groups make held-out cases most likely, and what they then tell (nats)."""

    def reached(smoothing: float) -> tuple[float, Segmenter]:
        fitted = model.alike(k=k, smoothing=smoothing, restarts=PROBES).fit_gathered(known)
        return float(fitted.score(unknown)[0].sum()), fitted

    found = max((reached(s) for s in model.smoothings), key=lambda f: f[0])
    one = model.alike(k=1, smoothing=found[1].smoothing).fit_gathered(known)
    told = found[0] - float(one.score(unknown)[0].sum()) - float(doubt(found[1].posterior_of(unknown)).sum())
    return model.alike(smoothing=found[1].smoothing), told


def doubt(posterior: np.ndarray) -> np.ndarray:
    """Entropy of who belongs where, nats, float64 (n,)."""
    return -np.asarray((posterior * np.log(np.maximum(posterior, 1e-300))).sum(axis=1))


def split(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of cases to fit on (two thirds) and to try on, both ascending, none in both."""
    order = np.random.default_rng([seed, n]).permutation(n)
    cut = min(n * 2 // 3, FIT_CASES)
    return np.sort(order[:cut]), np.sort(order[cut : cut + TRY_CASES])


def _curve(
    model: Segmenter, wanted: Any, known: Any, unknown: Any, min_size: float, progress: Progress
) -> tuple[CurvePoint, ...]:
    """One point for each k in `wanted` (which starts with 1), two at a time on two cores."""

    def tried(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        fitted = model.alike(k=k).fit_gathered(known)
        likelihood, events = fitted.score(unknown)
        return likelihood, events, fitted.posterior_of(unknown), fitted.shares_  # type: ignore[attr-defined]

    points: list[CurvePoint] = []
    wanted = list(wanted)
    # SciPy and numba release the lock in their loops, so threads share the cores
    with steady(), ThreadPoolExecutor(min(len(wanted), os.cpu_count() or 1)) as pool:
        first: np.ndarray | None = None
        for k, (likelihood, events, posterior, shares) in zip(wanted, pool.map(tried, wanted), strict=True):
            first = likelihood if first is None else first
            total, better = float(events.sum()), likelihood - first
            nll = -float(likelihood.sum()) / total
            gain = float(better.sum()) / total
            error = float(better.std()) * np.sqrt(len(better)) / total
            low = gain - CLEAR * error
            separated = nll + float(doubt(posterior).sum()) / total
            point = CurvePoint(k, nll, separated, gain, low, float(shares.min()))
            further = all(point.gain > p.gain for p in points)  # else a smaller number does as well
            if further and _able(point, points[0] if points else point, min_size):
                stable = again(model.alike(k=k), known, unknown, posterior.argmax(axis=1), pool)
                mean, spread = max(0.0, float(stable.mean())), float(stable.std())
                point = replace(point, stability=mean, spread=spread)
            points.append(point)
            progress(f"segments: trying {k}", len(points) / len(wanted))
    return tuple(points)


def again(
    model: Segmenter,
    known: Any,
    unknown: Any,
    label: np.ndarray,
    pool: ThreadPoolExecutor,
    times: int = AGAIN,
) -> np.ndarray:
    """Agreement of `label` with groups found in resampled cases from other starts, float64 (times,)."""

    def once(i: int) -> float:
        rng = np.random.default_rng([model.seed, model.k, i])
        drawn = redrawn(known.n_cases, AGAIN_CASES, rng)
        other = model.alike(seed=model.seed + 1_000 + i, restarts=min(model.restarts, AGAIN_RESTARTS))
        return adjusted_rand(
            label, other.fit_gathered(known.select(drawn)).posterior_of(unknown).argmax(axis=1)
        )

    return np.array(list(pool.map(once, range(times))))


def redrawn(n: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """As many different cases of n as a bootstrap holds (63 %), at most `most`, each once, ascending.

    None is drawn twice: two copies of a case bear each other out, and groups form around what only they do.
    """
    return np.sort(rng.choice(n, max(1, min(round(DISTINCT * n), most)), replace=False))


def _able(point: CurvePoint, one: CurvePoint, min_size: float) -> bool:
    """Clearly better than one group, told apart, and none too small."""
    return point.k > 1 and point.low > 0 and point.smallest >= min_size and point.separated < one.separated


def ranked(curve: tuple[CurvePoint, ...], min_size: float) -> tuple[int, ...]:
    """Numbers of groups, the best first; empty where none is clearly better than one group.

    Firm ones come first; the share of all there is to gain and four tenths of the stability are added up,
    less a hundredth for every group: one has to remember them. Of the others only those follow that explain
    nearly as much as the first.
    """
    able = [p for p in curve if p.stability >= 0 and _able(p, curve[0], min_size)]
    if not able:
        return ()
    most = max(p.gain for p in able)
    firm = [p for p in able if p.stability - p.spread >= FIRM]
    if not firm:
        return (max(able, key=lambda p: (p.stability, -p.k)).k,)

    def worth(p: CurvePoint) -> float:
        return p.gain / most + STABILITY_WEIGHT * min(p.stability, STABLE) - COST_OF_A_GROUP * p.k

    order = sorted(firm, key=lambda p: (-worth(p), p.k))
    return tuple(p.k for p in order if p.gain >= NEARLY * order[0].gain)
