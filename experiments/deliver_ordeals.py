"""500 randomised fault schedules: deliveries under faults, kills and reps who act, then one in peace.

Usage: python experiments/deliver_ordeals.py [N] [FIRST_SEED].
Writes experiments/results/deliver_ordeals.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from crm_ordeal import ordeal  # noqa: E402

from behavio.targets import salesforce  # noqa: E402


def main() -> None:
    """Run them all; stop at the first row that is lost, doubled or wrong."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began, stories = time.perf_counter(), []
    small = salesforce.SMALL
    for seed in range(first, first + n):
        system = ("salesforce", "vault")[seed % 4 == 3]
        salesforce.SMALL = 2 if seed % 2 else small  # even few rows go as jobs
        with tempfile.TemporaryDirectory() as folder:
            try:
                stories.append(ordeal(Path(folder), seed, system))
            except AssertionError as wrong:
                print(f"seed {seed}, {system}: {wrong}")
                raise
        if (seed - first) % 50 == 49:
            print(f"{seed - first + 1} ordeals, {time.perf_counter() - began:.0f} s", flush=True)
    rows = [asdict(s) for s in stories]
    total = {
        k: sum(r[k] for r in rows) for k in ("attempts", "kills", "gave_up", "faults", "acts", "requests")
    }
    result = {"ordeals": len(rows), "violations": 0, **total}
    print(json.dumps(result))
    out = ROOT / "experiments" / "results" / "deliver_ordeals.json"
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
