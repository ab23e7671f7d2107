"""A million labels planned and delivered to the emulator: rows per second and the loader's peak memory.

Usage: python experiments/bench/deliver.py [DATA] [N]. The emulator runs in a process of its own; three
deliveries in one process each: dry run, first delivery (all rows new), second (nothing to send).
Writes experiments/results/deliver.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

SERVE = """
import sys
from behavio.targets.emulator import SalesforceEmulator, listen
from behavio.targets.emulator.values import numbered_id
org = SalesforceEmulator()
rows = ((numbered_id("001", n), "HCP") for n in range(int(sys.argv[1])))
org.store.sql.execute("BEGIN")
org.store.sql.executemany('INSERT INTO Account ("Id", "Name") VALUES (?, ?)', rows)
org.store.sql.execute("COMMIT")
server = listen(org)
print(server.server_address[1], flush=True)
server.serve_forever()
"""

DELIVER = """
import json, resource, sys, time
from pathlib import Path
from behavio.targets import delivery
from behavio.targets.connect import session
from behavio.targets.mapping import load_mapping
from behavio.targets.settings import DeliverSettings
run, mapping, dry = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "dry"
took = {}
plan = delivery._plan
def planned(*a):
    began = time.perf_counter()
    found = plan(*a)
    took["plan"] = time.perf_counter() - began
    return found
delivery._plan = planned
settings = DeliverSettings(target="salesforce", dry_run=dry)
home = delivery.home_of(run, "salesforce")
made = delivery.Delivery(run, home, session("salesforce"), load_mapping(mapping), settings)
began = time.perf_counter()
receipt = delivery.deliver_to(made)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"status": receipt.status, "create": receipt.create, "unchanged": receipt.unchanged,
    "sent": receipt.sent, "confirmed": receipt.confirmed, "jobs": len(receipt.jobs), "plan_s": took["plan"],
    "total_s": time.perf_counter() - began, "peak_mb": round(peak)}))
"""

MAPPING = """
version = 1
system = "salesforce"
[[object]]
rows = "labels"
object = "Product_Metrics_vod__c"
key = "External_ID_vod__c"
parent = "Account_vod__c"
owned = "Behavio_Run__c"
retire = "clear"
[object.columns]
External_ID_vod__c = "{case_id}__behavio"
Account_vod__c = "{case_id}"
Segment__c = { from = "{segment}", null = "clear" }
Segment_Strength__c = { from = "{strength}", null = "clear", decimals = 3 }
Behavio_Run__c = { from = "{run_id}", stamp = true }
Behavio_Model__c = { from = "{model_version}", stamp = true }
"""


def make_run(folder: Path, n: int) -> Path:
    """A run with n labels."""
    import datetime as dt

    import numpy as np
    import polars as pl

    sys.path.insert(0, str(ROOT))
    from behavio.log import CONSENT_SCHEMA
    from behavio.targets.emulator.values import numbered_id

    ids = pl.Series("case_id", [numbered_id("001", i) for i in range(n)])
    for room in ("log", "segments"):
        (folder / room).mkdir(parents=True)
    moment = pl.Series("timestamp", [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)])
    pl.DataFrame([moment]).write_parquet(folder / "log" / "events.parquet")
    pl.DataFrame([ids]).write_parquet(folder / "log" / "cases.parquet")
    pl.DataFrame(schema=CONSENT_SCHEMA).write_parquet(folder / "log" / "consents.parquet")
    rng = np.random.default_rng(7)
    names = [f"Group {i} with a name" for i in range(8)]
    k = rng.integers(0, 8, n)
    pl.DataFrame(
        [
            ids,
            pl.Series("segment_id", k.astype("int32")),
            pl.Series("segment", [names[i] for i in k]),
            pl.Series("strength", rng.random(n).round(3)),
        ]
    ).write_parquet(folder / "segments" / "segments.parquet")
    return folder


def main() -> None:
    """Serve, deliver three times, write the figures."""
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run", n)
        mapping = Path(folder) / "labels.toml"
        mapping.write_text(MAPPING)
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(n)], env=env, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            env |= {"SALESFORCE_URL": f"http://127.0.0.1:{port}", "SALESFORCE_CLIENT_ID": "behavio"}
            env |= {"SALESFORCE_CLIENT_SECRET": "emulator"}
            result: dict[str, dict[str, float]] = {"rows": n}  # type: ignore[dict-item]
            for name in ("dry", "first", "second"):
                command = [sys.executable, "-c", DELIVER, str(run), str(mapping), name]
                done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                one = json.loads(done.stdout)
                one["rows_per_s_planned"] = round(n / one["plan_s"])
                one["rows_per_s_all"] = round(n / one["total_s"])
                result[name] = one
                print(name, json.dumps(one), flush=True)
        finally:
            server.kill()
            server.wait()
    out = ROOT / "experiments" / "results" / "deliver.json"
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
