"""Fit on what is known before the cut, judge on what came after, then fit again on everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from behavio.errors import ModelError
from behavio.models import analog
from behavio.models import evaluation as judge
from behavio.models.base import SequenceModel, Split, later_slice
from behavio.models.clock import better_clock
from behavio.models.few import by_events
from behavio.models.gaps import GapModel
from behavio.models.ngram import NGram
from behavio.models.order import order_in_words, order_told
from behavio.models.promises import kept_promises, promises_in_words
from behavio.models.roster import ROSTER, TO_BEAT
from behavio.models.settings import ModelSettings, moment
from behavio.sequences import SequenceSet

Progress = Callable[[str, float], None]

FEWEST = 20
"""Steps needed on each side of the cut before a model is judged."""
QUICK = 200_000
"""Events read to learn vectors that only say whether order is in them."""
MOST = 250_000
"""Held-out events scored; of more, an evenly spread part."""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Models fitted on everything, what the cut said about them, and the seconds it took.

    A model that lost to the n-gram is judged but not fitted again.
    """

    models: dict[str, SequenceModel]
    gaps: GapModel
    metrics: dict[str, Any]
    seconds: dict[str, float]

    @property
    def default(self) -> SequenceModel:
        """The model that next steps are taken from."""
        return self.models[self.metrics["default"]]

    @property
    def ngram(self) -> NGram:
        """The n-gram: it explains whatever model predicts."""
        model = self.models["ngram"]
        assert isinstance(model, NGram)
        return model


def silent(what: str, done: float) -> None:
    """A progress callback that says nothing."""


def known_at(sequences: SequenceSet, settings: ModelSettings) -> SequenceSet:
    """The log as it was at `as_of`; all of it when the settings name no moment."""
    if settings.as_of is None:
        return sequences
    if not sequences.timed:
        raise ModelError("model.as_of needs a log with times", hint="leave as_of out of [model]")
    cut = moment(settings.as_of)
    if not (np.asarray(sequences.times) < cut).any():
        raise ModelError(f"no event before {settings.as_of}", hint="choose a later as_of in [model]")
    return sequences.until(cut)


def fit_all(
    sequences: SequenceSet, settings: ModelSettings, kind: str, seed: int, progress: Progress
) -> tuple[dict[str, SequenceModel], dict[str, float]]:
    """The baselines, the n-gram and what else `kind` needs, fitted on these traces, and the seconds.

    A pool brings its own n-gram; "none" stands for the baselines alone.
    """
    wanted = [n for n in TO_BEAT if n != "ngram" or kind not in ("pool", "none")]
    wanted += [] if kind in ("ngram", "none") else [kind]
    models = {name: ROSTER[name].make(settings, seed) for name in wanted}
    for model in models.values():
        model.watch(progress)
    seconds = {}
    for name, model in models.items():
        progress(f"learning {name.replace('_', ' ')}", 0.0)
        began = time.perf_counter()
        model.fit(sequences)
        seconds[name] = time.perf_counter() - began
    if kind == "pool":
        pool = models.pop("pool")
        models |= {"ngram": pool.ngram_, "gru": pool.gru_, "pool": pool}  # type: ignore[attr-defined]
    return models, seconds


def train(
    sequences: SequenceSet,
    settings: ModelSettings,
    seed: int = 7,
    progress: Progress = silent,
    beside: SequenceSet | None = None,
) -> Training:
    """Fit before the cut, judge after it, then take in what came after it.

    Models that count are fitted again on everything; a net that is the default goes on learning from
    where it was judged. `beside` are events of analog areas, learnt too where held-out steps gain by them.
    """
    known = known_at(sequences, settings)
    split = later_slice(known, 1.0 - settings.cut, FEWEST)
    if split is None:
        models, seconds = fit_all(known, settings, "ngram", seed, progress)
        return Training(models, GapModel().fit(known), not_judged(known), seconds)
    early, seconds = fit_all(split.train, settings, settings.kind, seed, part(progress, 0.0, 0.7))
    progress("judging on held-out events", 0.7)
    metrics = judged(early, split, settings, seed)
    if beside is not None:
        early, metrics = with_analog(early, metrics, split, settings, seed, beside)
        more = analog.joined(known, beside) if metrics["analog"]["used"] else None
        known = known if more is None else more.sequences
    progress("learning the held-out events", 0.8)
    began = time.perf_counter()
    default = metrics["default"]
    models, _ = fit_all(known, settings, "none" if default == "pool" else "ngram", seed, silent)
    if default != "ngram":
        models |= taken_on(early[default], default, known, split)
    seconds["everything_again"] = time.perf_counter() - began
    own = known_at(sequences, settings)
    return Training(models, GapModel().fit(own), metrics, seconds)


def with_analog(
    early: dict[str, SequenceModel],
    metrics: dict[str, Any],
    split: Split,
    settings: ModelSettings,
    seed: int,
    beside: SequenceSet,
) -> tuple[dict[str, SequenceModel], dict[str, Any]]:
    """Models and metrics with the events of analog areas where held-out steps gain by them, else as given."""
    more = analog.joined(split.train, beside, split.cut)
    if more is None:
        note = "no event of an analog area is of an activity of this log before the cut: none is used"
        return early, metrics | {"analog": {"used": False, "n_events": 0}, "notes": [*metrics["notes"], note]}
    helped, _ = fit_all(more.sequences, settings, settings.kind, seed, silent)
    again = judged(helped, split, settings, seed)
    held = replace(split, prefixes=split.prefixes.thin(MOST))
    sides = [(m["default"], models[m["default"]]) for m, models in ((metrics, early), (again, helped))]
    found = analog.verdict(sides[0], sides[1], held, more, seed)
    chosen, told = (helped, again) if found["used"] else (early, metrics)
    return chosen, told | {"analog": found, "notes": [*told["notes"], analog.in_words(found)]}


def taken_on(model: SequenceModel, name: str, known: SequenceSet, split: Split) -> dict[str, SequenceModel]:
    """A judged model after it has learnt the held-out events too; of a pool with its members."""
    model.carry_on(known.recode(known.own_vocabulary()), split.prefixes)
    if name == "pool":
        return {"ngram": model.ngram_, "gru": model.gru_, name: model}  # type: ignore[attr-defined]
    return {name: model}


def part(progress: Progress, low: float, high: float) -> Progress:
    """A progress callback whose 0–1 is this part of another's."""
    return lambda what, done: progress(what, low + (high - low) * done)


def not_judged(sequences: SequenceSet) -> dict[str, Any]:
    """metrics.json of a log too small to hold anything out."""
    reason = (
        f"{sequences.n_events} events of {sequences.n_cases} cases are too few to judge a model: both sides "
        f"of the cut need {FEWEST} events that follow another event of their case"
    )
    return {
        "judged": False,
        "reason": reason,
        "cut": None,
        "n_train_events": sequences.n_events,
        "n_test_events": 0,
        "models": [],
        "default": "ngram",
        "by_events": [],
        "reliability": [],
        "gap": None,
        "when": None,
        "promises": None,
        "vectors": None,
        "oracle": None,
        "notes": [reason, "The n-gram is used unjudged."],
    }


def judged(
    models: dict[str, SequenceModel], split: Split, settings: ModelSettings, seed: int
) -> dict[str, Any]:
    """metrics.json: every model on exactly the same held-out events."""
    held = split.prefixes.thin(MOST)
    split = Split(split.train, split.sequences, held, split.cut, split.method)
    asked = replace(split, sequences=models["ngram"].coded(split.sequences))  # coded and read once for all
    scores = {name: judge.score(model, asked.sequences, held) for name, model in models.items()}
    seen = judge.seen_before(split)
    gap_of: dict[str, float] = {}
    gap: dict[str, Any] | None = None
    times = GapModel().fit(split.train) if split.sequences.timed else None
    if times is not None:
        gap_of, gap = judge.gap_errors(times, split, {name: s.best for name, s in scores.items()})
    default, notes, gains = choose(scores, split, settings, seed)
    when = better_clock(models[default], times, asked) if times is not None else None
    promises = kept_promises(models[default], asked)
    told = (when or {}).get((when or {}).get("by", "")) or gap
    covered = None if told is None else told["coverage"]
    vectors = order_told(split, lambda log: quick_vectors(log, settings, seed), seed)
    new_cases, identical = judge.repeated_cases(split)
    return {
        "judged": True,
        "reason": None,
        "split": split.method,
        "cut": None if split.cut is None else iso(split.cut),
        "n_train_events": split.train.n_events,
        "n_train_cases": split.train.n_cases,
        "n_test_events": len(held),
        "n_test_cases": len(np.unique(held.cases)),
        "unseen_share": float(1.0 - seen.mean()),
        "n_new_activity_events": judge.new_activities(models["ngram"], split),
        "n_cases_after_cut": new_cases,
        "n_identical_cases": identical,
        "models": [row(name, scores[name], seen, gap_of.get(name), models[name]) for name in scores],
        "default": default,
        "by_events": by_events(
            scores[default],
            scores["most_popular"],
            held.ends - held.starts(asked.sequences),
            held.cases,
            seed,
        ),
        "gain_over_ngram": gains,
        "promises": promises,
        "vectors": vectors,
        "notes": [*notes, *promises_in_words(promises, default, covered), *order_in_words(vectors)],
        "reliability": scores[default].reliability(),
        "gap": gap,
        "when": when,
        "oracle": oracle(settings, split, scores),
    }


def quick_vectors(sequences: SequenceSet, settings: ModelSettings, seed: int) -> np.ndarray:
    """float32 (n_cases, dimensions): vectors of cases as `Activity2Vec` makes them, from fewer events."""
    from behavio.models.activity2vec import Activity2Vec

    model = Activity2Vec(settings.dimensions, budget=QUICK, seed=seed).fit(sequences)
    return model.embed(sequences)


def row(
    name: str, scores: judge.Scores, seen: np.ndarray, gap: float | None, model: SequenceModel
) -> dict[str, Any]:
    """One line of the model table."""
    line: dict[str, Any] = {"name": name, "kind": ROSTER[name].kind, **scores.summary(), "gap_mae_days": gap}
    for side, some in (("seen", seen), ("unseen", ~seen)):
        line[f"n_{side}"] = int(some.sum())
        line[f"accuracy_{side}"] = float((scores.rank[some] == 0).mean()) if some.any() else None
        line[f"nll_{side}"] = float(scores.loss[some].mean()) if some.any() else None
    line["order"] = int(model.order_) if isinstance(model, NGram) else None
    return line


def choose(
    scores: dict[str, judge.Scores], split: Split, settings: ModelSettings, seed: int
) -> tuple[str, list[str], dict[str, Any]]:
    """The default model, sentences about the comparison, and the gains over the n-gram.

    A model that is not sure to beat counting (95 % interval over cases above zero) is not the default.
    """
    gains = {
        name: judge.gain(scores["ngram"], s, split.prefixes.cases, seed)
        for name, s in scores.items()
        if name not in TO_BEAT
    }
    notes = []
    for name, g in gains.items():
        verdict = "beats" if g["low"] > 0 else "does not beat"
        notes.append(
            f"{name} {verdict} the n-gram: it saves {g['nll']:.4f} nats per event "
            f"({g['low']:.4f} to {g['high']:.4f}, 95 % interval over cases)."
        )
    loss = {name: float(s.loss.mean()) for name, s in scores.items()}
    best = min((n for n in loss if ROSTER[n].kind == "baseline"), key=lambda n: loss[n])
    for name, value in loss.items():
        if ROSTER[name].kind != "baseline" and value >= loss[best]:
            notes.append(f"{name} does not beat the simplest guess that is best here, {best} (NLL).")
    wanted = settings.kind
    if wanted != "ngram" and gains[wanted]["low"] <= 0:
        notes.append(f"So the n-gram is the default, not the {wanted}.")
        wanted = "ngram"
    return wanted, notes, gains


def oracle(settings: ModelSettings, split: Split, scores: dict[str, judge.Scores]) -> dict[str, Any] | None:
    """The true probabilities' NLL beside every model's on the same events."""
    if settings.truth is None:
        return None
    found = judge.oracle_loss(Path(settings.truth), split)
    places = found.pop("places")
    found["models"] = {n: float(s.loss[places].mean()) for n, s in scores.items()} if len(places) else {}
    return found


def iso(time_us: int) -> str:
    """A moment as ISO text in UTC."""
    seconds, rest = divmod(time_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat()
