"""How well every way of finding segments finds planted groups, and which one the product picks by itself.

    python -m experiments.segments --log FILE --truth FILE --json OUT
    python -m experiments.segments --regimes 2000 --json OUT

Log: Parquet or CSV with case_id, activity, timestamp (and direction, where it is known who acted).
Truth: case_id and group. Without --truth: stability and held-out likelihood. `explains` is one measure for
all methods: how much likelier, per event in nats, unseen cases become once their group's chain is known.
`--regimes N` simulates N cases of each regime of `experiments.regimes` instead. `--vectors FILE` (case_id,
vector: models/embeddings.parquet of a run) adds k-means and HDBSCAN on those vectors. `--typology 4,5` sets
the groups beside what the literature on states does: Ward's clusters of optimal-matching distances with costs
from transition rates, cut at these numbers (sizes; agreement with the default, and with the product's own k).
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.distances import Distance, dissimilarities
from behavio.files import write_json
from behavio.log import EventLog
from behavio.segments import SegmentSettings, find
from behavio.segments.proof import Yardstick, stability
from behavio.segments.spaces import Embeddings
from behavio.sequences import SequenceSet
from experiments.regimes import REGIMES, simulated

DEFAULT = SegmentSettings()
METHODS: dict[str, SegmentSettings] = {
    "default": DEFAULT,
    "semi_markov": replace(DEFAULT, kind="semi_markov"),
    "semi_markov_events": replace(DEFAULT, kind="semi_markov", view="events"),
    "semi_markov_phases": replace(DEFAULT, kind="semi_markov", view="phases"),
    "semi_markov_answers": replace(DEFAULT, kind="semi_markov", view="answers"),
    "kmeans_shares": replace(DEFAULT, kind="kmeans"),
    "kmeans_aggregates": replace(DEFAULT, kind="vectors", space="aggregates"),
    "kmeans_transitions": replace(DEFAULT, kind="vectors"),
    "hdbscan_transitions": replace(DEFAULT, kind="hdbscan"),
    "kmeans_contrast": replace(DEFAULT, kind="vectors", space="contrast"),
    "medoids_matching": replace(DEFAULT, kind="medoids"),
}
LEARNED = {
    "kmeans_model": replace(DEFAULT, kind="vectors", space="model"),
    "hdbscan_model": replace(DEFAULT, kind="hdbscan", space="model"),
}
MATCHED = 3_000  # cases above which optimal matching is tried only where it is asked for by name


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet or CSV file."""
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, try_parse_dates=True)


def read_sequences(path: Path) -> SequenceSet:
    """The log as sequences; times without a zone are UTC, ties keep the order of the file."""
    table = read_table(path)
    columns = [c for c in ("case_id", "activity", "timestamp", "direction") if c in table.columns]
    table = table.select(columns)
    timed = table["timestamp"].null_count() < table.height
    if not timed:  # an order without a clock: positions stand for seconds
        place = pl.int_range(pl.len()).over("case_id") * 1_000_000
        table = table.with_columns(place.cast(pl.Datetime("us")).alias("timestamp"))
    return SequenceSet.from_log(EventLog.from_frame(table, timed=timed))


def read_truth(path: Path, sequences: SequenceSet, log: Path) -> np.ndarray:
    """The group of each case as text, None where the truth does not know it; exits where it knows nobody."""
    table = read_table(path)
    column = next((c for c in ("group", "archetype") if c in table.columns), None)
    if column is None or "case_id" not in table.columns:
        sys.exit(
            f"error: {path} has the columns {', '.join(table.columns)}\n\nhint: it needs case_id and group"
        )
    table = table.select(pl.col("case_id").cast(pl.String), pl.col(column).cast(pl.String))
    if table.n_unique() > table["case_id"].n_unique():
        sys.exit(f"error: {path} puts a case in two groups\n\nhint: one row for each case")
    known = sequences.case_ids.to_frame("case_id").join(
        table.unique("case_id"), on="case_id", how="left", maintain_order="left"
    )
    missing = known[column].null_count()
    if missing == known.height:
        sys.exit(f"error: no case of {log} is in {path}\n\nhint: the truth needs the log's case_id")
    if missing:
        print(
            f"note: {missing:,} of {known.height:,} cases are not in {path}; they are not judged",
            file=sys.stderr,
        )
    return np.array(known[column].to_list(), dtype=object)


def agreement(truth: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Adjusted Rand index and normalised mutual information; unassigned cases count as a group."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "ari": round(float(adjusted_rand_score(truth, label)), 4),
        "nmi": round(float(normalized_mutual_info_score(truth, label)), 4),
    }


def run(
    sequences: SequenceSet,
    groups: np.ndarray | None,
    seed: int,
    methods: dict[str, SegmentSettings],
    vectors: Embeddings | None,
    wanted: list[int] | None = None,
) -> dict[str, Any]:
    """Every method on one log."""
    answer: dict[str, Any] = {"n_cases": sequences.n_cases, "n_events": sequences.n_events, "methods": {}}
    measure: Yardstick | None = None
    for name, settings in methods.items():
        began = time.perf_counter()
        found = find(sequences, settings, seed, vectors=vectors)
        seconds = round(time.perf_counter() - began, 2)
        if measure is None:
            view = getattr(found.model, "view", "events")
            measure = Yardstick.on(sequences, view, seed)
            answer["default"] = {"method": name, "k": found.choice.k, "view": view}
        label = found.segmentation.segment_id
        facts: dict[str, Any] = {
            "k": found.choice.k,
            "stability": round((found.stable or stability(found.model, sequences, seed)).mean, 4),
            "seconds": seconds,
            "explains": round(measure.of(label), 6),
            "held_out_gain_per_event": round(found.choice.gain, 6),
            "n_unassigned": found.segmentation.n_unassigned,
            "names": list(found.segmentation.names),
            "notes": list(found.notes),
        }
        if groups is not None:
            told = np.array([g is not None for g in groups])
            facts |= agreement(groups[told].astype(str), label[told])
        facts["sizes"] = found.segmentation.sizes.tolist()
        answer["methods"][name] = facts
        _tell(name, facts)
        if wanted and name == "default":
            answer["optimal_matching_ward"] = typology(sequences, wanted, label, seed)
    return answer


def typology(sequences: SequenceSet, wanted: list[int], label: np.ndarray, seed: int) -> dict[str, Any]:
    """Ward's clusters of optimal-matching distances, and how they agree with groups of the product."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    found = dissimilarities(sequences, Distance(substitution="transitions"))
    group = found.traces.group
    square = squareform(found.condensed.astype(np.float64))[np.ix_(group, group)]
    tree = linkage(squareform(square, checks=False), "ward")
    answer = {}
    for k in wanted:
        theirs = fcluster(tree, k, "maxclust")
        own = find(sequences, replace(DEFAULT, k=k), seed, verify=False).segmentation
        answer[str(k)] = {
            "sizes": sorted(np.bincount(theirs)[1:].tolist(), reverse=True),
            "ari_default": agreement(theirs, label)["ari"],
            "ari_same_k": agreement(theirs, own.segment_id)["ari"],
            "sizes_same_k": own.sizes.tolist(),
            "names_same_k": list(own.names),
        }
        shown = {n: v for n, v in answer[str(k)].items() if not n.startswith("names")}
        print(f"optimal matching, Ward, k = {k}: {shown}", flush=True)
    return answer


def _tell(name: str, facts: dict[str, Any]) -> None:
    scores = f"ARI {facts['ari']:6.3f}  NMI {facts['nmi']:.3f}  " if "ari" in facts else ""
    measured = f"stability {facts['stability']:.2f}  explains {facts['explains']:7.4f}"
    print(f"{name:20s} {scores}k {facts['k']:2d}  {measured}  {facts['seconds']:6.1f} s", flush=True)


def chosen(
    names: str | None, sequences: SequenceSet, vectors: Embeddings | None
) -> dict[str, SegmentSettings]:
    """The methods asked for, the default first; all that fit the log where none is named."""
    known = METHODS | (LEARNED if vectors is not None else {})
    if names is not None:
        wanted = [n.strip() for n in names.split(",")]
        unknown = [n for n in wanted if n not in known]
        if unknown:
            sys.exit(f"error: no method {unknown[0]!r}\n\nhint: one of {', '.join(known)}")
        return {n: known[n] for n in ("default", *wanted)}
    left_out = {"medoids_matching"} if sequences.n_cases > MATCHED else set()
    if "direction" not in sequences.fields:
        left_out.add("semi_markov_answers")
    return {n: s for n, s in known.items() if n not in left_out}


def main() -> None:
    """Read the arguments, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--regimes", type=int)
    parser.add_argument("--methods")
    parser.add_argument("--typology")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    if (asked.log is None) == (asked.regimes is None):
        parser.error("give either --log FILE or --regimes N")
    answer: dict[str, Any] = {}
    if asked.regimes is not None:
        for regime in REGIMES:
            sequences, truth = simulated(regime, asked.regimes, asked.seed)
            print(f"\n{regime}: {sequences.n_cases:,} cases, {sequences.n_events:,} events")
            methods = chosen(asked.methods, sequences, None)
            answer[regime] = run(sequences, truth.astype(str).astype(object), asked.seed, methods, None)
        answer = {"regimes": answer}
    else:
        sequences = read_sequences(asked.log)
        truth = None if asked.truth is None else read_truth(asked.truth, sequences, asked.log)
        vectors = None if asked.vectors is None else Embeddings.of(pl.read_parquet(asked.vectors))
        print(f"{sequences.n_cases:,} cases, {sequences.n_events:,} events")
        wanted = None if asked.typology is None else [int(k) for k in asked.typology.split(",")]
        methods = chosen(asked.methods, sequences, vectors)
        answer = run(sequences, truth, asked.seed, methods, vectors, wanted)
    if asked.json is not None:
        write_json(asked.json, answer)


if __name__ == "__main__":
    main()
