"""Tiny hand-made logs and strategies every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st

settings.register_profile("default", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("default")

os.environ["COLUMNS"] = "200"  # tables are as wide in every terminal, xdist's workers say 80
DATA = Path(os.environ.get("BEHAVIO_DATA", Path(__file__).parents[2] / "shared" / "data"))

traces = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7), min_size=1, max_size=8)


@pytest.fixture
def real_log() -> object:
    """Path of the events of one real log; skips where the logs are not on this machine."""

    def find(name: str) -> Path:
        path = DATA / name / "events.parquet"
        if not path.exists():
            pytest.skip(f"real log {name} is not in {DATA.name}/ (set BEHAVIO_DATA to its folder)")
        return path

    return find
