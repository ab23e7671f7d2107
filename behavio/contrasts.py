"""Two groups held against each other: differences with intervals, tests, and what many tests cost.

Cases are independent of each other, events of one case are not: whatever is counted per event takes its
uncertainty from the cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Z = 1.959963984540054  # 95 %


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """One number per row in two groups.

    a, b        float64 (n,): the value in each group, NaN where nothing speaks for it
    difference  float64 (n,): b − a, or b / a for ratios, or the chance that b is the larger one
    low, high   float64 (n,): 95 % interval of the difference
    p_value     float64 (n,): two-sided; NaN where it cannot be tested
    """

    a: np.ndarray
    b: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def false_discovery(p_value: np.ndarray) -> np.ndarray:
    """q-values: the share of false ones among results with a p-value as small; NaN stays.

    Benjamini & Hochberg 1995.
    """
    q_value = np.full(len(p_value), np.nan)
    tested = np.flatnonzero(~np.isnan(p_value))
    order = tested[np.argsort(p_value[tested], kind="stable")]
    ranked = p_value[order] * len(order) / np.arange(1, len(order) + 1)
    q_value[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q_value


def wilson(n: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a share (Wilson 1927)."""
    of = np.maximum(np.asarray(of, float), 1e-12)
    share = n / of
    middle = share + Z * Z / (2 * of)
    wide = Z * np.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of))
    return (middle - wide) / (1 + Z * Z / of), (middle + wide) / (1 + Z * Z / of)


def shares(n_a: np.ndarray, of_a: int, n_b: np.ndarray, of_b: int) -> Contrast:
    """Shares of cases: difference with Newcombe's interval (1998, method 10), exact test (Fisher).

    With expected counts of 5 or more everywhere the test is the chi-squared one with (n − 1) / n
    (Campbell 2007).
    """
    n_a, n_b = np.asarray(n_a, float), np.asarray(n_b, float)
    p_a, p_b = n_a / max(of_a, 1), n_b / max(of_b, 1)
    low_a, high_a = wilson(n_a, np.full(len(n_a), of_a))
    low_b, high_b = wilson(n_b, np.full(len(n_b), of_b))
    difference = p_b - p_a
    low = difference - np.hypot(p_b - low_b, high_a - p_a)
    high = difference + np.hypot(high_b - p_b, p_a - low_a)
    return Contrast(p_a, p_b, difference, low, high, _two_by_two(n_a, of_a, n_b, of_b))


def _two_by_two(n_a: np.ndarray, of_a: int, n_b: np.ndarray, of_b: int) -> np.ndarray:
    from scipy.stats import chi2, fisher_exact

    total, yes = of_a + of_b, n_a + n_b
    least = np.minimum(yes, total - yes) * min(of_a, of_b) / max(total, 1)
    spread = yes * (total - yes) * float(of_a) * of_b
    squared = (n_a * (of_b - n_b) - n_b * (of_a - n_a)) ** 2 * (total - 1)
    p_value = chi2.sf(np.divide(squared, spread, out=np.zeros_like(spread), where=spread > 0), 1)
    for i in np.flatnonzero(least < 5):
        p_value[i] = fisher_exact([[n_a[i], of_a - n_a[i]], [n_b[i], of_b - n_b[i]]]).pvalue
    return np.asarray(p_value)


def ratios(a: RatioSums, b: RatioSums, covariance: np.ndarray | float = 0.0) -> Contrast:
    """Shares of events, of which a case has many: difference with the spread between cases (linearised).

    covariance  of the two ratios, where the same cases stand on both sides
    Cochran, Sampling Techniques (1977), section 6.4. Fewer than 5 cases on a side: no test.
    """
    from scipy.stats import norm

    p_a, p_b = a.value, b.value
    difference = p_b - p_a
    wide = np.sqrt(np.maximum(a.variance + b.variance - 2 * covariance, 0.0))
    few = np.minimum(a.cases, b.cases) < 5
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * norm.sf(np.abs(difference) / wide)
    p_value[few | ~(wide > 0)] = np.nan
    return Contrast(p_a, p_b, difference, difference - Z * wide, difference + Z * wide, p_value)


def rates(a: RatioSums, b: RatioSums, covariance: np.ndarray | float = 0.0) -> Contrast:
    """Events per time: ratio b / a with an interval on the logarithm, spread taken between cases.

    covariance  of the two rates, where the same cases stand on both sides
    """
    from scipy.stats import norm

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = b.value / a.value
        spread = a.variance / a.value**2 + b.variance / b.value**2 - 2 * covariance / (a.value * b.value)
        wide = np.sqrt(np.maximum(spread, 0.0))
        p_value = 2 * norm.sf(np.abs(np.log(ratio)) / wide)
        low, high = ratio * np.exp(-Z * wide), ratio * np.exp(Z * wide)
    open_ended = ~np.isfinite(wide) | ~(wide > 0) | (np.minimum(a.hits, b.hits) < 5)
    for values in (p_value, low, high):
        values[open_ended] = np.nan
    return Contrast(a.value, b.value, ratio, low, high, p_value)


@dataclass(frozen=True, slots=True, eq=False)
class RatioSums:
    """Sums over cases from which a ratio Σx / Σn and its variance come.

    x, n, xx, xn, nn  float64: Σx, Σn, Σx², Σxn, Σn²      cases  int64: cases with n > 0
    hits              int64: cases with x > 0
    """

    x: np.ndarray
    n: np.ndarray
    xx: np.ndarray
    xn: np.ndarray
    nn: np.ndarray
    cases: np.ndarray
    hits: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """Σx / Σn."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.n > 0, self.x / self.n, np.nan)

    @property
    def variance(self) -> np.ndarray:
        """Variance of the ratio between cases, with m / (m − 1)."""
        r, m = self.value, np.maximum(self.cases, 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = self.xx - 2 * r * self.xn + r * r * self.nn
            return np.maximum(left, 0.0) / self.n**2 * m / (m - 1)


def larger(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float, float]:
    """Chance that a value of b is larger than one of a (ties half), its 95 % interval, and the p-value.

    Mann & Whitney 1947; variance of the interval by Hanley & McNeil 1982.
    """
    from scipy.stats import mannwhitneyu

    if min(len(a), len(b)) < 5:
        return float("nan"), float("nan"), float("nan"), float("nan")
    test = mannwhitneyu(b, a, method="asymptotic")
    area = float(test.statistic) / (len(a) * len(b))
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    m, n = len(b), len(a)
    spread = area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)
    wide = Z * float(np.sqrt(max(spread, 0.0) / (m * n)))
    return area, max(area - wide, 0.0), min(area + wide, 1.0), float(test.pvalue)


def larger_alike(
    a: np.ndarray, case_a: np.ndarray, b: np.ndarray, case_b: np.ndarray
) -> tuple[float, float, float, float]:
    """`larger` where cases may stand on both sides, each at most once on a side.

    What each value adds to the share of pairs is known, so is what each case adds on both sides together
    (DeLong, DeLong & Clarke-Pearson 1988, for one curve with shared cases: Obuchowski 1997).
    """
    from scipy.stats import norm

    if min(len(a), len(b)) < 5:
        return float("nan"), float("nan"), float("nan"), float("nan")
    rises = _share_above(a, b)
    falls = 1 - _share_above(b, a)
    area = float(rises.mean())
    one, other = (rises - area) / len(a), (falls - area) / len(b)
    _, here, there = np.intersect1d(case_a, case_b, assume_unique=True, return_indices=True)
    spread = float((one**2).sum() + (other**2).sum() + 2 * (one[here] * other[there]).sum())
    wide = float(np.sqrt(max(spread, 0.0)))
    if wide == 0:
        return area, float("nan"), float("nan"), float("nan")
    p_value = float(2 * norm.sf(abs(area - 0.5) / wide))
    return area, max(area - Z * wide, 0.0), min(area + Z * wide, 1.0), p_value


def _share_above(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each value the share of the others that are larger, ties half."""
    ordered = np.sort(others)
    below, up_to = np.searchsorted(ordered, values), np.searchsorted(ordered, values, side="right")
    return np.asarray(1 - (below + up_to) / (2 * len(ordered)))


def survival_median(times: np.ndarray, ended: np.ndarray) -> float:
    """Median of times of which some only say "longer than this"; NaN where it is not reached.

    Kaplan & Meier 1958.
    """
    order = np.lexsort((~ended, times))
    times, ended = times[order], ended[order]
    left = len(times) - np.arange(len(times))
    alive = np.cumprod(np.where(ended, 1 - 1 / left, 1.0))
    reached = np.flatnonzero(alive <= 0.5 + 1e-12)
    return float(times[reached[0]]) if len(reached) else float("nan")


def log_rank(
    times_a: np.ndarray, ended_a: np.ndarray, times_b: np.ndarray, ended_b: np.ndarray
) -> tuple[float, float]:
    """How fast b ends against a, and the p-value of the log-rank test (Peto & Peto 1972).

    The first is observed ÷ expected ends of b over that of a; below 1: b takes longer.
    """
    from scipy.stats import chi2

    times, ended = np.concatenate([times_a, times_b]), np.concatenate([ended_a, ended_b])
    in_b = np.repeat([False, True], [len(times_a), len(times_b)])
    moments, place = np.unique(times, return_inverse=True)
    size = len(moments)
    ends = np.bincount(place, ended, size)
    ends_b = np.bincount(place, ended & in_b, size)
    risk = np.cumsum(np.bincount(place, minlength=size)[::-1])[::-1]
    risk_b = np.cumsum(np.bincount(place, in_b, size)[::-1])[::-1]
    expected = (ends * risk_b / risk).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = ends * (risk_b / risk) * (1 - risk_b / risk) * (risk - ends) / (risk - 1)
    variance = np.nansum(np.where(risk > 1, spread, 0.0))
    observed, all_ends = ends_b.sum(), ends.sum()
    if variance <= 0 or expected <= 0 or all_ends - expected <= 0 or observed == all_ends:
        return float("nan"), float("nan")
    ratio = (observed / expected) / ((all_ends - observed) / (all_ends - expected))
    return float(ratio), float(chi2.sf((observed - expected) ** 2 / variance, 1))
