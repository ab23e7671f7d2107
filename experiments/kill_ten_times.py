"""Does a run killed at random moments end like an undisturbed one?

    python -m experiments.kill_ten_times pipelines/demo.toml --kills 10

Runs the job once undisturbed, then again in another folder with SIGKILL after a random share of that
time. Every run that comes to its end, however often it was killed, is compared with the undisturbed one by
the hashes in the manifests, and removed; so it goes until it was killed as often as asked.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
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
        deaths, ends = [], []
        while len(deaths) < options.kills or not ends or killed.exists():
            process = start(options.job, killed)
            try:
                patience = draw.uniform(0.2, 0.8 * whole) if len(deaths) < options.kills else None
                if process.wait(timeout=patience) != 0:
                    sys.exit("a run did not end well")
                left = [p.name for p in killed.iterdir() if p.name.startswith((".draft", ".old"))]
                ends.append(hashes(calm) == hashes(killed) and not left)
                shutil.rmtree(killed)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                deaths.append(sorted(p.stem for p in (killed / ".stages").glob("*.json")))
        same = f"{sum(ends)} of {len(ends)} ended the same"
        print(f"undisturbed {whole:.1f} s; killed {len(deaths)} times; {same}")
        for stages in deaths:
            print(f"  killed with {len(stages)} whole stages: {', '.join(stages)}")
        sys.exit(0 if all(ends) else 1)


if __name__ == "__main__":
    main()
