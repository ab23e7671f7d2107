"""How far is counting from the best any model can do?

    python -m experiments.oracle_nll --cases 3000 --seeds 7 11 --out experiments/results/oracle_nll.json

Simulates HCPs, judges the chosen kind of model on the latest 30 % of events, and sets the true
next-event probabilities beside it; also how well segments find the archetypes (adjusted Rand index).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from sklearn.metrics import adjusted_rand_score

import behavio
from behavio.simulate import SimulateSettings, simulate_log


def one(seed: int, n_cases: int, kind: str) -> dict[str, Any]:
    """Numbers of one simulated year."""
    events, truth = simulate_log(SimulateSettings(n_cases=n_cases, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "next_probabilities.parquet"
        truth.next_probabilities.write_parquet(path)
        metrics = behavio.evaluate(events, seed=seed, kind=kind, truth=str(path))
    found = behavio.segments(events, seed=seed).join(truth.archetypes, on="case_id")
    return {
        "seed": seed,
        "n_cases": n_cases,
        "median_events": truth.summary["median_events"],
        "oracle": truth.summary["oracle"],
        "models": {m["name"]: {"nll": m["nll"], "accuracy": m["accuracy"]} for m in metrics["models"]},
        "adjusted_rand": adjusted_rand_score(found["archetype"], found["segment_id"]),
        "n_segments": found["segment_id"].n_unique() - int((found["segment_id"] == -1).any()),
    }


def main() -> None:
    """Simulate, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 11])
    parser.add_argument("--kind", default="ngram")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/oracle_nll.json"))
    options = parser.parse_args()
    results = [one(seed, options.cases, options.kind) for seed in options.seeds]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(options.out.read_text())


if __name__ == "__main__":
    main()
