"""How often a contact was followed by a response, and how often that happens anyway.

What happens anyway is taken from people not contacted at the same moment, see `controls.py`.

Shares are pulled from the situation to the segment to the action (beta-binomial empirical Bayes: the
strength of each prior is the one under which the observed shares are most likely, and never more than
what the level above rests on). Repeated windows of one case are not independent; numbers of windows are
deflated by the cluster-robust design effect (Kish 1965) before any interval is made. The interval of a
gain is MOVER (Zou & Donner 2008). What the shares are pulled to may itself be chance: a gain is sure only
where that of its action and segment is, see `proof`. This is association, not effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.suggest.controls import Compared, with_base
from behavio.suggest.proof import FAMILY_LEVEL, family
from behavio.suggest.settings import SuggestSettings
from behavio.suggest.situations import Situations, seen_touches

SITUATION = ("segment", "pressure", "seen")
LEVELS = ("action", "segment", "situation")
STRENGTHS = np.geomspace(1.0, 4096.0, 25)
FALSE_SHARE = 0.05
"""Expected share of false gains among the gains reported (Benjamini & Hochberg 1995)."""

SURE = (
    pl.col("level").is_not_null()
    & (pl.col("gain_low") > 0)
    & (pl.col("q_value") <= FALSE_SHARE)
    & (pl.col("family_p") <= FAMILY_LEVEL)
)
"""True for cells whose gain chance cannot explain."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """One kind of window, summed per cell (situation), its segment and the action.

    Every array is float64 (3, n_cells), rows in the order of LEVELS, each value repeated for all cells of
    its group: n and k (windows and responses counted), share, and n_effective behind that share.
    """

    n: np.ndarray
    k: np.ndarray
    share: np.ndarray
    n_effective: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The situations of one action: SITUATION sorted, and the segment code of each."""

    frame: pl.DataFrame
    segment: np.ndarray

    @classmethod
    def of(cls, *frames: pl.DataFrame) -> Cells:
        """Every situation that occurs in one of the frames."""
        frame = pl.concat([f.select(SITUATION) for f in frames]).unique().sort(SITUATION)
        return cls(frame, frame["segment"].rank("dense").to_numpy().astype(np.int64) - 1)

    def index(self, windows: pl.DataFrame) -> np.ndarray:
        """int64 (n_windows,): the cell of each window."""
        numbered = self.frame.with_row_index("cell")
        cell = windows.join(numbered, on=SITUATION, how="left", maintain_order="left")["cell"]
        return cell.to_numpy().astype(np.int64)

    def levels(self, cell: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Sum a value of every window per action, segment and cell: float64 (3, n_cells).

        numpy adds in the order of the rows, so sums never depend on threads.
        """
        by_cell = np.bincount(cell, value, self.frame.height)
        by_segment = np.bincount(self.segment, by_cell)[self.segment]
        return np.stack([np.full(len(by_cell), by_cell.sum()), by_segment, by_cell])


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, 0 where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def after_contact(cells: Cells, contacts: pl.DataFrame) -> Levels:
    """Responses after the contacts."""
    cell, response = cells.index(contacts), contacts["response"].to_numpy()
    n, k = cells.levels(cell, np.ones(len(cell))), cells.levels(cell, response)
    share = _ratio(k, n)
    return Levels(n, k, share, n * independent_share(contacts, share[1][cell]))


def without_contact(cells: Cells, compared: Compared) -> Levels:
    """The base of the contacts; n and k count the control windows drawn for them.

    A day's level rests on the controls of that day alone, however many contacts share it, and controls
    are cases that repeat: both make the windows worth less than their number. They are never worth more than
    the variance of the mean base allows.
    """
    contacts, controls = compared.contacts, compared.controls
    cell = cells.index(contacts)
    drawn = contacts["controls"].to_numpy()
    wins = controls.group_by("contact").agg(pl.col("response").sum().alias("wins"))
    won = contacts.join(wins, on="contact", how="left", maintain_order="left")["wins"].to_numpy()
    n, k = cells.levels(cell, drawn), cells.levels(cell, won)
    base = cells.levels(cell, contacts["base"].to_numpy())
    share = np.clip(_ratio(base, cells.levels(cell, np.ones(len(cell)))), 0.0, 1.0)
    home = controls.select("contact", "response", "case").join(
        contacts.select("contact", *SITUATION), on="contact", how="left", maintain_order="left"
    )
    independent = independent_share(home, _ratio(k, n)[1][cells.index(home)])
    effective = n * independent * _day_share(contacts, controls)
    mean, worth = share[0, 0], effective[0, 0]
    if compared.doubt > 0 and worth > 0:
        effective *= min(1.0, mean * (1 - mean) / compared.doubt / worth)
    return Levels(n, k, share, effective)


def _day_share(contacts: pl.DataFrame, controls: pl.DataFrame) -> float:
    """How much the controls are worth when each contact leans on the controls of its own day."""
    people = controls.group_by("day").agg(pl.col("case").n_unique().alias("people"))
    days = contacts.group_by("day").agg(pl.len().alias("n")).join(people, on="day", how="inner").sort("day")
    n, m = days["n"].to_numpy().astype(float), days["people"].to_numpy()
    return min(1.0, float(n.sum() ** 2 / (n**2 / m).sum()) / controls.height)


def independent_share(windows: pl.DataFrame, expected: np.ndarray) -> float:
    """Effective share of the windows: 1 when independent, less when cases repeat themselves."""
    response, n = windows["response"].to_numpy(), windows.height
    per_case = np.bincount(windows["case"].to_numpy(), response - expected)
    share, variance = float(response.mean()), float((per_case**2).sum()) / n**2
    if variance <= 0 or share in (0.0, 1.0):
        return 1.0
    return min(1.0, share * (1 - share) / variance / n)


def shrink(cells: Cells, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Beta posteriors of the shares: a and b, float64 (3, n_cells) each."""
    first = np.unique(cells.segment, return_index=True)[1]
    n, k = levels.n_effective, levels.share * levels.n_effective
    a, b = np.empty_like(n), np.empty_like(n)
    a[0], b[0] = 0.5 + k[0], 0.5 + n[0] - k[0]
    for level, own in ((1, first), (2, slice(None))):
        above = a[level - 1] + b[level - 1]
        mean = a[level - 1] / above
        prior = np.minimum(strength(k[level][own], n[level][own], mean[own]), above)
        a[level] = prior * mean + k[level]
        b[level] = prior * (1 - mean) + n[level] - k[level]
    return a, b


def score(
    situations: Situations,
    actions: Sequence[str],
    settings: SuggestSettings,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """What every action does in every situation that was seen or is now.

    Returns the cells (one row per action and situation: level used, n, responses, share, probability, low,
    high and the same for the base, gain with interval, q_value, family_p), the situation of every case now,
    and counts: contacts, those left out because their window is not over or nobody can be compared, controls.
    """
    touched, now = seen_touches(situations, actions), situations.now()
    n_touches, observed = touched.height, touched.filter("observed")
    del touched  # a million cases have millions of contacts: one table of them at a time
    wanted = now.select(SITUATION).unique().sort(SITUATION)
    cells, counted = learned(situations, actions, observed, wanted, settings, progress)
    counts = {"n_touches": n_touches, "n_touches_unobserved": n_touches - observed.height}
    return cells, now, counts | counted


def learned(
    situations: Situations,
    actions: Sequence[str],
    touched: pl.DataFrame,
    wanted: pl.DataFrame,
    settings: SuggestSettings,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The cells of the wanted situations as these observed contacts tell them, and counts."""
    counts = {"n_touches_incomparable": 0, "n_reference_windows": 0}
    parts, proofs = [], []
    for done, action in enumerate(actions):
        progress("weighing contacts", done / max(len(actions), 1))
        own = touched.filter(pl.col("action") == action)
        compared = with_base(situations, action, own)
        counts["n_touches_incomparable"] += own.height - compared.contacts.height
        counts["n_reference_windows"] += compared.controls.height
        if compared.contacts.height:
            parts.append(_gains(weigh(action, wanted, compared, settings)))
            proofs.append(compared.proofs.with_columns(action=pl.lit(action)))
    if not parts:
        return _control_false_gains(_no_cells()).with_columns(family_p=pl.lit(None, dtype=pl.Float64)), counts
    cells = _control_false_gains(pl.concat(parts))
    return _of_family(cells, family(pl.concat(proofs), settings.min_evidence)), counts


def weigh(
    action: str,
    wanted: pl.DataFrame,
    compared: Compared,
    settings: SuggestSettings,
) -> pl.DataFrame:
    """For one action: every wanted situation at the finest level that holds enough evidence.

    Columns: action, SITUATION, level (null when even the action has too little), and with and without the
    prefix base_: n, k, share, a, b.
    """
    cells = Cells.of(wanted, compared.contacts)
    sides = {"": after_contact(cells, compared.contacts), "base_": without_contact(cells, compared)}
    enough = np.all([side.n >= settings.min_evidence for side in sides.values()], axis=0)
    level = np.where(enough[2], 2, np.where(enough[1], 1, 0))
    names = np.array(LEVELS, dtype=object)[level]
    names[~enough.any(axis=0)] = None
    pick = (level, np.arange(len(level)))
    columns = {"level": pl.Series(names, dtype=pl.String)}
    for prefix, side in sides.items():
        a, b = shrink(cells, side)
        columns |= {
            f"{prefix}{c}": pl.Series(v[pick].astype(np.int64)) for c, v in (("n", side.n), ("k", side.k))
        }
        values = (("share", side.share), ("a", a), ("b", b))
        columns |= {f"{prefix}{c}": pl.Series(v[pick]) for c, v in values}
    frame = cells.frame.with_columns(pl.lit(action).alias("action"), **columns)
    return frame.join(wanted, on=SITUATION, how="semi", maintain_order="left").select(
        "action", *SITUATION, "level", *(c for c in columns if c != "level")
    )


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


def _of_family(cells: pl.DataFrame, proofs: pl.DataFrame) -> pl.DataFrame:
    """Add family_p: that of the segment of a cell, that of the action where the cell rests on all of it."""
    whole = proofs.filter(pl.col("segment").is_null()).select("action", of_action="family_p")
    own = proofs.filter(pl.col("segment").is_not_null()).select("action", "segment", of_segment="family_p")
    cells = cells.join(whole, on="action", how="left", maintain_order="left")
    cells = cells.join(own, on=["action", "segment"], how="left", maintain_order="left")
    known = pl.when(pl.col("level") == "action").then("of_action").otherwise("of_segment")
    return cells.with_columns(family_p=known).drop("of_action", "of_segment")


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
