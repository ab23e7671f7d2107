"""The stages a run calls: train and judge the models; write every case's next steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import RunError
from behavio.files import read_json, whole_file, write_json
from behavio.models.activity2vec import Activity2Vec
from behavio.models.base import SequenceModel
from behavio.models.fallback import fallen_back
from behavio.models.few import PERSON
from behavio.models.gaps import GapModel
from behavio.models.horizons import Horizons
from behavio.models.next import group_codes, next_steps
from behavio.models.ngram import NGram
from behavio.models.roster import TO_BEAT
from behavio.models.settings import ModelSettings, moment
from behavio.models.training import Progress, Training, known_at, silent, train
from behavio.models.unfit import refuse_unfit
from behavio.sequences import SequenceSet

HORIZON_TOP = 5
"""Activities, beside all together, told for each case and horizon."""


def write_models(
    sequences: SequenceSet,
    settings: ModelSettings,
    seed: int,
    folder: Path,
    progress: Progress = silent,
    beside: SequenceSet | None = None,
) -> dict[str, Any]:
    """Train, judge and save: metrics.json, <name>/, gaps/, horizons/, activity2vec/, tables of vectors.

    A pool holds its members: pool/ngram and pool/gru stand for ngram and gru.
    `beside` are events of analog areas: they are learnt where held-out steps gain by them, and nothing else
    is made of them; own/ then holds the n-gram of the log alone, which explains.
    Returns facts for the manifest and the closing summary; what differs between equal runs (seconds)
    stands under "measured" and nowhere else.
    """
    training = train(sequences, settings, seed, progress, beside)
    if training.metrics.get("analog", {}).get("used"):
        NGram(settings.max_order).fit(known_at(sequences, settings)).save(folder / "own")
    for name, model in training.models.items():
        if "pool" not in training.models or name not in ("ngram", "gru"):
            model.save(folder / name)
    training.gaps.save(folder / "gaps")
    progress("learning what comes within 90 days", 0.85)
    known = known_at(sequences, settings)
    horizons = Horizons(seed=seed).fit(known)
    horizons.save(folder / "horizons")
    progress("learning activity vectors", 0.9)
    vectors = Activity2Vec(settings.dimensions, seed=seed).fit(known)
    vectors.save(folder / "activity2vec")
    tables = {"activity_vectors": vectors.activity_table(), "embeddings": vectors.case_table(known)}
    for name, table in tables.items():
        with whole_file(folder / f"{name}.parquet") as draft:
            table.write_parquet(draft, compression="zstd")
    write_json(folder / "metrics.json", tidy(training.metrics))
    progress("models written", 1.0)
    return facts(training, sequences)


def facts(training: Training, sequences: SequenceSet) -> dict[str, Any]:
    """What the manifest and the closing summary say about the models."""
    metrics = training.metrics
    lines = {line["name"]: line for line in metrics["models"]}
    best = lines.get(metrics["default"], {})
    return {
        "rows_in": sequences.n_events,
        "rows_out": len(training.models),
        "default": metrics["default"],
        "n_test_events": metrics["n_test_events"],
        **{name: best.get(name) for name in ("accuracy", "top3", "nll", "ece")},
        "sentence": in_words(metrics, lines) + helped(metrics),
        "notes": metrics["notes"],
        "measured": {"seconds": {n: round(s, 3) for n, s in training.seconds.items()}},
    }


def helped(metrics: dict[str, Any]) -> str:
    """The part of the verdict about analog areas, "" where the job has none."""
    found = metrics.get("analog")
    if found is None:
        return ""
    return f"; analog areas {'helped' if found['used'] else 'did not help'}"


def in_words(metrics: dict[str, Any], lines: dict[str, dict[str, Any]]) -> str:
    """The verdict in one sentence."""
    if not metrics["judged"]:
        return f"next steps come from the n-gram alone; {metrics['reason']}"
    guess = max(line["accuracy"] for line in lines.values() if line["kind"] == "baseline")
    default = lines[metrics["default"]]
    text = (
        f"next step right in {default['accuracy']:.0%} of {metrics['n_test_events']:,} later events "
        f"(best simple guess {guess:.0%}, n-gram {lines['ngram']['accuracy']:.0%})"
    ).replace("%", " %")
    if default["name"] == "ngram":
        others = [name for name in lines if name not in TO_BEAT]
        return f"{text}; the n-gram predicts" + (f", the {others[-1]} did not beat it" if others else "")
    return f"{text}; the {default['name']} predicts, it beat the n-gram"


def tidy(value: Any) -> Any:
    """Floats to six significant decimals, so that a table of numbers can be read."""
    if isinstance(value, dict):
        return {k: tidy(v) for k, v in value.items()}
    if isinstance(value, list):
        return [tidy(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value


def write_next(
    sequences: SequenceSet,
    models_folder: Path,
    settings: ModelSettings,
    folder: Path,
    segments: pl.DataFrame | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write next_steps.parquet and horizons.parquet from the models of `models_folder`."""
    model, ngram, gaps = read_models(models_folder)
    known = known_at(sequences, settings)
    groups = group_codes(known, segments)
    if groups is not None:
        gaps = GapModel().fit(known, groups)
    clock = model.clock() if told_by_net(read_json(models_folder / "metrics.json")) else None
    table = next_steps(known, model, ngram, gaps, settings, groups, progress, clock)
    bands = read_json(models_folder / "metrics.json").get("by_events", [])
    table = fallen_back(table, known, segments, settings, bands)
    with whole_file(folder / "next_steps.parquet") as draft:
        table.write_parquet(draft, compression="zstd")
    within = within_days(known, Horizons.load(models_folder / "horizons"), settings)
    with whole_file(folder / "horizons.parquet") as draft:
        within.write_parquet(draft, compression="zstd")
    own = table.filter(rests_on=PERSON)
    steps, silent_cases = table.filter(pl.col("rank") > 0), table.filter(pl.col("rank") == 0)
    short = silent_cases["evidence"].str.ends_with("needed").sum()
    return {
        "rows_in": known.n_cases,
        "rows_out": table.height,
        "horizons": sorted(within["days"].unique().to_list()),
        "n_cases": own["case_id"].n_unique(),
        "rests_on": dict(
            steps.group_by("rests_on").agg(pl.col("case_id").n_unique()).sort("rests_on").iter_rows()
        ),
        "abstained": silent_cases.height,
        "abstained_why": {
            f"fewer than {settings.min_history} events": short,
            "nothing was ever seen after the newest activity": silent_cases.height - short,
        },
        "not_dated": int(own["median_days"].null_count()),
        "as_of": str(table["as_of"][0]) if table.height and known.timed else None,
    }


def predict_saved(
    sequences: SequenceSet, folder: Path, settings: ModelSettings | None = None, progress: Progress = silent
) -> pl.DataFrame:
    """Next steps of another log's cases by the models in `folder`: the columns of next_steps.parquet.

    ModelError where the models do not fit the log, see `unfit.refuse_unfit`.
    """
    settings = settings or ModelSettings()
    model, ngram, gaps = read_models(folder)
    refuse_unfit(model, gaps, sequences)
    known = known_at(sequences, settings)
    clock = model.clock() if told_by_net(read_json(folder / "metrics.json")) else None
    return next_steps(known, model, ngram, gaps, settings, None, progress, clock)


def within_days(known: SequenceSet, model: Horizons, settings: ModelSettings) -> pl.DataFrame:
    """What every case with enough history does within each horizon: the columns of horizons.parquet."""
    as_of = int(np.max(known.times)) if settings.as_of is None else moment(settings.as_of)
    return model.table(known, as_of, HORIZON_TOP, known.lengths >= settings.min_history)


def predict_within(
    sequences: SequenceSet, settings: ModelSettings | None = None, seed: int = 7
) -> pl.DataFrame:
    """The next 7, 30 and 90 days of every case straight from a log: the columns of horizons.parquet."""
    settings = settings or ModelSettings()
    known = known_at(sequences, settings)
    return within_days(known, Horizons(seed=seed).fit(known), settings)


def told_by_net(metrics: dict[str, Any]) -> bool:
    """Whether the net's times were better than the counted ones on held-out steps."""
    return (metrics.get("when") or {}).get("by") == "net"


def read_models(folder: Path) -> tuple[SequenceModel, NGram, GapModel]:
    """The default model, the n-gram that explains it and the gaps, as `write_models` left them."""
    if not (folder / "metrics.json").exists():
        raise RunError(f"{folder} holds no models", hint="run the models stage first")
    default = read_json(folder / "metrics.json")["default"]
    model = SequenceModel.load(folder / default)
    home = folder / "pool" if (folder / "pool").exists() else folder
    ngram = model if isinstance(model, NGram) else NGram.load(home / "ngram")
    if (folder / "own").exists():
        ngram = NGram.load(folder / "own")
    return model, ngram, GapModel.load(folder / "gaps")


def evaluate(
    sequences: SequenceSet,
    settings: ModelSettings | None = None,
    seed: int = 7,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Every model against its baselines on the same later events: the content of metrics.json."""
    metrics: dict[str, Any] = tidy(train(sequences, settings or ModelSettings(), seed, progress).metrics)
    return metrics


def predict_next(
    sequences: SequenceSet,
    settings: ModelSettings | None = None,
    seed: int = 7,
    segments: pl.DataFrame | None = None,
    progress: Progress = silent,
) -> pl.DataFrame:
    """Next steps of every case straight from a log: the columns of next_steps.parquet."""
    settings = settings or ModelSettings()
    training = train(sequences, settings, seed, progress)
    known = known_at(sequences, settings)
    groups = group_codes(known, segments)
    gaps = training.gaps if groups is None else GapModel().fit(known, groups)
    clock = training.default.clock() if told_by_net(training.metrics) else None
    table = next_steps(known, training.default, training.ngram, gaps, settings, groups, progress, clock)
    return fallen_back(table, known, segments, settings, tidy(training.metrics.get("by_events", [])))
