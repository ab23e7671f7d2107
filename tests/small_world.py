"""One small file of calls, as a young company has it, and what may lie beside it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl


def write_calls(folder: Path, n: int = 200, seed: int = 5) -> Path:
    """calls.csv (hcp_id, activity, date) and hcps.csv: half are visited and answer, half get emails."""
    rng = np.random.default_rng(seed)
    rows, people = [], []
    for i in range(n):
        digital = i % 2
        day = date(2026, 1, 5) + timedelta(days=int(rng.integers(0, 20)))
        for _ in range(int(rng.integers(2, 14))):
            act = "email_sent" if rng.random() < (0.8 if digital else 0.2) else "call_f2f"
            rows.append((f"h{i:03d}", act, day, "outbound"))
            if rng.random() < (0.6 if digital else 0.25):
                answer = "email_open" if act == "email_sent" else "reaction_positive"
                rows.append((f"h{i:03d}", answer, day + timedelta(days=1), "inbound"))
            day += timedelta(days=int(rng.integers(3, 20)))
        people.append(
            (f"h{i:03d}", "F" if rng.random() < 0.5 else "M", ("Cardiology", "GP")[i % 3 == 0], 10 * (i % 7))
        )
    columns = ["hcp_id", "activity", "date", "direction"]
    pl.DataFrame(rows, columns, orient="row").write_csv(folder / "calls.csv")
    own = pl.DataFrame(people, ["hcp_id", "Gender", "specialty", "potential"], orient="row")
    own.write_csv(folder / "hcps.csv")
    return folder


CALLS = """
[source.calls]
path = "calls.csv"
case_id = "hcp_id"
timestamp = "date"
columns = { direction = "direction" }

[cases]
path = "hcps.csv"
case_id = "hcp_id"
"""
