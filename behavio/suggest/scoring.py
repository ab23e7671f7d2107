"""How often a contact was followed by a response, and how often that happens anyway.

Shares are pulled from the situation to the segment to the action (beta-binomial empirical Bayes: the
strength of each prior is the one under which the observed shares are most likely, and never more than
what the level above rests on). What happens without the action is weighted so that every case counts as
often as it was contacted: the same people, in their other weeks. Repeated windows of one case are not
independent; numbers of contacts are deflated by the cluster-robust design effect (Kish 1965) before any
interval is made. The interval of a gain is MOVER (Zou & Donner 2008). This is association, not effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.suggest.settings import SuggestSettings
from behavio.suggest.situations import Situations, moments_of, quiet_windows, seen_touches

SITUATION = ("segment", "pressure", "seen")
LEVELS = ("action", "segment", "situation")
STRENGTHS = np.geomspace(1.0, 4096.0, 25)
FALSE_SHARE = 0.05
"""Expected share of false gains among the gains reported (Benjamini & Hochberg 1995)."""


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Shrunken shares of one action per situation and level.

    frame  segment, pressure, seen and for each level l: n_l (windows), k_l (responses), share_l (weighted
           raw share), a_l, b_l (parameters of the Beta posterior)
    """

    frame: pl.DataFrame


def strength(k: np.ndarray, n: np.ndarray, mean: np.ndarray) -> float:
    """The prior strength under which these counts are most likely: beta-binomial, over a fixed grid."""
    from scipy.special import betaln

    used = n > 0
    if used.sum() < 2:
        return float(STRENGTHS[len(STRENGTHS) // 2])
    k, n, mean = k[used], n[used], np.clip(mean[used], 1e-4, 1 - 1e-4)
    a, b = STRENGTHS[:, None] * mean, STRENGTHS[:, None] * (1 - mean)
    fit = (betaln(a + k, b + n - k) - betaln(a, b)).sum(axis=1)
    return float(STRENGTHS[int(np.argmax(fit))])


def shares(windows: pl.DataFrame) -> Shares:
    """Shrink the responses of `windows`: case, SITUATION, response (0/1), weight.

    Sums are taken by numpy in the order of the rows, so that they never depend on threads.
    """
    cells = windows.select(SITUATION).unique().sort(SITUATION).with_row_index("cell")
    cell = windows.join(cells, on=SITUATION, how="left", maintain_order="left")["cell"].to_numpy()
    weight, response = windows["weight"].to_numpy(), windows["response"].to_numpy()
    raw = (np.ones_like(weight), response, weight, weight * response)
    by_cell = np.stack([np.bincount(cell, v, cells.height) for v in raw])  # n, k, w, won
    segment = cells["segment"].rank("dense").to_numpy().astype(np.int64) - 1
    by_segment = np.stack([np.bincount(segment, v) for v in by_cell])[:, segment]
    whole = np.repeat(by_cell.sum(axis=1)[:, None], cells.height, axis=1)
    factor = _independent(windows, (by_segment[3] / by_segment[2])[cell])
    groups = dict(zip(LEVELS, (whole, by_segment, by_cell), strict=True))
    a, b = np.full(cells.height, 0.5), np.full(cells.height, 0.5)
    out = cells.drop("cell")
    for level, (n_raw, k_raw, w, won) in groups.items():
        n, share = factor * n_raw, won / w
        k, mean = share * n, a / (a + b)
        if level == "action":
            a, b = a + k, b + n - k
        else:
            own = np.unique(segment, return_index=True)[1] if level == "segment" else np.arange(len(segment))
            prior = np.minimum(strength(k[own], n[own], mean[own]), a + b)
            a, b = prior * mean + k, prior * (1 - mean) + n - k
        counts = {f"n_{level}": n_raw.astype(np.int64), f"k_{level}": k_raw.astype(np.int64)}
        out = out.with_columns(**counts, **{f"share_{level}": share, f"a_{level}": a, f"b_{level}": b})
    return Shares(out)


def _independent(windows: pl.DataFrame, expected: np.ndarray) -> float:
    """Effective share of the windows: 1 when independent, less when cases repeat themselves or weigh more."""
    weight, response = windows["weight"].to_numpy(), windows["response"].to_numpy()
    per_case = np.bincount(windows["case"].to_numpy(), weight * (response - expected))
    share = float((weight * response).sum() / weight.sum())
    variance = float((per_case**2).sum() / weight.sum() ** 2)
    if variance <= 0 or share in (0.0, 1.0):
        return 1.0
    return min(1.0, share * (1 - share) / variance / windows.height)


def with_weights(quiet: pl.DataFrame, touched: pl.DataFrame) -> pl.DataFrame:
    """Weigh the windows without a contact so that each case counts as often as it was contacted."""
    contacts = touched.group_by("case").agg(pl.len().alias("contacts"))
    kept = quiet.join(contacts, on="case", how="inner", maintain_order="left")
    return kept.with_columns(weight=pl.col("contacts") / pl.len().over("case")).drop("contacts")


def score(
    situations: Situations,
    actions: Sequence[str],
    settings: SuggestSettings,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """What every action does in every situation that was seen or is now.

    Returns the cells (one row per action and situation: level used, n, responses, share, probability, low,
    high and the same for the base, gain with interval, q_value), the situation of every case now, and
    counts of contacts used and left out because their window is not over.
    """
    touched, quiet, now = seen_touches(situations, actions), quiet_windows(situations), situations.now()
    counts = {
        "n_touches": touched.height,
        "n_touches_unobserved": touched.height - int(touched["observed"].sum()),
        "n_reference_windows": quiet.height,
    }
    touched = touched.filter("observed").with_columns(weight=pl.lit(1.0))
    wanted = now.select(SITUATION).unique().sort(SITUATION)
    width, parts = situations.window_us, []
    for done, action in enumerate(actions):
        progress("weighing contacts", done / max(len(actions), 1))
        own = touched.filter(pl.col("action") == action)
        moments = moments_of(situations.timeline, action)
        case, start = quiet["case"].to_numpy(), quiet["start"].to_numpy()
        without = with_weights(quiet.filter(moments.within(case, start, start + width) == 0), own)
        if own.height and without.height:
            parts.append(_cells(action, wanted, shares(own), shares(without), settings))
    cells = pl.concat(parts) if parts else _no_cells()
    return _control_false_gains(cells), now, counts


def _cells(
    action: str, wanted: pl.DataFrame, after: Shares, without: Shares, settings: SuggestSettings
) -> pl.DataFrame:
    """For one action: every wanted situation at the finest level that holds enough evidence."""
    frame = _spread(wanted, after, "").join(
        _spread(wanted, without, "base_"), on=SITUATION, maintain_order="left"
    )
    level = pl.lit(None, dtype=pl.String)
    for name in LEVELS:
        enough = (pl.col(f"n_{name}") >= settings.min_evidence) & (
            pl.col(f"base_n_{name}") >= settings.min_evidence
        )
        level = pl.when(enough.fill_null(False)).then(pl.lit(name)).otherwise(level)
    frame = frame.with_columns(level=level)
    chosen = []
    for side in ("", "base_"):
        for what in ("n", "k", "share", "a", "b"):
            value = pl.col(f"{side}{what}_action")
            for name in LEVELS[1:]:
                value = pl.when(pl.col("level") == name).then(pl.col(f"{side}{what}_{name}")).otherwise(value)
            chosen.append(value.alias(f"{side}{what}"))
    return _gains(frame.select(pl.lit(action).alias("action"), *SITUATION, "level", *chosen))


def _spread(wanted: pl.DataFrame, known: Shares, side: str) -> pl.DataFrame:
    """The shares of every level beside each wanted situation, also where the situation is new."""
    action, segment = known.frame.select("^.*_action$").head(1), known.frame.select("segment", "^.*_segment$")
    frame = wanted.join(action, how="cross")
    frame = frame.join(segment.unique("segment", keep="first"), on="segment", how="left")
    frame = frame.join(known.frame.select(*SITUATION, "^.*_situation$"), on=SITUATION, how="left")
    return frame.sort(SITUATION).select(*SITUATION, pl.exclude(SITUATION).name.prefix(side))


def _gains(cells: pl.DataFrame) -> pl.DataFrame:
    """Probability, base and gain with 95 % intervals from the Beta posteriors."""
    from scipy.special import betaincinv, ndtr

    a, b = cells["a"].to_numpy(), cells["b"].to_numpy()
    c, d = cells["base_a"].to_numpy(), cells["base_b"].to_numpy()
    p, q = a / (a + b), c / (c + d)
    low, high = betaincinv(a, b, 0.025), betaincinv(a, b, 0.975)
    base_low, base_high = betaincinv(c, d, 0.025), betaincinv(c, d, 0.975)
    deviation = np.sqrt(p * (1 - p) / (a + b + 1) + q * (1 - q) / (c + d + 1))
    gain = p - q
    return cells.drop("a", "b", "base_a", "base_b").with_columns(
        probability=p,
        low=low,
        high=high,
        base_probability=q,
        base_low=base_low,
        base_high=base_high,
        gain=gain,
        gain_low=gain - np.hypot(p - low, base_high - q),
        gain_high=gain + np.hypot(high - p, q - base_low),
        p_value=1 - ndtr(gain / deviation),
    )


def _control_false_gains(cells: pl.DataFrame) -> pl.DataFrame:
    """Add q_value over the distinct statements among the cells; those without evidence have none."""
    said = cells.filter(pl.col("level").is_not_null())
    distinct = said.select("action", "level", "probability", "base_probability", "p_value").unique()
    ranked = distinct.sort("p_value", "action", "level", "probability", "base_probability")
    p = ranked["p_value"].to_numpy()
    q = p * len(p) / np.arange(1, len(p) + 1)
    q = np.minimum(np.minimum.accumulate(q[::-1])[::-1], 1.0)
    keys = ["action", "level", "probability", "base_probability", "p_value"]
    return cells.join(ranked.with_columns(q_value=q), on=keys, how="left", maintain_order="left")


def _no_cells() -> pl.DataFrame:
    """The cells when nothing could be weighed."""
    numbers = [
        "share",
        "base_share",
        "probability",
        "low",
        "high",
        "base_probability",
        "base_low",
        "base_high",
    ]
    numbers += ["gain", "gain_low", "gain_high", "p_value"]
    kinds: dict[str, pl.DataType] = {"action": pl.String(), "segment": pl.String(), "pressure": pl.Int64()}
    kinds |= {"seen": pl.String(), "level": pl.String()}
    kinds |= {name: pl.Int64() for name in ("n", "k", "base_n", "base_k")}
    return pl.DataFrame(schema=kinds | {name: pl.Float64() for name in numbers})
