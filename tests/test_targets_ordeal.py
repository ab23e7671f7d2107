"""Random faults: after the next clean delivery every row is there once, with the right values."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from crm_ordeal import late_jobs, ordeal
from crm_world import make, write_run

from behavio.targets import salesforce
from behavio.targets.emulator import serving
from behavio.targets.emulator.near import Killed


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Even few rows go as jobs in every second ordeal."""
    called = getattr(request.node, "callspec", None)
    if called is not None and called.params.get("seed", 0) % 2:
        monkeypatch.setattr(salesforce, "SMALL", 2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("system", ["salesforce", "vault"])
def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path, system: str, seed: int) -> None:
    story = ordeal(tmp_path, seed, system)
    assert story.attempts and story.requests


def test_killed_at_every_request_the_next_delivery_ends_it(tmp_path: Path) -> None:
    # about 25 requests: killed at every third of them, before and after it is carried out
    number = 0
    while True:
        world = make(tmp_path / str(number), 6)
        world.kill = lambda n, at=number: ("before", "after")[at % 2] if n == at // 2 * 3 else ""
        try:
            world.deliver()
        except BaseException as killed:
            assert type(killed).__name__ == "Killed"
        else:
            break
        world.kill = None
        receipt = world.deliver()
        assert receipt.status == "confirmed"
        keys = world.rows("Suggestion_Tag_vod__c", "Behavio_Key__c")
        assert len(keys) == len(set(keys)) == 6
        assert len(world.rows("Product_Metrics_vod__c", "Id")) == 6
        number += 1
    assert number > 10


DELIVER = "import sys; from behavio.cli import main; main(['deliver', sys.argv[1], '--target', 'salesforce'])"


def test_a_process_killed_by_the_system_goes_on(tmp_path: Path) -> None:
    world = make(tmp_path, 40)
    with serving(world.emulator) as url:
        env = os.environ | {
            "SALESFORCE_URL": url,
            "SALESFORCE_CLIENT_ID": "behavio",
            "SALESFORCE_CLIENT_SECRET": "emulator",
        }
        command = [sys.executable, "-c", DELIVER, str(world.run)]
        one = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not world.rows("Suggestion_vod__c", "Id") and one.poll() is None:
            time.sleep(0.002)
        one.send_signal(signal.SIGKILL)
        one.communicate()
        assert not (world.run / "deliveries" / "salesforce" / "0001" / "receipt.json").exists()
        two = subprocess.run(command, env=env, capture_output=True, text=True)
        assert two.returncode == 0, two.stderr
    keys = world.rows("Suggestion_Tag_vod__c", "Behavio_Key__c")
    assert len(keys) == len(set(keys)) == 40
    assert sorted(p.name for p in (world.run / "deliveries" / "salesforce").iterdir()) == [".lock", "0001"]


@pytest.mark.parametrize("again", [False, True])
def test_a_job_left_by_a_killed_delivery_cannot_come_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    # killed while its job hangs, perhaps gone on with; the next run has other labels: the old job must never
    # write the old ones
    monkeypatch.setattr(salesforce, "SMALL", 2)
    world = make(tmp_path, 6)
    world.deliver()
    old = write_run(tmp_path / "old", 6, segments=lambda _: "Old", suggestions=[])

    def kill(number: int) -> str:
        closed = [j for j in world.emulator.jobs.all.values() if j.state == "UploadComplete" and not j.query]
        for job in closed:
            job.wait = 10**6
        return "before" if closed else ""

    world.kill = kill
    with pytest.raises(BaseException) as killed:
        world.deliver(old)
    assert killed.type is Killed
    world.kill = None
    if again:
        assert world.deliver(old).status == "confirmed"
    run = write_run(tmp_path / "later", 6, segments=lambda _: "Quick", suggestions=[])
    assert world.deliver(run).status == "confirmed"
    late_jobs(world)
    assert world.rows("Product_Metrics_vod__c", "Segment__c") == ["Quick"] * 6
