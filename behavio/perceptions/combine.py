"""Groups by behaviour and profiles by research put together, with weights that stand beside the result.

With all the weight on one side the other side changes nothing: the groups of behaviour, or the profiles of
research, come out as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import ModelError
from behavio.segments.agreement import adjusted_rand
from behavio.segments.lloyd import lloyd, squared_distances

STARTS = 8
MOST = 6
"""Profiles of research at most."""
SMALLEST = 10
PROFILES = {
    "case_id": pl.String(),
    "profile": pl.String(),
    "behaviour": pl.String(),
    "research": pl.String(),
    "basis": pl.String(),
}


@dataclass(frozen=True, eq=False)
class Combined:
    """cases: case_id, profile, behaviour (group), research (profile of answers), basis (answered | projected)

    facts: weights, n, what the profiles share with each side (adjusted Rand), questions used
    profiles: profile, n_cases, share, behaviour and research most frequent in it with their shares, projected
    """

    cases: pl.DataFrame
    profiles: pl.DataFrame
    facts: dict[str, Any]


def combined(
    answers: pl.DataFrame, questions: pl.DataFrame, segments: pl.DataFrame, research: float, seed: int
) -> Combined:
    """Profiles of every case that has a group and an answer, given or projected.

    answers, questions   tables of the stage (CASES, QUESTIONS)     segments  case_id, segment
    research             weight of what people say, 0 to 1; behaviour has the rest
    Raises ModelError where no question is projected: research then says nothing of the others.
    """
    used = questions.filter(status="projected")["question"].sort().to_list()
    if not used:
        raise ModelError(
            "no question is projected: research says nothing of those who were not asked",
            hint="behavio perceptions RUN says why each was refused",
        )
    table, names = _numbers(answers.filter(pl.col("question").is_in(used)))
    own = segments.select(pl.col("case_id").cast(pl.String), pl.col("segment").cast(pl.String)).drop_nulls()
    table = table.join(own.unique("case_id"), on="case_id").sort("case_id")
    if table.height < 2 * SMALLEST:
        raise ModelError(
            f"{table.height} cases have a group and an answer", hint=f"{2 * SMALLEST} are needed"
        )
    said = _even(table.select(names).to_numpy(), table["basis"].to_numpy())
    labels, group = np.unique(table["segment"].to_numpy().astype(str), return_inverse=True)
    by_answers = _research(said, seed)
    parts = (_scaled(np.eye(len(labels))[group]), _scaled(said))
    label = _together(parts, (group, by_answers), research, seed)
    told = _answer_names(said, by_answers, names)
    cases = table.select("case_id", "basis", behaviour="segment").with_columns(
        research=pl.Series([told[i] for i in by_answers], dtype=pl.String)
    )
    cases = cases.with_columns(profile=pl.Series(_names(cases, label, research), dtype=pl.String))
    facts = {
        "weights": {"behaviour": round(1 - research, 6), "research": round(research, 6)},
        "n_cases": table.height,
        "n_profiles": len(np.unique(label)),
        "agreement": {
            "behaviour": round(adjusted_rand(label, group), 6),
            "research": round(adjusted_rand(label, by_answers), 6),
        },
        "questions": used,
        "projected_share": round(_share_of(table["basis"], "projected"), 6),
    }
    return Combined(cases.select(*PROFILES), _profiles(cases), facts)


def _numbers(answers: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """One row per case with every question: a number per answer (its probability) or scale; worst basis."""
    rows = answers.with_columns(
        name=pl.when(pl.col("answer").is_null())
        .then(pl.col("question"))
        .otherwise(pl.concat_str("question", pl.lit(": "), "answer")),
        number=pl.coalesce("probability", "value"),
    )
    n = rows["question"].n_unique()
    whole = rows.group_by("case_id").agg(
        pl.col("question").n_unique().alias("n"),
        pl.when((pl.col("basis") == "projected").any())
        .then(pl.lit("projected"))
        .otherwise(pl.lit("answered"))
        .alias("basis"),
    )
    wide = rows.pivot("name", index="case_id", values="number", aggregate_function="first", sort_columns=True)
    wide = wide.with_columns(pl.exclude("case_id").fill_null(0.0))
    names = [c for c in wide.columns if c != "case_id"]
    kept = whole.filter(pl.col("n") == n).select("case_id", "basis")
    return wide.join(kept, on="case_id"), names


def _even(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and spread 1 among those asked, and among the others: what is projected lies
    nearer to the middle than what is said, and would part the two otherwise."""
    found = np.zeros_like(values)
    for one in np.unique(basis):
        own = basis == one
        spread = values[own].std(axis=0)
        found[own] = (values[own] - values[own].mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    return found


def _scaled(values: np.ndarray) -> np.ndarray:
    """All columns together have a variance of 1, so weights weigh."""
    total = float(values.var(axis=0).sum())
    return np.asarray(values / np.sqrt(total)) if total > 0 else values


def _research(said: np.ndarray, seed: int) -> np.ndarray:
    """Profiles of answers alone; their number by Calinski and Harabasz (1974)."""
    n = len(said)
    best, score = np.zeros(n, np.int64), -np.inf
    middle = said.mean(axis=0)
    for k in range(2, min(MOST, n // SMALLEST) + 1):
        label = _least(said, [lloyd(said, k, np.random.default_rng([seed, k, s])) for s in range(STARTS)])
        sizes = np.bincount(label, minlength=k)
        if (sizes < SMALLEST).any():
            continue
        centres = np.stack([said[label == i].mean(axis=0) for i in range(k)])
        between = float((sizes * ((centres - middle) ** 2).sum(axis=1)).sum())
        within = _inertia(said, label)
        found = between / (k - 1) / max(within / (n - k), 1e-12)
        if found > score:
            best, score = label, found
    return best


def _together(
    parts: tuple[np.ndarray, np.ndarray], alone: tuple[np.ndarray, np.ndarray], research: float, seed: int
) -> np.ndarray:
    """Labels by both sides; by one side alone where the other has no weight."""
    if research <= 0:
        return alone[0]
    if research >= 1:
        return alone[1]
    points = np.hstack([np.sqrt(1 - research) * parts[0], np.sqrt(research) * parts[1]])
    k = max(len(np.unique(a)) for a in alone)
    starts = [_settled(points, a, k) for a in alone]
    starts += [lloyd(points, k, np.random.default_rng([seed, s])) for s in range(STARTS)]
    return _least(points, starts)


def _settled(points: np.ndarray, label: np.ndarray, k: int) -> np.ndarray:
    """k-means from a grouping."""
    for _ in range(50):
        known = np.unique(label)
        centres = np.stack([points[label == i].mean(axis=0) for i in known])
        nearest = known[squared_distances(points, centres).argmin(axis=1)]
        if (nearest == label).all():
            break
        label = nearest
    return label


def _least(points: np.ndarray, labels: list[np.ndarray]) -> np.ndarray:
    return min(labels, key=lambda label: round(_inertia(points, label), 9))


def _inertia(points: np.ndarray, label: np.ndarray) -> float:
    return float(
        sum(((points[label == i] - points[label == i].mean(axis=0)) ** 2).sum() for i in np.unique(label))
    )


def _answer_names(said: np.ndarray, label: np.ndarray, names: list[str]) -> list[str]:
    """Each profile of answers by what it says more than the others."""
    found: list[str] = []
    for i in range(int(label.max()) + 1):
        mean = said[label == i].mean(axis=0) if (label == i).any() else np.zeros(said.shape[1])
        top = names[int(np.argmax(np.abs(mean)))]
        value = mean[int(np.argmax(np.abs(mean)))]
        word = (
            top
            if ": " in top and value > 0
            else f"not {top}"
            if ": " in top
            else top + (" high" if value > 0 else " low")
        )
        found.append(word)
    return _told_apart(found)


def _told_apart(names: list[str]) -> list[str]:
    many, seen = Counter(names), Counter[str]()
    out = []
    for name in names:
        seen[name] += 1
        out.append(f"{name} ({seen[name]})" if many[name] > 1 else name)
    return out


def _names(cases: pl.DataFrame, label: np.ndarray, research: float) -> list[str]:
    """Each profile by the group and the answers most frequent in it; by one side where it stands alone."""
    table = cases.with_columns(label=pl.Series(label))
    if research <= 0:
        return table["behaviour"].to_list()
    if research >= 1:
        return table["research"].to_list()
    known = np.unique(label)
    found = []
    for i in known:
        own = table.filter(pl.col("label") == i)
        found.append(f"{_first(own['behaviour'])} · {_first(own['research'])}")
    told = dict(zip(known.tolist(), _told_apart(found), strict=True))
    return [told[int(i)] for i in label]


def _share_of(column: pl.Series, value: str) -> float:
    return int((column == value).sum()) / max(column.len(), 1)


def _first(column: pl.Series) -> str:
    return str(column.to_frame("x").group_by("x").len().sort("len", "x", descending=[True, False])["x"][0])


def _profiles(cases: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (name,), own in cases.group_by("profile"):
        group, answer = _first(own["behaviour"]), _first(own["research"])
        few = own.height < SMALLEST
        rows.append(
            {
                "profile": str(name),
                "n_cases": None if few else own.height,
                "share": None if few else own.height / cases.height,
                "behaviour": group,
                "of_it": None if few else _share_of(own["behaviour"], group),
                "research": answer,
                "say_it": None if few else _share_of(own["research"], answer),
                "projected": None if few else _share_of(own["basis"], "projected"),
            }
        )
    kinds = {"n_cases": pl.Int64(), **dict.fromkeys(("share", "of_it", "say_it", "projected"), pl.Float64())}
    table = pl.DataFrame(rows, schema_overrides=kinds)
    return table.sort("n_cases", "profile", descending=[True, False], nulls_last=True)
