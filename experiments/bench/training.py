"""Training speed against pytorch-lifestream.

    python experiments/bench/training.py DATA_FOLDER [PEER_PYTHON]

Both sides train a GRU of 64 units on `bpic2012` to predict the next event (36 activities), one thread, one
pass after a short one that warms up; each in a process of its own. Ours reads the activity, its moment in six
ways and 169 numbers, and learns the time of the next event too, in steps of 4,096 events. The peer
(TrxEncoder, RnnEncoder, GptPretrainModule's loss, Adam, batches of 64 padded cases) is timed twice: with the
activity and the gap alone, and with the same columns as ours. Numbers are CPU seconds.

pytorch-lifestream 0.7.0 installs with `pip install --no-deps pytorch-lifestream` and pytorch-lightning,
lightning-utilities, torchmetrics, omegaconf, hydra-core, transformers 4.46 and duckdb beside torch: with its
declared dependencies it asks for spaCy 3.7.4, dask and pymonad; `ptls.preprocessing` is not needed here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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
codes, numbers = net.read(coded)
np.savez(sys.argv[2], codes=codes, numbers=numbers.astype("float32"), offsets=np.asarray(coded.offsets))
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
held = np.load(sys.argv[2])
columns, numbers, bounds = held["codes"].astype("int64"), held["numbers"], held["offsets"]
table = pl.read_parquet(sys.argv[1]).sort("case_id", "timestamp", maintain_order=True)
times = table["timestamp"].dt.epoch("s").to_numpy()
all_of_them = sys.argv[3] == "same"
data = []
for a, b in zip(bounds[:-1], bounds[1:]):
    gap = np.diff(times[a:b], prepend=times[a]).astype("float32")
    row = {"activity": torch.from_numpy(columns[a:b, 0]), "gap": torch.from_numpy(gap),
           "event_time": torch.from_numpy(times[a:b])}
    if all_of_them:
        row |= {f"c{i}": torch.from_numpy(columns[a:b, i]) for i in range(1, columns.shape[1])}
        row |= {f"n{i}": torch.from_numpy(numbers[a:b, i]) for i in range(numbers.shape[1])}
    data.append(row)
kinds = {"activity": {"in": int(columns[:, 0].max()) + 1, "out": 64}}
values = {"gap": "log"}
if all_of_them:
    kinds |= {f"c{i}": {"in": int(columns[:, i].max()) + 1, "out": 8} for i in range(1, columns.shape[1])}
    values |= {f"n{i}": "identity" for i in range(numbers.shape[1])}
trx = TrxEncoder(embeddings=kinds, numeric_values=values)
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
n = len(columns) - len(data)
print(json.dumps({"events": n, "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}))
"""


def ran(python: str, code: str, *given: str) -> dict[str, Any]:
    """What the code printed last, as JSON."""
    done = subprocess.run([python, "-c", code, *given], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Run both, compare, write the result."""
    log = str((Path(sys.argv[1]) / "bpic2012" / "events.parquet").resolve())
    with tempfile.TemporaryDirectory() as folder:
        columns = str(Path(folder) / "columns.npz")
        took = {"ours": ran(sys.executable, OURS, log, columns)}
        if len(sys.argv) > 2:
            for name, reads in (("activity and gap", "few"), ("the same columns", "same")):
                took[f"pytorch-lifestream, {name}"] = ran(sys.argv[2], PEER, log, columns, reads)
    found: dict[str, Any] = {"one pass": took}
    found["times as fast"] = {
        name: round(side["cpu_s"] / took["ours"]["cpu_s"], 2) for name, side in took.items() if name != "ours"
    }
    found["events per CPU second"] = {n: round(side["events"] / side["cpu_s"]) for n, side in took.items()}
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
