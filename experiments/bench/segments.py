"""Segments of 100,000 cases of 50 events, fitted and explained, against contrastive embeddings and k-means.

    python experiments/bench/segments.py DATA [--cases 100000] [--peer PYTHON]

Ours: the default method with choice of k, proof, rules, subgroups and files; each in a process of its own,
CPU and wall seconds, peak memory, agreement with the planted groups. The peer: pytorch-lifestream's CoLES
(GRU 64, batches of 64 × 5 slices) in an environment of its own named by --peer, on the same events; embedding
and k-means with the true number of groups. DATA (a folder of real logs) is not used. `--peer-cases` and
`--epochs` keep the peer short on two cores; both are printed beside its seconds, so read the ratio per case.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[2]))

from behavio.files import write_json

EVENTS, GROUPS, ACTIVITIES = 50, 6, 30
RESULTS = Path(__file__).parents[1] / "results" / "segments.json"


def planted(n_cases: int, seed: int) -> pl.DataFrame:
    """case_id, activity, timestamp, group: groups differ mildly in order, mix and pace."""
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.full(ACTIVITIES, 0.5), size=ACTIVITIES)
    chains = [
        np.cumsum(0.8 * base + 0.2 * rng.dirichlet(np.full(ACTIVITIES, 0.3), ACTIVITIES), 1)
        for _ in range(GROUPS)
    ]
    group = rng.integers(0, GROUPS, n_cases)
    lengths = rng.integers(EVENTS - 25, EVENTS + 26, n_cases)
    longest = int(lengths.max())
    at = rng.integers(0, ACTIVITIES, n_cases)
    trace = np.empty((n_cases, longest), np.int16)
    cuts = np.stack(chains)
    for step in range(longest):
        trace[:, step] = at
        draw = rng.random(n_cases)
        at = np.minimum((cuts[group, at] < draw[:, None]).sum(axis=1), ACTIVITIES - 1)
    days = np.exp(rng.normal(0.15 * (group[:, None] % 3), 0.9, (n_cases, longest))).cumsum(axis=1)
    kept = np.arange(longest)[None, :] < lengths[:, None]
    case = np.broadcast_to(np.arange(n_cases)[:, None], kept.shape)[kept]
    return pl.DataFrame(
        {
            "case_id": pl.Series(case).cast(pl.String).str.pad_start(7, "0"),
            "activity": pl.Series([f"act{a:02d}" for a in range(ACTIVITIES)]).gather(pl.Series(trace[kept])),
            "timestamp": pl.Series((days[kept] * 86_400e6).astype(np.int64)).cast(pl.Datetime("us")),
            "group": group[case],
        }
    )


OURS = """
import json, resource, sys, time
from pathlib import Path
import polars as pl
sys.path.insert(0, sys.argv[3])
from behavio.log import EventLog
from behavio.segments import SegmentSettings, write_segments
from behavio.segments.agreement import adjusted_rand
from behavio.sequences import SequenceSet
table = pl.read_parquet(sys.argv[1])
log = EventLog.from_frame(table.drop("group"))
sequences = SequenceSet.from_log(log)
began, cpu = time.perf_counter(), time.process_time()
facts = write_segments(log, sequences, SegmentSettings(), 7, Path(sys.argv[2]))
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
found = pl.read_parquet(Path(sys.argv[2]) / "segments.parquet")
truth = table.unique("case_id").sort("case_id")["group"].to_numpy()
ari = adjusted_rand(truth, found.sort("case_id")["segment_id"].to_numpy())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
keep = ("k", "stability", "rules_accuracy")
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "ari": ari, "peak_gb": peak} | {n: facts[n] for n in keep}))
"""

PEER = """
import json, sys, time, resource, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, torch
from functools import partial
from torch.utils.data import DataLoader
torch.manual_seed(0); torch.set_num_threads(2)
from ptls.nn import TrxEncoder, RnnSeqEncoder
from ptls.frames.coles import ColesDataset, CoLESModule
from ptls.frames.coles.split_strategy import SampleSlices
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
path, epochs, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
table = pd.read_parquet(path)
table["code"] = table.activity.astype("category").cat.codes + 1
data, truth = [], []
for case, rows in table.groupby("case_id", sort=True):
    t = rows.timestamp.astype("int64").to_numpy() / 86_400e6
    gap = np.log1p(np.diff(t, prepend=t[:1]))
    data.append({"code": torch.tensor(rows.code.to_numpy().astype("int64")), "event_time": torch.tensor(t),
                 "gap": torch.tensor(gap, dtype=torch.float32)})
    truth.append(int(rows.group.iloc[0]))
began, cpu = time.perf_counter(), time.process_time()
encoder = TrxEncoder(embeddings={"code": {"in": int(table.code.max()) + 1, "out": 24}},
                     numeric_values={"gap": "identity"})
model = RnnSeqEncoder(trx_encoder=encoder, hidden_size=64, type="gru")
module = CoLESModule(seq_encoder=model, optimizer_partial=partial(torch.optim.Adam, lr=2e-3),
                     lr_scheduler_partial=partial(torch.optim.lr_scheduler.StepLR, step_size=30, gamma=0.9))
slices = ColesDataset(data, splitter=SampleSlices(split_count=5, cnt_min=10, cnt_max=40))
optimizer = torch.optim.Adam(module.parameters(), 2e-3)
for _ in range(epochs):
    for batch in DataLoader(slices, batch_size=64, shuffle=True, collate_fn=slices.collate_fn):
        optimizer.zero_grad(); loss = module.training_step(batch, 0); loss.backward(); optimizer.step()
fit = time.perf_counter() - began
from ptls.data_load.utils import collate_feature_dict
model.eval(); vectors = []
with torch.no_grad():
    for i in range(0, len(data), 256):
        vectors.append(model(collate_feature_dict(data[i:i + 256])).numpy())
label = KMeans(groups, n_init=10, random_state=0).fit_predict(np.concatenate(vectors))
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "fit_s": fit, "ari": adjusted_rand_score(truth, label),
                  "peak_gb": peak, "epochs": epochs, "cases": len(data)}))
"""


def asked(python: str, code: str, *arguments: str) -> dict[str, Any]:
    """The JSON line that a script in a process of its own prints last; its error text when it fails."""
    done = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1]}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Measure, print, write experiments/results/segments.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", help="folder of real logs; not used")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--peer", help="python of an environment with pytorch-lifestream")
    parser.add_argument("--peer-cases", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=4)
    wanted = parser.parse_args()
    began = time.perf_counter()
    answer: dict[str, Any] = {"cases": wanted.cases, "events_per_case": EVENTS, "groups": GROUPS}
    with tempfile.TemporaryDirectory() as place:
        folder, root = Path(place), str(Path(__file__).parents[2])
        planted(wanted.cases, 1).write_parquet(folder / "log.parquet")
        (folder / "out").mkdir()
        answer["behavio"] = asked(
            sys.executable, OURS, str(folder / "log.parquet"), str(folder / "out"), root
        )
        print("behavio", json.dumps(answer["behavio"]), flush=True)
        if wanted.peer:
            planted(wanted.peer_cases, 1).write_parquet(folder / "few.parquet")
            few = str(folder / "few.parquet")
            answer["pytorch_lifestream"] = asked(wanted.peer, PEER, few, str(wanted.epochs), str(GROUPS))
            print("peer", json.dumps(answer["pytorch_lifestream"]), flush=True)
            (folder / "small").mkdir()
            answer["behavio_same_cases"] = asked(sys.executable, OURS, few, str(folder / "small"), root)
            print("behavio, same cases", json.dumps(answer["behavio_same_cases"]), flush=True)
    answer["seconds"] = round(time.perf_counter() - began)
    write_json(RESULTS, answer)


if __name__ == "__main__":
    main()
