"""Do vectors of cases know more than plain aggregates?

    python -m experiments.embeddings ../shared/data/open_payments_iowa/events.parquet --label specialty \
        --labels ../shared/data/open_payments_iowa/physicians.parquet --json OUT

Vectors are learnt on what lies before one cut in time and handed to a logistic regression, whose accuracy
(label of a case, by five folds over cases) or AUC (will the activity come within 30 days of the cut; by five
folds over cases) is compared. Representations: counts of activities and gap statistics (aggregates), mean
word2vec and fastText vectors, a contrastive encoder, states of the GRU, and joined ones. `shuffled` is the
encoder on events in random order inside each case: where it does as well, order carried nothing.

With --hierarchy (columns from wide to narrow: channel message, or company product_1) every event is
a leaf of a tree, and mean vectors of leaves are compared too: word2vec on traces of leaves, and Poincaré
vectors of the tree (Nickel and Kiela 2017, gensim), which know no order and are made flat (logarithmic map).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from behavio import api
from behavio.models import GRU, Activity2Vec, Prefixes
from behavio.models.encoder import Encoder
from behavio.models.gaps import DAY
from behavio.sequences import FIELDS, SequenceSet, time_cut


def aggregates(log: SequenceSet) -> np.ndarray:
    """Log counts and shares of each activity, events, days active, mean, spread and last of the log gaps."""
    counts = np.zeros((log.n_cases, len(log.vocabulary)))
    np.add.at(counts, (log.case_of_event, np.asarray(log.tokens)), 1.0)
    gaps = np.log1p(log.gaps_s / 3600)
    mean = np.add.reduceat(gaps, log.offsets[:-1]) / log.lengths
    square = np.add.reduceat(gaps**2, log.offsets[:-1]) / log.lengths
    times = np.asarray(log.times)
    days = (times[log.offsets[1:] - 1] - times[log.offsets[:-1]]) / DAY
    silent = (times.max() - times[log.offsets[1:] - 1]) / DAY
    alone = [
        np.log1p(log.lengths),
        np.log1p(days),
        np.log1p(silent),
        mean,
        np.sqrt(np.maximum(square - mean**2, 0)),
    ]
    return np.concatenate([np.log1p(counts), counts / log.lengths[:, None], np.stack(alone, axis=1)], axis=1)


def fast_text(log: SequenceSet, seed: int) -> np.ndarray:
    """Mean fastText vector of each case (subwords of the activity's name)."""
    from gensim.models import FastText

    from behavio.models.activity2vec import steady_hash

    names = log.vocabulary.names
    sentences = [[names[t] for t in trace] for trace in log]
    model = FastText(
        sentences, vector_size=32, window=5, min_count=1, sg=1, workers=1, seed=seed, hashfxn=steady_hash
    )
    vectors = np.stack([model.wv[n] if i > 1 else np.zeros(32) for i, n in enumerate(names)])
    return np.stack([vectors[trace].mean(axis=0) for trace in log])


def leaves(log: SequenceSet, columns: list[str]) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """int64 (n_events,): the leaf of each event, and the path of each: one node per column, then the leaf."""
    key = np.zeros(log.n_events, dtype=np.int64)
    for name in columns:
        field = log.fields[name]
        key = key * (len(field.vocabulary) + 1) + field.codes
    key = key * len(log.vocabulary) + log.tokens
    _, first, code = np.unique(key, return_index=True, return_inverse=True)
    paths = []
    for event in first:
        values = [log.fields[c].vocabulary.names[log.fields[c].codes[event]] or "(none)" for c in columns]
        steps = ["root", *values, log.vocabulary.names[log.tokens[event]]]
        paths.append(tuple(" > ".join(steps[: i + 1]) for i in range(len(steps))))
    return code, paths


def poincare(log: SequenceSet, columns: list[str], seed: int, size: int = 32) -> np.ndarray:
    """Mean vector of each case's leaves in a ball that holds the tree, mapped to its flat centre."""
    from gensim.models.poincare import PoincareModel

    code, paths = leaves(log, columns)
    above = {(low, high) for p in paths for i, low in enumerate(p) for high in p[:i]}
    model = PoincareModel(sorted(above), size=size, negative=10, seed=seed, workers=1)
    model.train(epochs=60, batch_size=32, print_every=10_000)
    ball = np.stack([model.kv[p[-1]] for p in paths])
    norm = np.clip(np.linalg.norm(ball, axis=1, keepdims=True), 1e-9, 1 - 1e-9)
    return mean_of(log, (2 * np.arctanh(norm) * ball / norm)[code])


def leaf_words(log: SequenceSet, columns: list[str], seed: int, size: int = 32) -> np.ndarray:
    """Mean word2vec vector of each case's leaves, learnt from traces of leaves."""
    code, paths = leaves(log, columns)
    names = [p[-1] for p in paths]
    cut = np.split(code, log.offsets[1:-1])
    traces = SequenceSet.from_traces([[names[i] for i in t] for t in cut])
    return Activity2Vec(size, seed=seed).fit(traces).embed(traces)


def leaf_counts(log: SequenceSet, columns: list[str]) -> np.ndarray:
    """Log counts of the 300 commonest leaves in each case."""
    code, paths = leaves(log, columns)
    common = np.argsort(-np.bincount(code), kind="stable")[:300]
    place = np.full(len(paths), -1)
    place[common] = np.arange(len(common))
    counts = np.zeros((log.n_cases, len(common)))
    kept = place[code] >= 0
    np.add.at(counts, (log.case_of_event[kept], place[code[kept]]), 1.0)
    return np.log1p(counts)


def mean_of(log: SequenceSet, vectors: np.ndarray) -> np.ndarray:
    """Mean over each case of vectors (n_events, d)."""
    total = np.add.reduceat(vectors, log.offsets[:-1], axis=0)
    return np.asarray(total / log.lengths[:, None])


def representations(log: SequenceSet, seed: int, hierarchy: list[str]) -> dict[str, Callable[[], np.ndarray]]:
    """Each by name, made when asked for."""

    def states() -> np.ndarray:
        model = GRU(seed=seed).fit(log)
        return model.states(model.coded(log), Prefixes.last(log))

    trees: dict[str, Callable[[], np.ndarray]] = {
        "leaf counts": lambda: leaf_counts(log, hierarchy),
        "word2vec, leaves": lambda: leaf_words(log, hierarchy, seed),
        "poincare, leaves": lambda: poincare(log, hierarchy, seed),
    }
    return (trees if hierarchy else {}) | {
        "aggregates": lambda: aggregates(log),
        "word2vec": lambda: Activity2Vec(seed=seed).fit(log).embed(log),
        "fasttext": lambda: fast_text(log, seed),
        "encoder": lambda: Encoder(seed=seed).fit(log).embed(log),
        "encoder, shuffled": lambda: Encoder(seed=seed, ordered=False).fit(log).embed(log),
        "next-event states": states,
    }


def judged(x: np.ndarray, y: np.ndarray, seed: int) -> list[float]:
    """Accuracy (or AUC of two classes) of a logistic regression in each of five folds."""
    found = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(x, y):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x[train], y[train])
        if len(np.unique(y)) == 2:
            found.append(float(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1])))
        else:
            found.append(float(model.score(x[test], y[test])))
    return found


def tasks(whole: SequenceSet, known: SequenceSet, cut: int, labels: pl.Series | None) -> dict[str, Any]:
    """Name → (which cases, their class)."""
    found: dict[str, Any] = {}
    if labels is not None:
        common = labels.value_counts(sort=True).head(12).get_column(labels.name).drop_nulls()
        use = np.flatnonzero(labels.is_in(common.implode()).to_numpy())
        found["label"] = (use, labels.gather(pl.Series(use)).to_numpy())
    place = dict(zip(known.case_ids, range(known.n_cases), strict=True))
    of_event = np.array([place.get(c, -1) for c in whole.case_ids])[whole.case_of_event]
    soon = (whole.times >= cut) & (whole.times < cut + 30 * DAY) & (of_event >= 0)
    for token in range(2, len(whole.vocabulary)):
        comes = np.zeros(known.n_cases, dtype=int)
        comes[of_event[soon & (whole.tokens == token)]] = 1
        if min(comes.sum(), len(comes) - comes.sum()) >= 50:
            found[f"{whole.vocabulary.names[token]} in 30 days"] = (np.arange(known.n_cases), comes)
    return found


def main() -> None:
    """Read, learn, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("--labels", type=Path, help="table with case_id and the label")
    parser.add_argument("--label")
    parser.add_argument("--hierarchy", nargs="+", default=[], help="columns from wide to narrow")
    parser.add_argument("--only", nargs="+", help="these representations alone")
    parser.add_argument("--cut", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    read = api.read(pl.read_parquet(options.log), keep=options.hierarchy)
    whole = SequenceSet.from_log(read, [*FIELDS, *(c for c in options.hierarchy if c not in FIELDS)])
    cut = time_cut(whole, options.cut)
    known = whole.until(cut)
    labels = None
    if options.labels:
        table = (
            pl.read_parquet(options.labels).with_columns(pl.col("case_id").cast(pl.String)).unique("case_id")
        )
        cases = pl.DataFrame({"case_id": known.case_ids})
        labels = cases.join(table, on="case_id", how="left", maintain_order="left")[options.label]
    asked = tasks(whole, known, cut, labels)
    vectors, seconds = {}, {}
    for name, make in representations(known, options.seed, options.hierarchy).items():
        if options.only and name not in options.only:
            continue
        began = time.perf_counter()
        vectors[name] = make()
        seconds[name] = round(time.perf_counter() - began, 1)
    for name in [n for n in vectors if n != "aggregates" and "shuffled" not in n and "aggregates" in vectors]:
        vectors[f"aggregates + {name}"] = np.concatenate([vectors["aggregates"], vectors[name]], axis=1)
    rows: dict[str, Any] = {name: {} for name in vectors}
    for task, (use, y) in asked.items():
        for name, x in vectors.items():
            each = judged(x[use], y, options.seed)
            rows[name][task] = {"mean": round(float(np.mean(each)), 4), "sd": round(float(np.std(each)), 4)}
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=200, tbl_hide_dataframe_shape=True):
        print(pl.DataFrame([{"vectors": n} | {t: v["mean"] for t, v in r.items()} for n, r in rows.items()]))
    if options.json:
        found = {"log": options.log.parent.name, "seed": options.seed, "cut": options.cut, "vectors": rows}
        text = json.dumps({**found, "measured": {"seconds": seconds}}, indent=2, ensure_ascii=False) + "\n"
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
