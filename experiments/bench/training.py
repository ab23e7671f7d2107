"""Training speed against pytorch-lifestream, and the default net on a million events and a million cases.

    python experiments/bench/training.py DATA_FOLDER [PEER_PYTHON]

Both sides train a GRU of 64 units on `bpic2012` to predict the next event (36 activities), one thread, one
pass after a short one that warms up; each in a process of its own. The peer reads the activity and the gap
(TrxEncoder, RnnEncoder, GptPretrainModule's loss, Adam, batches of 64 padded cases); ours reads the activity,
its moment in six ways and nine numbers, and learns the time of the next event too. Numbers are CPU seconds.

pytorch-lifestream 0.7.0 installs with `pip install --no-deps pytorch-lifestream` and pytorch-lightning,
lightning-utilities, torchmetrics, omegaconf, hydra-core, transformers 4.46 and duckdb beside torch: with its
declared dependencies it asks for spaCy 3.7.4, dask and pymonad; `ptls.preprocessing` is not needed here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "bench_training.json"
ROOT = Path(__file__).parents[2]

OURS = """
import json, resource, sys, time
import numpy as np, polars as pl
from behavio import api
from behavio.models.neural import GRU
from behavio.sequences import SequenceSet
log = SequenceSet.from_log(api.read(pl.read_parquet(sys.argv[1])))
coded = log.recode(log.own_vocabulary())
warm = GRU(epochs=1, budget=20_000, step_events=4096)
warm.begin(coded); warm.train(coded, None)
net = GRU(epochs=1, step_events=4096)
net.begin(coded)
cpu, wall = time.process_time(), time.perf_counter()
net.train(coded, None)
n = coded.n_events - coded.n_cases
took = {"events": n, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
print(json.dumps(took))
"""

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, polars as pl, torch
from ptls.nn import RnnEncoder, TrxEncoder
from ptls.frames.gpt import GptDataset, GptPretrainModule
torch.set_num_threads(1)
torch.manual_seed(7)
table = pl.read_parquet(sys.argv[1]).sort("case_id", "timestamp", maintain_order=True)
codes = table["activity"].cast(pl.Categorical).to_physical().to_numpy().astype("int64") + 1
times = table["timestamp"].dt.epoch("s").to_numpy()
bounds = np.flatnonzero(np.r_[True, (table["case_id"] != table["case_id"].shift())[1:].to_numpy(), True])
data = []
for a, b in zip(bounds[:-1], bounds[1:]):
    gap = np.diff(times[a:b], prepend=times[a]).astype("float32")
    data.append({"activity": torch.from_numpy(codes[a:b]), "gap": torch.from_numpy(gap),
                 "event_time": torch.from_numpy(times[a:b])})
kinds = {"activity": {"in": int(codes.max()) + 1, "out": 64}}
trx = TrxEncoder(embeddings=kinds, numeric_values={"gap": "log"})
rnn = RnnEncoder(input_size=trx.output_size, hidden_size=64, type="gru")
module = GptPretrainModule(trx, rnn, seed_seq_len=0)
optimizer = torch.optim.Adam(module.parameters(), 1e-3)
def one_pass(some):
    rows = GptDataset(some, min_len=2, max_len=100_000)
    loader = torch.utils.data.DataLoader(rows, 64, shuffle=True, collate_fn=GptDataset.collate_fn)
    module.train()
    for batch in loader:
        out = module.forward(batch)
        out = out.payload if hasattr(out, "payload") else out
        loss = module.loss_gpt(out, batch.payload, True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
one_pass(data[:600])
cpu, wall = time.process_time(), time.perf_counter()
one_pass(data)
n = len(codes) - len(data)
print(json.dumps({"events": n, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}))
"""

SIZE = """
import json, resource, sys, time
from dataclasses import replace
import numpy as np, polars as pl
from behavio import api
from behavio.models import Prefixes
from behavio.models.neural import GRU
from behavio.sequences import SequenceSet
log = SequenceSet.from_log(api.read(pl.read_parquet(sys.argv[1])))
def copies(log, n):
    k = log.n_events
    ids = pl.concat([pl.select(pl.lit(f"{i}-") + log.case_ids).to_series() for i in range(n)])
    offsets = np.concatenate([[0], *(log.offsets[1:] + i * k for i in range(n))])
    tokens, times = np.tile(log.tokens, n), np.tile(log.times, n)
    return replace(log, tokens=tokens, times=times, offsets=offsets, case_ids=ids)
def spent(rows, name, work):
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    rows[name] = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall,
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
rows = {}
million = copies(log, 4)
net = GRU()
spent(rows, f"fit on {million.n_events:,} events", lambda: net.fit(million))
many = copies(log, 77)
asked = Prefixes.last(many)
coded = net.coded(many)
def score():
    for low in range(0, len(asked), 200_000):
        net.rows(coded, asked[low : low + 200_000]).argmax(1)
spent(rows, f"score {many.n_cases:,} cases of {many.n_events:,} events", score)
print(json.dumps(rows))
"""


def ran(python: str, code: str, log: Path) -> dict[str, Any]:
    """What the code printed last, as JSON."""
    done = subprocess.run(
        [python, "-c", code, str(log)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Run both, compare, write the result."""
    log = Path(sys.argv[1]) / "bpic2012" / "events.parquet"
    ours = ran(sys.executable, OURS, log)
    found: dict[str, Any] = {"ours": ours, "size": ran(sys.executable, SIZE, log)}
    rate = {"ours": ours["events"] / ours["cpu_s"]}
    if len(sys.argv) > 2:
        found["pytorch-lifestream"] = peer = ran(sys.argv[2], PEER, log)
        rate["pytorch-lifestream"] = peer["events"] / peer["cpu_s"]
        found["ratio"] = rate["ours"] / rate["pytorch-lifestream"]
    found["events_per_cpu_second"] = {name: round(value) for name, value in rate.items()}
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
