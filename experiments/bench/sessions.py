"""Sessions, transition graph and step matrix against retentioneering, each in a process of its own.

    python experiments/bench/sessions.py DATA_FOLDER [COPIES] [PEER_PYTHON]

bpic2012 replicated COPIES times (default 38: about ten million events) is written as one Parquet file; both
sides load it, then cut every case at gaps above 30 minutes, count what follows what inside sessions, and lay
out the first ten steps. Loading is timed apart. Numbers are CPU seconds of the process, all threads, and the
peak of its memory. retentioneering needs its own packages: PEER_PYTHON is a Python that has it (default: this
one; `python -m venv v && v/bin/pip install retentioneering`). Sessions and transitions must be equal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "bench_sessions.json"
ROOT = Path(__file__).parents[2]

MEASURE = """
import json, resource, sys, time
def timed(rows, name, ask):
    began, start = time.perf_counter(), time.process_time()
    answer = ask()
    rows[name] = {"cpu_s": time.process_time() - start, "wall_s": time.perf_counter() - began}
    return answer
rows = {}
"""

OURS = (
    MEASURE
    + """
from behavio import journeys
from behavio.encoding import encode
from behavio.engine.local import LocalEngine
from behavio.sequences import SequenceSet
one = LocalEngine(threads=1)
def load(path):
    return encode(path).sequences
def ask(log, rows):
    cut = timed(rows, "sessions", lambda: journeys.sessions(log, "30m").sequences)
    graph = timed(rows, "transitions", lambda: journeys.directly_follows(cut, one, quantiles=False))
    matrix = timed(rows, "steps", lambda: journeys.steps(cut, 10, one))
    return {"sessions": cut.n_cases, "transitions": int(graph.edges["frequency"].sum()),
            "steps": int(matrix["cases"].sum())}
ask(SequenceSet.from_traces([["a", "b"]]), {})
log = timed(rows, "load", lambda: load(sys.argv[1]))
answers = ask(log, rows)
"""
)

PEER = (
    MEASURE
    + """
import os, warnings
os.environ["RETENTIONEERING_NO_TRACK"] = "1"
warnings.simplefilter("ignore")
import pandas as pd
from retentioneering import Eventstream
schema = {"path_col": "case_id", "event_col": "activity", "timestamp_col": "timestamp"}
def load(path):
    frame = pd.read_parquet(path).rename(
        columns={"case_id": "user_id", "activity": "event"})
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    return Eventstream(frame)
log = timed(rows, "load", lambda: load(sys.argv[1]))
cut = timed(rows, "sessions", lambda: log.split_sessions(timeout="30m"))
own = {"path_col": "session_id"}
graph = timed(rows, "transitions", lambda: cut.transition_graph_data(edge_weight="count", **own))
matrix = timed(rows, "steps", lambda: cut.step_matrix_data(max_steps=10, **own))
frame = cut.to_dataframe()
real = [c for c in graph.columns if not str(c).startswith("path_")]
answers = {"sessions": int(frame["session_id"].nunique())}
answers["transitions"] = int(graph.reindex(index=real, columns=real).fillna(0).to_numpy().sum())
import retentioneering
answers["version"] = retentioneering.__version__
"""
)

DONE = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rows": rows, "answers": answers, "peak_mb": round(peak)}))
"""


def measured(python: str, script: str, path: Path) -> dict[str, Any]:
    """Run one side in a process of its own; what it printed last."""
    command = [python, "-c", script + DONE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main(data: Path, copies: int = 38, peer_python: str = sys.executable) -> None:
    """Ask both, print and write the ratios."""
    sys.path.insert(0, str(Path(__file__).parent))
    from graph import replicated

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        events = replicated(data / "bpic2012" / "events.parquet", copies)
        events.write_parquet(path)
        n_events = events.height
        del events
        ours = measured(sys.executable, OURS, path)
        theirs = measured(peer_python, PEER, path)
    for name in ("sessions", "transitions"):
        assert ours["answers"][name] == theirs["answers"][name], (name, ours, theirs)
    asked = ("sessions", "transitions", "steps")
    mine, other = (sum(side["rows"][name]["cpu_s"] for name in asked) for side in (ours, theirs))
    result = {
        "log": "bpic2012, replicated",
        "n_events": n_events,
        "behavio": ours,
        "retentioneering": theirs,
        "behavio_cpu_s": round(mine, 3),
        "retentioneering_cpu_s": round(other, 3),
        "ratio": round(other / mine, 1),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name in ("load", *asked):
        print(f"{name}: {ours['rows'][name]['cpu_s']:.3f} s, {theirs['rows'][name]['cpu_s']:.3f} s")
    print(f"together without loading {mine:.3f} s, {other:.3f} s: {other / mine:.1f} times; "
          f"peak {ours['peak_mb']} MB, {theirs['peak_mb']} MB")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:3]), *sys.argv[3:])
