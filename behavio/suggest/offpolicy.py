"""What the suggested policy would have brought, estimated from what was done instead.

The question asked of the past: at the moments at which the company made contact anyway, would the action that
is suggested have been answered more often than the action that was taken? The policy is learned on the
earlier contacts and judged on the later ones, so nothing is judged by what it was learned from. Where nothing
is suggested for a contact, the policy keeps what was done.

Two estimates: self-normalised inverse propensity scoring (Swaminathan & Joachims 2015) and doubly robust
(Dudík, Langford & Li 2011); chances of actions and answers are logistic models fitted on other cases than
those they are used for. Intervals take each case as one (its contacts are not independent). Both need that
whatever the company chose by and matters for the answer is in the record, and that it sometimes did what is
suggested: the overlap says how far that holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import Z
from behavio.suggest.plan import in_order
from behavio.suggest.scoring import SITUATION, SURE, learned
from behavio.suggest.settings import DAY_US, SuggestSettings
from behavio.suggest.situations import Situations, moments_of, seen_touches

LEARN_SHARE = 0.6
"""So large a share of the contacts, the earliest, teaches the policy."""

FOLDS = 5
FLOOR = 0.02
"""Chance of the suggested action below which a contact says nothing about it: no support."""

FEWEST = 200
"""Later contacts needed for an estimate."""

MOST = 50_000
"""Contacts judged at most; of larger logs a sample of whole cases."""

STANDING_RULES = (
    "inactive_account",
    "privacy_opt_out",
    "no_consent",
    "do_not_call",
    "medical_firewall",
    "pdrp_opt_out",
    "channel_policy",
)
"""Rules that close an action to a case whatever the moment."""

RECENT_DAYS = (3, 7, 14, 28, 90)


@dataclass(frozen=True, eq=False)
class Judged:
    """Later contacts with what was done and what is suggested.

    contacts    case, time, SITUATION, response
    done        int64 (n,) number of the action taken
    suggested   int64 (n,) number of the action suggested, -1 where the policy keeps what was done
    """

    contacts: pl.DataFrame
    actions: tuple[str, ...]
    done: np.ndarray
    suggested: np.ndarray


def judge_policy(
    situations: Situations, actions: pl.DataFrame, closed: pl.DataFrame, settings: SuggestSettings
) -> dict[str, Any]:
    """The estimate as plain facts (policy.json); with `note` alone where it cannot be made.

    `closed` (case, action) is what a rule of STANDING_RULES forbids: that is not suggested.
    """
    names = actions["action"].to_list()
    touched = seen_touches(situations, names).filter("observed")
    if len(names) < 2 or touched.height < 2 * FEWEST:
        return {"note": f"{touched.height} contacts by {len(names)} actions are too few to judge a policy"}
    cut = int(touched["time"].quantile(LEARN_SHARE, "lower"))  # type: ignore[arg-type]
    before = touched.filter(pl.col("time") + situations.window_us <= cut)
    later = _sampled(touched.filter(pl.col("time") > cut))
    if later.height < FEWEST or before.height < FEWEST:
        return {"note": f"{later.height} contacts after the policy was learned are too few to judge it"}
    cells = learned(situations, names, before, later.select(SITUATION).unique().sort(SITUATION), settings)[0]
    chosen = _chosen(later, cells, actions, closed, settings)
    features = _features(situations, later, names)
    facts = _estimates(chosen, features)
    facts |= {
        "learned_until": str(np.datetime64(cut, "us")) + "Z",
        "actions": _by_action(chosen),
        "objective": situations.timeline.objective.words,
    }
    return facts


def _sampled(later: pl.DataFrame) -> pl.DataFrame:
    """All of them, or those of every k-th case."""
    every = -(-later.height // MOST)
    return later if every < 2 else later.filter(pl.col("case") * 7_919 % every == 0)


def _chosen(
    later: pl.DataFrame,
    cells: pl.DataFrame,
    actions: pl.DataFrame,
    closed: pl.DataFrame,
    settings: SuggestSettings,
) -> Judged:
    """The best action for every later contact among those that are sure and open to the case."""
    names = actions["action"].to_list()
    sure = cells.filter(SURE).select("action", *SITUATION, "gain")
    rows = later.with_row_index("contact").select("contact", *SITUATION, own="case")
    offers = rows.join(sure, on=SITUATION, how="inner").join(
        actions.select("action", "channel"), on="action", how="left"
    )
    offers = offers.join(closed.rename({"case": "own"}), on=["own", "action"], how="anti")
    offers = offers.with_columns(
        case=pl.col("contact").cast(pl.Int64),
        trigger=pl.lit(None, dtype=pl.String),
        policy_place=pl.lit(0),
    )
    best = in_order(offers, settings).unique("case", keep="first", maintain_order=True)
    number = {a: i for i, a in enumerate(names)}
    suggested = np.full(later.height, -1)
    suggested[best["case"].to_numpy()] = (
        best["action"].replace_strict(number, return_dtype=pl.Int64).to_numpy()
    )
    done = later["action"].replace_strict(number, return_dtype=pl.Int64).to_numpy()
    return Judged(later, tuple(names), done, suggested)


def _features(situations: Situations, later: pl.DataFrame, names: list[str]) -> np.ndarray:
    """What the company may have chosen by: float64 (n_contacts, k).

    Group, contacts in 28 days, what was heard last, days since the last contact of each action and how many
    there were, how many answers; and the month, which answers follow.
    """
    t = situations.timeline
    case, time = later["case"].to_numpy(), later["time"].to_numpy()
    columns = []
    for column in (*SITUATION, "month"):
        values = pl.Series(time // (30 * DAY_US)) if column == "month" else later[column]
        code = values.rank("dense").to_numpy().astype(np.int64) - 1
        columns.append(np.eye(int(code.max()) + 1)[code][:, 1:])
    for name in names:
        own = moments_of(t, name)
        seen = np.stack([own.within(case, time - d * DAY_US, time - 1_000) for d in RECENT_DAYS], axis=1)
        columns.append((seen > 0).astype(float))
        columns.append(np.log1p(own.within(case, time - 365 * DAY_US, time - 1_000))[:, None])
    for kind in (t.inbound, t.success):
        columns.append(np.log1p(kind.within(case, time - 90 * DAY_US, time - 1_000))[:, None])
    return np.hstack(columns)


def _estimates(j: Judged, features: np.ndarray) -> dict[str, Any]:
    """Value of what was done and of the policy, with gains, 95 % intervals and the overlap."""
    n, k = len(j.done), len(j.actions)
    answered = j.contacts["response"].to_numpy().astype(float)
    case = j.contacts["case"].to_numpy()
    fold = case * 7_919 % FOLDS
    chance, expected = np.full((n, k), 1.0 / k), np.full((n, k), answered.mean())
    for held in range(FOLDS):
        own, others = fold == held, fold != held
        if own.any() and others.any():
            chance[own] = _chances(features[others], j.done[others], features[own], k)
            for action in range(k):
                taught = others & (j.done == action)
                expected[own, action] = _share(features[taught], answered[taught], features[own])
    rows = np.arange(n)
    keeps = j.suggested < 0
    target = np.where(keeps, j.done, j.suggested)
    support = keeps | (chance[rows, target] >= FLOOR)
    same = (target == j.done).astype(float)
    weight = np.where(keeps, 1.0, same / np.maximum(chance[rows, target], FLOOR))
    direct = np.where(keeps, answered, expected[rows, target])
    robust = direct + np.where(keeps, 0.0, weight * (answered - expected[rows, j.done]))
    done = float(answered.mean())
    total = float(weight.sum())
    value = float((weight * answered).sum() / total) if total else done
    influence = weight * (answered - value) * n / total if total else np.zeros(n)
    return {
        "n_contacts": n,
        "n_cases": len(np.unique(case)),
        "kept_share": round(float(keeps.mean()), 4),
        "same_share": round(float(same.mean()), 4),
        "done": _told(done, answered - done, case),
        "snips": _told(value, influence, case) | _gained(value - done, influence - (answered - done), case),
        "doubly_robust": _told(float(robust.mean()), robust - robust.mean(), case)
        | _gained(float((robust - answered).mean()), robust - answered - (robust - answered).mean(), case),
        "overlap": {
            "effective_n": round(total**2 / float((weight**2).sum()), 1) if total else 0.0,
            "effective_share": round(total**2 / float((weight**2).sum()) / n, 4) if total else 0.0,
            "largest_weight": round(float(weight.max()), 2),
            "without_support": round(float(1 - support.mean()), 4),
            "floor": FLOOR,
        },
    }


def _chances(x: np.ndarray, done: np.ndarray, at: np.ndarray, k: int) -> np.ndarray:
    """Chance of each action: float64 (len(at), k)."""
    found = np.zeros((len(at), k))
    seen = np.unique(done)
    if len(seen) == 1:
        found[:, seen[0]] = 1.0
        return found
    found[:, seen] = _logistic(x, done, at)
    return found


def _share(x: np.ndarray, answered: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Chance of an answer: float64 (len(at),)."""
    if len(answered) == 0 or answered.min() == answered.max():
        return np.full(len(at), (answered.sum() + 0.5) / (len(answered) + 1.0))
    return _logistic(x, answered.astype(np.int64), at)[:, 1]


def _logistic(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    # one thread: the same numbers whatever the number of cores
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=1.0, max_iter=200).fit((x - mean) / spread, y)
        return np.asarray(np.round(model.predict_proba((at - mean) / spread), 8))


def _error(influence: np.ndarray, case: np.ndarray) -> float:
    """Standard error of a mean when the rows of one case are not independent."""
    own = np.unique(case, return_inverse=True)[1]
    return float(np.sqrt((np.bincount(own, influence) ** 2).sum()) / len(influence))


def _told(value: float, influence: np.ndarray, case: np.ndarray) -> dict[str, float]:
    error = Z * _error(influence, case)
    return {"value": round(value, 4), "low": round(value - error, 4), "high": round(value + error, 4)}


def _gained(gain: float, influence: np.ndarray, case: np.ndarray) -> dict[str, float]:
    told = _told(gain, influence, case)
    return {"gain": told["value"], "gain_low": told["low"], "gain_high": told["high"]}


def _by_action(j: Judged) -> list[dict[str, Any]]:
    """How often each action was done, and is suggested."""
    target = np.where(j.suggested < 0, j.done, j.suggested)
    answered = j.contacts["response"].to_numpy().astype(float)
    rows = []
    for k, name in enumerate(j.actions):
        own = j.done == k
        rows.append(
            {
                "action": name,
                "done": round(float(own.mean()), 4),
                "suggested": round(float((target == k).mean()), 4),
                "answered": round(float(answered[own].mean()), 4) if own.any() else None,
            }
        )
    return rows
