"""How many segments: as many as make held-out cases clearly more likely, and no more.

Cases are split; groups are found in one part and tried on the other. A log without groups then loses
by every further group, because it learns noise. Real logs have the opposite trouble: people differ
without end, and every further group gains a little. So a group must also be told apart: the gain is
counted less the doubt about who belongs where (the integrated completed likelihood of Biernacki,
Celeux & Govaert, 2000, on held-out cases), and the curve is followed as long as it falls clearly.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from behavio.segments.contract import Segmenter, steady
from behavio.segments.settings import SegmentSettings
from behavio.sequences import SequenceSet

MIN_CASES = 40
"""Fewer cases are one segment: nothing found in so few would be found again."""

FIT_CASES, TRY_CASES = 6_000, 3_000
WORTH = 0.025
"""A further segment must bring this share of all there is to gain; less is people differing without end."""

CLEAR = 2.0  # standard errors
SMOOTHINGS = (5.0, 20.0, 80.0, 320.0)

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What k groups do on held-out cases, all per event.

    nll        negative log-likelihood
    separated  the same plus the entropy of who belongs where: smaller is better told apart
    gain, low  how much less than one group's nll, and that gain less two standard errors over cases
    smallest   share of cases in the smallest group
    """

    k: int
    nll: float
    separated: float
    gain: float
    low: float
    smallest: float

    def to_json(self) -> dict[str, float | int]:
        """With the column names of profiles.json."""
        return {
            "k": self.k,
            "held_out_nll_per_event": round(self.nll, 6),
            "with_doubt": round(self.separated, 6),
            "gain": round(self.gain, 6),
            "gain_low": round(self.low, 6),
            "smallest_share": round(self.smallest, 4),
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """The number of segments, how much estimates are smoothed, and the whole curve behind it."""

    k: int
    smoothing: float
    curve: tuple[CurvePoint, ...]
    note: str = ""

    @property
    def gain(self) -> float:
        """Held-out gain per event of the chosen k over one group."""
        return next((p.gain for p in self.curve if p.k == self.k), 0.0)


def choose(
    model: Segmenter, sequences: SequenceSet, settings: SegmentSettings, seed: int, progress: Progress
) -> Choice:
    """Number of segments for this log; `model` names the method, its k is not looked at."""
    n = sequences.n_cases
    if n < MIN_CASES:
        k = 1 if settings.k == "auto" else int(settings.k)
        note = f"{n} cases are too few to look for smaller groups: at least {MIN_CASES} are needed"
        return Choice(k, model.smoothing, (), note if k == 1 else "")
    kept, tried = _split(n, seed)
    fit_on, try_on = sequences.select(kept), sequences.select(tried)
    model.lay_out(fit_on)
    known, unknown = model.gather(fit_on), model.gather(try_on)
    if settings.k != "auto":
        k = int(settings.k)
        model.alike(k=k).check_enough(n)
        smoothing = _smoothing(model, min(4, k, len(kept)), known, unknown)
        curve = _curve(
            model.alike(smoothing=smoothing), sorted({1, min(k, len(kept))}), known, unknown, progress
        )
        return Choice(k, smoothing, curve)
    # every group needs enough cases in the fitting part to be more than one person's habits
    largest = min(settings.max_k, max(1, len(kept) // 10))
    smoothing = _smoothing(model, min(4, largest), known, unknown)
    curve = _curve(model.alike(smoothing=smoothing), range(1, largest + 1), known, unknown, progress)
    k = _elbow(curve, settings.min_size)
    note = (
        ""
        if k > 1
        else "the log carries no stable groups, more than one never fits unseen cases clearly better"
    )
    return Choice(k, smoothing, curve, note)


def _split(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of cases to fit on (two thirds) and to try on, both ascending, none in both."""
    order = np.random.default_rng([seed, n]).permutation(n)
    cut = min(n * 2 // 3, FIT_CASES)
    return np.sort(order[:cut]), np.sort(order[cut : cut + TRY_CASES])


def _smoothing(model: Segmenter, k: int, known: Any, unknown: Any) -> float:
    """The smoothing under which k groups make held-out cases most likely."""

    def reached(smoothing: float) -> float:
        return float(model.alike(k=k, smoothing=smoothing).fit_gathered(known).score(unknown)[0].sum())

    with steady():
        return max(SMOOTHINGS, key=reached)


def _curve(
    model: Segmenter, wanted: Any, known: Any, unknown: Any, progress: Progress
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
            doubt = -float((posterior * np.log(np.maximum(posterior, 1e-300))).sum())
            nll = -float(likelihood.sum()) / total
            gain = float(better.sum()) / total
            error = float(better.std()) * np.sqrt(len(better)) / total
            low = gain - CLEAR * error
            points.append(CurvePoint(k, nll, nll + doubt / total, gain, low, float(shares.min())))
            progress(f"segments: trying {k}", len(points) / len(wanted))
    return tuple(points)


def _elbow(curve: tuple[CurvePoint, ...], min_size: float) -> int:
    """The smallest k after which no further segment is worth it, among those clearly better than one.

    Going on from k to a larger number is worth it when every added segment brings, on average, 2.5 % of
    the most that the separated gain can be.
    """
    one = curve[0].separated
    able = [p for p in curve[1:] if p.low > 0 and p.smallest >= min_size and p.separated < one]
    if not able:
        return 1
    least = WORTH * max(one - p.separated for p in able)
    for here in able:
        onward = [(here.separated - p.separated) / (p.k - here.k) for p in able if p.k > here.k]
        if max(onward, default=0.0) < least:
            return here.k
    return able[-1].k
