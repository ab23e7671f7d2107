"""Declare rules against pm4py: discovery and checking, both asked the same question in turn in one process.

    python experiments/bench/declare.py DATA_FOLDER [ROUNDS]

DATA_FOLDER holds bpic2012/events.parquet (262,200 real events). All 18 templates of pm4py are mined with the
same thresholds; the rules found must be the same with the same numbers, but for the two that pm4py defines by
negating a whole trace (see tests/test_conformance_rules.py). Checked are those rules on every case;
deviations per case must be the same. Alignments on `sepsis` are timed beside: r4pm on distinct traces of the
inductive miner's net. Numbers are CPU seconds of the process and wall seconds, median of ROUNDS (default 5;
pm4py 1), the first run of behavio, which may compile, not counted.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pm4py
import polars as pl
from pm4py.algo.conformance.alignments.petri_net import algorithm as alignments
from pm4py.objects.log.obj import Event, Trace

from behavio import api, journeys, process
from behavio.conformance import check_rules, discover_rules
from behavio.sequences import SequenceSet

RESULT = Path(__file__).parents[1] / "results" / "bench_declare.json"
NAMES = {"case_id": "case_id", "activity_key": "activity", "timestamp_key": "timestamp"}
SUPPORT, CONFIDENCE = 0.1, 0.9
PEER = {
    "altresponse": "alternate_response",
    "altprecedence": "alternate_precedence",
    "altsuccession": "alternate_succession",
    "chainresponse": "chain_response",
    "chainprecedence": "chain_precedence",
    "chainsuccession": "chain_succession",
    "noncoexistence": "not_coexistence",
    "nonsuccession": "not_succession",
    "nonchainsuccession": "not_chain_succession",
}
DIFFERENT = ("not_succession", "not_chain_succession")
Rules = dict[tuple[str, str, str | None], tuple[int, int]]


def seconds(ask: Callable[[], Any], rounds: int) -> tuple[float, float, Any]:
    """Median CPU seconds of the whole process, median wall seconds, and the last answer."""
    cpu, wall, answer = [], [], None
    for _ in range(rounds):
        start, begun = time.process_time(), time.perf_counter()
        answer = ask()
        cpu.append(time.process_time() - start)
        wall.append(time.perf_counter() - begun)
    return statistics.median(cpu), statistics.median(wall), answer


def theirs(model: dict[str, dict[Any, dict[str, int]]]) -> Rules:
    """pm4py's model as (template, activity, target) → (support, confidence)."""
    found: Rules = {}
    for template, rules in model.items():
        for key, counts in rules.items():
            a, b = key if isinstance(key, tuple) else (key, None)
            found[PEER.get(template, template), a, b] = (counts["support"], counts["confidence"])
    return found


def fresh(log: SequenceSet) -> SequenceSet:
    """The same log without what an earlier question left, so that distinct traces are looked for again."""
    return SequenceSet(log.tokens, log.offsets, log.times, log.case_ids, log.vocabulary)


def alike(rules: Rules) -> Rules:
    """Without the templates that mean something else there."""
    return {k: v for k, v in rules.items() if k[0] not in DIFFERENT}


def row(name: str, mine: tuple[float, float, Any], other: tuple[float, float, Any]) -> dict[str, Any]:
    """One line of the result, printed too."""
    print(f"{name}: {mine[0]:.4f} s, pm4py {other[0]:.2f} s, {other[0] / mine[0]:.0f} times", flush=True)
    told = {"question": name, "behavio_cpu_s": round(mine[0], 4), "behavio_wall_s": round(mine[1], 4)}
    told |= {"pm4py_cpu_s": round(other[0], 2), "pm4py_wall_s": round(other[1], 2)}
    return told | {"ratio": round(other[0] / mine[0], 1)}


def declare(data: Path, rounds: int) -> list[dict[str, Any]]:
    """Discovery and checking on bpic2012, answers compared."""
    path = data / "bpic2012" / "events.parquet"
    log = SequenceSet.from_log(api.read(path))
    peer = pm4py.format_dataframe(pd.read_parquet(path, columns=list(NAMES.values())), **NAMES)
    limits = {"min_support_ratio": SUPPORT, "min_confidence_ratio": CONFIDENCE}

    discover_rules(log, SUPPORT, CONFIDENCE)
    mine = seconds(lambda: discover_rules(fresh(log), SUPPORT, CONFIDENCE), rounds)
    other = seconds(lambda: pm4py.discover_declare(peer, **limits), 1)
    ours: Rules = {r[:3]: r[3:5] for r in mine[2].rows()}
    assert alike(ours) == alike(theirs(other[2]))
    rows = [row(f"discover {len(ours):,} rules", mine, other) | {"same_rules": len(alike(ours))}]

    chosen = list(alike(ours))
    model = {t: dict(r) for t, r in other[2].items() if PEER.get(t, t) not in DIFFERENT}
    check_rules(log, chosen)
    mine = seconds(lambda: check_rules(fresh(log), chosen), rounds)
    other = seconds(lambda: pm4py.conformance_declare(peer, model), 1)
    ids = list(dict.fromkeys(peer["case:concept:name"]))
    broken = dict(zip(log.case_ids.to_list(), mine[2].broken.tolist(), strict=True))
    assert [d["no_dev_total"] for d in other[2]] == [broken[i] for i in ids]
    rows.append(row(f"check {len(chosen):,} rules on every case", mine, other))
    return rows


def aligned(data: Path, rounds: int) -> dict[str, Any]:
    """Alignments of sepsis with the inductive miner's net: r4pm on all traces, pm4py on the short ones."""
    log = SequenceSet.from_log(api.read(data / "sepsis" / "events.parquet"))
    found = journeys.variants(log)
    weighted = process.WeightedVariants(found.tokens, found.offsets, found.cases)
    tree = process.process_tree(weighted, log.vocabulary.names, 0.2)
    net, start, end = pm4py.convert_to_petri_net(tree)
    path = RESULT.with_suffix(".pnml")
    pm4py.write_pnml(net, start, end, str(path))
    model = process.read_net(path)
    path.unlink()
    cpu, wall, ours = seconds(lambda: process.align(model, weighted, log.vocabulary), min(rounds, 3))
    short = [v for v in range(len(weighted.cases)) if np.diff(weighted.offsets)[v] <= 7][:20]
    names = log.vocabulary.names

    def slow() -> list[int]:
        made = []
        for v in short:
            tokens = weighted.tokens[weighted.offsets[v] : weighted.offsets[v + 1]]
            trace = Trace([Event({"concept:name": names[t]}) for t in tokens])
            made.append(alignments.apply_trace(trace, net, start, end)["cost"] // 10_000)
        return made

    peer_cpu, peer_wall, costs = seconds(slow, 1)
    assert costs == ours.cost[short].tolist()
    fit = float(weighted.cases[ours.cost == 0].sum() / weighted.cases.sum())
    print(
        f"alignments of {len(weighted.cases)} traces: {cpu:.2f} s; "
        f"pm4py, {len(short)} short ones: {peer_cpu:.1f} s"
    )
    return {
        "log": "sepsis",
        "distinct_traces": len(weighted.cases),
        "r4pm_cpu_s": round(cpu, 3),
        "r4pm_wall_s": round(wall, 3),
        "share_fitting": round(fit, 4),
        "pm4py_short_traces": len(short),
        "pm4py_cpu_s": round(peer_cpu, 2),
        "pm4py_wall_s": round(peer_wall, 2),
        "same_costs": True,
    }


def main(data: Path, rounds: int = 5) -> None:
    """Ask both, print and write the ratios."""
    result: dict[str, Any] = {"log": "bpic2012", "support": SUPPORT, "confidence": CONFIDENCE}
    result |= {"rows": declare(data, rounds), "alignments": aligned(data, rounds)}
    result |= {"pm4py": pm4py.__version__, "polars": pl.__version__, "seconds": "CPU, all threads"}
    result |= {"rounds": rounds, "same_answers": True, "defined_otherwise_by_pm4py": list(DIFFERENT)}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:]))
