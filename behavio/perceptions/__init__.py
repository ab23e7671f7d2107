"""Perceptions: what a sample said in market research, projected to everybody where behaviour can tell it.

A question is projected only when its skill on cases never seen beats the base rate with the whole interval;
otherwise it is refused with the figure. Answers given stay answers: what is projected says so in every row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import wilson
from behavio.errors import ModelError, RunError
from behavio.files import read_json, write_json
from behavio.log import EventLog
from behavio.perceptions.combine import Combined, combined
from behavio.perceptions.inputs import CaseInputs, case_inputs
from behavio.perceptions.learn import Answers, Skill, best_penalty, fitted, folds, out_of_fold, skill
from behavio.perceptions.sample import MATERIAL, Raters, Shift, raters, shift
from behavio.perceptions.settings import PerceptionSettings

__all__ = [
    "Combined",
    "PerceptionSettings",
    "Perceptions",
    "combined",
    "perceptions",
    "read_perceptions",
    "write_perceptions",
]

ANSWERED, PROJECTED = "answered", "projected"
MOST_ANSWERS = 12
"""A question with more different answers that are no numbers is free text."""
SMALLEST = 10
"""No share is told of fewer people."""
OTHER = "other"
LEAST = 0.01
"""Skill below which a projection would be of no use, however sure."""
Progress = Callable[[str, float], None]
QUESTIONS = {
    "question": pl.String(),
    "status": pl.String(),  # projected | refused
    "reason": pl.String(),
    "kind": pl.String(),  # choice | scale
    "n_answers": pl.Int64(),
    "skill": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "gap": pl.Float64(),
    "skill_new_raters": pl.Float64(),
    "auc_asked": pl.Float64(),
    "n_effective": pl.Float64(),
    "warnings": pl.List(pl.String()),
}
CASES = {
    "case_id": pl.String(),
    "question": pl.String(),
    "answer": pl.String(),  # null on a scale
    "basis": pl.String(),  # answered | projected
    "probability": pl.Float64(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
}
GROUPS = {
    "segment": pl.String(),
    "question": pl.String(),
    "answer": pl.String(),
    "n_answered": pl.Int64(),
    "answered": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_projected": pl.Int64(),
    "projected": pl.Float64(),
}


@dataclass(frozen=True, eq=False)
class Perceptions:
    """What was asked and what came of it.

    questions  QUESTIONS: skill is the share of the base rate's loss saved on cases never seen; its interval
               is 95 % over all questions together; gap as in `Skill`
    cases      CASES: one row per case, question and answer; a scale has one row with value and 80 % interval
    groups     GROUPS: shares of answers given (95 % interval) and projected per segment; on a scale the mean
    """

    questions: pl.DataFrame
    cases: pl.DataFrame
    groups: pl.DataFrame

    def to_frame(self) -> pl.DataFrame:
        """One row per question."""
        return self.questions


def perceptions(
    log: EventLog,
    vectors: pl.DataFrame | None = None,
    segments: pl.DataFrame | None = None,
    settings: PerceptionSettings | None = None,
    seed: int = 7,
    progress: Progress = lambda _w, _s: None,
) -> Perceptions:
    """Every question of the survey: learned from behaviour, judged, projected or refused.

    vectors   case_id, vector of every case, where a model gave them
    segments  case_id, segment: groups that shares are told of
    Raises ModelError when the log has no survey, or nobody who answered has an event.
    """
    settings = settings or PerceptionSettings()
    if log.survey.height == 0:
        raise ModelError("the log has no survey", hint="add [survey] with path = … to the job")
    inputs = case_inputs(log, vectors, settings.attributes)
    asked = newest(log.survey).join(inputs.case_ids.to_frame().with_row_index("row"), on="case_id")
    if asked.height == 0:
        raise ModelError(
            "nobody who answered has an event", hint="are the ids of the survey those of the log?"
        )
    names = asked["question"].unique().sort().to_list()
    level = 1 - 0.05 / len(names)
    questions, cases = [], []
    for place, name in enumerate(names):
        progress("perceptions", place / len(names))
        row, rows = _question(name, asked.filter(question=name), inputs, settings, level, seed)
        questions.append(row)
        cases.append(rows)
    table = pl.concat([pl.DataFrame(schema=CASES), *cases])
    return Perceptions(pl.DataFrame(questions, schema=QUESTIONS), table, _groups(table, segments))


def newest(survey: pl.DataFrame) -> pl.DataFrame:
    """The newest answer of each case to each question; without times the last row."""
    return (
        survey.sort("timestamp", "source", "source_row", nulls_last=False)
        .unique(["case_id", "question"], keep="last", maintain_order=True)
        .sort("question", "case_id")
    )


def _question(
    name: str,
    asked: pl.DataFrame,
    inputs: CaseInputs,
    settings: PerceptionSettings,
    level: float,
    seed: int,
) -> tuple[dict[str, Any], pl.DataFrame]:
    """One question judged; its rows in CASES."""
    given = asked["answer"].to_list()
    y, labels = coded(given, settings.min_share)
    kind = "choice" if labels else "scale"
    row: dict[str, Any] = dict.fromkeys(QUESTIONS)
    row |= {"question": name, "status": "refused", "kind": kind, "n_answers": len(given), "warnings": []}
    told = _told(name, asked, y, labels)
    if (why := _unfit(given, y, labels, settings)) is not None:
        return row | {"reason": why}, told
    place = asked["row"].to_numpy()
    who = np.zeros(len(inputs.values), bool)
    who[place] = True
    moved = shift(inputs.values, who, inputs.names, seed)
    weight = np.ones(len(who))
    weight[who] = moved.weight
    answers = Answers(inputs.values[place], y, weight[place], len(labels))
    found = skill(answers, seed, level)
    row |= {"skill": found.value, "low": found.low, "high": found.high, "gap": found.gap}
    row |= {"auc_asked": None if np.isnan(moved.auc) else moved.auc, "n_effective": moved.effective}
    rated, new = _rated(asked, answers, seed, level)
    row |= {"skill_new_raters": new, "warnings": _warnings(moved, rated, new, found.low, len(given))}
    if found.low <= 0 or found.value < LEAST:
        return row | {"reason": _not_told(found)}, told
    row |= {"status": PROJECTED, "reason": ""}
    rest = np.flatnonzero(~who)
    if len(rest):
        told = pl.concat([told, _projected(name, answers, labels, inputs, rest, seed)])
    return row, told


def coded(given: list[str], min_share: float) -> tuple[np.ndarray, tuple[str, ...]]:
    """Answers as numbers: float64 on a scale and no labels, or int64 and the label of each number.

    More than two different answers that are all numbers make a scale.
    """
    try:
        numbers = np.array([float(g.replace(",", ".")) for g in given])
    except ValueError:
        numbers = np.array([np.nan])
    if np.isfinite(numbers).all() and len(np.unique(numbers)) > 2:
        return numbers, ()
    names, n = np.unique(np.array(given, dtype=object).astype(str), return_counts=True)
    often = [str(a) for a, m in zip(names, n, strict=True) if m >= min_share * len(given)]
    labels = (*often, OTHER) if 0 < len(often) < len(names) else tuple(str(a) for a in names)
    place = {a: i for i, a in enumerate(labels)}
    return np.array([place.get(g, len(labels) - 1) for g in given], dtype=np.int64), labels


def _unfit(
    given: list[str], y: np.ndarray, labels: tuple[str, ...], settings: PerceptionSettings
) -> str | None:
    """Why nothing can be learned from these answers."""
    if len(given) < settings.min_answers:
        return f"{len(given)} cases answered, {settings.min_answers} are needed"
    if len(np.unique(y)) == 1:
        return "everybody gave the same answer"
    if len(labels) > MOST_ANSWERS:
        return f"{len(labels)} different answers that are no numbers: free text is not learned"
    if labels and np.sort(np.bincount(y))[-2] < SMALLEST:
        return f"all but {int(np.sort(np.bincount(y))[:-1].sum())} cases gave the same answer"
    return None


def _not_told(found: Skill) -> str:
    return (
        f"behaviour does not tell it: {found.value:.1%} of the base rate's error saved "
        f"({found.low:.1%} to {found.high:.1%}), which may be nothing"
    )


def _rated(
    asked: pl.DataFrame, answers: Answers, seed: int, level: float
) -> tuple[Raters | None, float | None]:
    """What raters do to the answers, and the skill on raters never seen; None without them."""
    rater = asked["rater"]
    if rater.null_count() > 0.2 * len(rater):
        return None, None
    who = rater.fill_null("").to_numpy()
    value = answers.y.astype(np.float64)
    if answers.k:
        value = (answers.y == np.bincount(answers.y).argmax()).astype(np.float64)
    found = raters(value, who, seed)
    if found.n < 5:
        return found, None
    return found, skill(answers, seed, level, groups=who).value


def _warnings(moved: Shift, rated: Raters | None, new: float | None, told: float, n: int) -> list[str]:
    """What makes the answers weaker than they look."""
    said = []
    if n < 150:
        said.append(f"rests on {n} answers")
    if moved.auc > MATERIAL:
        what = "; ".join(
            f"{name} {before:+.1f} sd, weighted {after:+.1f}" for name, before, after in moved.differ
        )
        said.append(
            f"who was asked differs from the others (AUC {moved.auc:.2f}: {what}); weighting leaves "
            f"{moved.effective:.0f} answers' worth"
        )
    if rated is not None and rated.largest > 0.3:
        said.append(f"one rater gave {rated.largest:.0%} of the answers")
    if rated is not None and rated.p_value <= 0.01 and rated.explains > 0.05:
        said.append(f"who rated explains {round(rated.explains * 100)} % of the answers")
    if new is not None and new <= 0 < told:
        said.append("nothing is left of the skill where the rater is new")
    return said


def _told(name: str, asked: pl.DataFrame, y: np.ndarray, labels: tuple[str, ...]) -> pl.DataFrame:
    """The rows of those who answered."""
    scale = not labels
    return pl.DataFrame(
        {
            "case_id": asked["case_id"],
            "question": name,
            "answer": [None] * len(y) if scale else asked["answer"],
            "basis": ANSWERED,
            "probability": [None] * len(y) if scale else [1.0] * len(y),
            "value": y if scale else [None] * len(y),
            "low": [None] * len(y),
            "high": [None] * len(y),
        },
        schema=CASES,
    )


def _projected(
    name: str, answers: Answers, labels: tuple[str, ...], inputs: CaseInputs, rest: np.ndarray, seed: int
) -> pl.DataFrame:
    """The rows of those who were not asked."""
    said = fitted(answers, best_penalty(answers, seed))(inputs.values[rest])
    ids = inputs.case_ids.gather(rest)
    if labels:
        k = len(labels)
        columns: dict[str, Any] = {
            "case_id": ids.gather(np.repeat(np.arange(len(rest)), k)),
            "answer": list(labels) * len(rest),
            "probability": said.reshape(-1),
        }
    else:
        off = np.abs(answers.y - out_of_fold(answers, folds(len(answers.y), seed), seed))
        wide = float(np.quantile(off, 0.8))
        columns = {"case_id": ids, "value": said, "low": said - wide, "high": said + wide}
    frame = pl.DataFrame(columns).with_columns(question=pl.lit(name), basis=pl.lit(PROJECTED))
    missing = [pl.lit(None, dtype=t).alias(c) for c, t in CASES.items() if c not in frame.columns]
    return frame.with_columns(missing).select(*CASES).cast(CASES)  # type: ignore[arg-type]


def _groups(cases: pl.DataFrame, segments: pl.DataFrame | None) -> pl.DataFrame:
    """Shares per segment, answered and projected apart; those of fewer than SMALLEST people are not told."""
    if segments is None or cases.height == 0:
        return pl.DataFrame(schema=GROUPS)
    own = segments.select(pl.col("case_id").cast(pl.String), pl.col("segment").cast(pl.String))
    table = cases.join(own.drop_nulls(), on="case_id")
    keys = ["segment", "question"]
    people = table.group_by(*keys, "basis").agg(pl.col("case_id").n_unique().alias("n"))
    number = pl.coalesce("probability", "value")
    sums = table.group_by(*keys, "answer", "basis").agg(
        number.sum().alias("sum"),
        number.std().alias("spread"),
        pl.col("value").is_not_null().all().alias("scale"),
    )
    known = sums.select(*keys, "answer", "scale").unique()
    rows = known
    for basis in (ANSWERED, PROJECTED):
        part = people.filter(basis=basis).drop("basis")
        part = part.join(sums.filter(basis=basis).select(*keys, "answer", "sum", "spread"), on=keys)
        part = part.rename({c: f"{c}_{basis}" for c in ("n", "sum", "spread")})
        n_of = people.filter(basis=basis).select(*keys, pl.col("n").alias(f"people_{basis}"))
        rows = rows.join(part, on=[*keys, "answer"], how="left", nulls_equal=True)
        rows = rows.join(n_of, on=keys, how="left")
    n = rows["people_answered"].fill_null(0).to_numpy()
    total = rows["sum_answered"].fill_null(0.0).to_numpy()
    share = total / np.maximum(n, 1)
    low, high = wilson(np.minimum(total, n), n)
    half = 1.96 * rows["spread_answered"].fill_null(0.0).to_numpy() / np.sqrt(np.maximum(n, 1))
    scale = rows["scale"].to_numpy()
    shown = n >= SMALLEST
    projected = rows["sum_projected"].fill_null(0.0).to_numpy() / np.maximum(
        rows["people_projected"].fill_null(0).to_numpy(), 1
    )
    many = (rows["people_projected"].fill_null(0) >= SMALLEST).to_numpy()
    return pl.DataFrame(
        {
            "segment": rows["segment"],
            "question": rows["question"],
            "answer": rows["answer"],
            "n_answered": np.where(shown, n, 0),
            "answered": _where(shown, share),
            "low": _where(shown, np.where(scale, share - half, low)),
            "high": _where(shown, np.where(scale, share + half, high)),
            "n_projected": np.where(many, rows["people_projected"].fill_null(0).to_numpy(), 0),
            "projected": _where(many, projected),
        },
        schema=GROUPS,
    ).sort("question", "segment", "answer")


def _where(shown: np.ndarray, values: np.ndarray) -> list[float | None]:
    return [float(v) if s else None for s, v in zip(shown, values, strict=True)]


def write_perceptions(
    log: EventLog,
    vectors: pl.DataFrame | None,
    segments: pl.DataFrame | None,
    settings: PerceptionSettings,
    seed: int,
    folder: Path,
    progress: Progress = lambda _w, _s: None,
) -> dict[str, Any]:
    """questions.parquet, cases.parquet, groups.parquet; facts.json says why where there is nothing to say."""
    try:
        found = perceptions(log, vectors, segments, settings, seed, progress)
    except ModelError as problem:
        write_json(folder / "facts.json", {"notes": [f"{problem}: {problem.hint}"]})
        return {"rows_in": log.survey.height, "rows_out": 0, "note": str(problem)}
    for name in ("questions", "cases", "groups"):
        getattr(found, name).write_parquet(folder / f"{name}.parquet")
    write_json(folder / "facts.json", {"notes": []})
    if settings.research is not None and segments is not None:
        _write_combined(found, segments, settings.research, seed, folder)
    projected = found.questions.filter(status=PROJECTED)["question"].to_list()
    return {"rows_in": log.survey.height, "rows_out": found.cases.height, "projected": projected}


def _write_combined(
    found: Perceptions, segments: pl.DataFrame, research: float, seed: int, folder: Path
) -> None:
    """combined.parquet, combined_profiles.parquet and combined.json, or its reason alone."""
    try:
        made = combined(found.cases, found.questions, segments, research, seed)
    except ModelError as problem:
        write_json(folder / "combined.json", {"notes": [f"{problem}: {problem.hint}"]})
        return
    made.cases.write_parquet(folder / "combined.parquet")
    made.profiles.write_parquet(folder / "combined_profiles.parquet")
    write_json(folder / "combined.json", made.facts | {"notes": []})


def read_perceptions(folder: Path) -> Perceptions:
    """What `write_perceptions` left. Raises RunError with its reason when there was nothing to say."""
    notes = read_json(folder / "facts.json")["notes"]
    if notes:
        raise RunError(notes[0], hint="look at behavio check")
    return Perceptions(*(pl.read_parquet(folder / f"{t}.parquet") for t in ("questions", "cases", "groups")))
