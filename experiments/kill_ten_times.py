"""Does a run killed at random moments end like an undisturbed one?

    python -m experiments.kill_ten_times pipelines/demo.toml --kills 10

Runs the job once undisturbed, then again in another folder with SIGKILL after a random share of that
time, as often as asked, then to its end; compares the hashes in both manifests.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def hashes(folder: Path) -> dict[str, object]:
    """What the manifest says of every stage: key and the hash of every file."""
    stages = json.loads((folder / "manifest.json").read_text())["stages"]
    return {name: (stage["key"], stage["outputs"]) for name, stage in stages.items()}


def start(job: str, out: Path) -> subprocess.Popen[bytes]:
    """The command as a user types it."""
    command = [sys.executable, "-m", "behavio", "run", job, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Run, kill, compare, say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = Path(folder) / "calm", Path(folder) / "killed"
        began = time.perf_counter()
        if start(options.job, calm).wait() != 0:
            sys.exit("the undisturbed run failed")
        whole = time.perf_counter() - began
        deaths = []
        for _ in range(options.kills):
            process = start(options.job, killed)
            try:
                process.wait(timeout=draw.uniform(0.2, whole / 3))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                deaths.append(sorted(p.stem for p in (killed / ".stages").glob("*.json")))
        if start(options.job, killed).wait() != 0:
            sys.exit("the run did not end after the kills")
        same = hashes(calm) == hashes(killed)
        left = [p.name for p in killed.iterdir() if p.name.startswith((".draft", ".old"))]
        print(
            f"undisturbed {whole:.1f} s; killed {len(deaths)} times; same hashes: {same}; leftovers: {left}"
        )
        for stages in deaths:
            print(f"  killed with {len(stages)} whole stages: {', '.join(stages)}")
        sys.exit(0 if same and not left else 1)


if __name__ == "__main__":
    main()
