"""The mixture estimated on a local Spark: what this machine gives, to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from oracles_segments import planted
from test_engine_spark import LACKS, SMALL, on_cluster
from test_segments import hcp_log

from behavio.engine import spark_session
from behavio.engine.local import LocalEngine
from behavio.engine.spark import SparkEngine
from behavio.files import read_json
from behavio.job import job_from
from behavio.run import run
from behavio.segments import SemiMarkovMixture
from behavio.sequences import SequenceSet
from behavio.sources.cluster import read_text_times

pytestmark = [
    pytest.mark.skipif(bool(LACKS), reason=f"{LACKS}: the spark extra and Java 17 are needed"),
    pytest.mark.xdist_group("spark"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    found = spark_session.session(SMALL)
    yield found
    found.stop()


def written(sequences: SequenceSet, path: Path) -> None:
    """The log as a Parquet file that Spark reads."""
    pl.DataFrame(
        {
            "case_id": sequences.case_ids.gather(pl.Series(sequences.case_of_event)).cast(pl.String),
            "activity": [sequences.vocabulary.names[t] for t in sequences.tokens],
            "timestamp": pl.Series(np.asarray(sequences.times)).cast(pl.Datetime("us", "UTC")),
        }
    ).write_parquet(path)


def test_groups_estimated_on_spark_are_those_of_this_machine(spark: Any, tmp_path: Path) -> None:
    log, _ = planted("all", 160, 4)
    written(log, tmp_path / "log.parquet")
    engine = SparkEngine(spark, partitions=3, read=read_text_times)
    found = on_cluster(engine, tmp_path / "log.parquet")
    some = SequenceSet.from_log(found.log)
    model = SemiMarkovMixture(k=3, restarts=3, seed=5).fit(some.select(np.arange(0, 160, 2)))
    here, there = model.refined(LocalEngine(), some), model.refined(engine, found.whole)
    for name in ("shares_", "start_", "transitions_", "waits_"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-9, abs=1e-12)
    table = engine.run(there.labels(0.5, 3), found.whole).sort("case_id")
    label, strength = here.placed(some, 0.5, 3)
    assert table["case_id"].to_list() == some.case_ids.cast(pl.String).to_list()
    assert table["segment_id"].to_list() == label.tolist()
    assert table["strength"].to_numpy() == pytest.approx(strength, abs=2e-6)


def test_a_job_on_spark_labels_every_case_of_a_log_it_learned_a_sample_of(spark: Any, tmp_path: Path) -> None:
    log, _ = hcp_log(300)
    log.events.select("case_id", "activity", "timestamp").write_parquet(tmp_path / "log.parquet")
    table = {
        "engine": "spark",
        "source": {"log": {"path": "log.parquet"}},
        "log": {"sample_events": log.events.height // 2},
        "segments": {"k": 3, "restarts": 3, "subgroups": False},
    }
    run(job_from(table, name="far", base=tmp_path), tmp_path / "far")
    own = tmp_path / "far" / "segments"
    some, every = pl.read_parquet(own / "segments.parquet"), pl.read_parquet(own / "all_cases.parquet")
    assert some.height < every.height == 300
    facts = read_json(tmp_path / "far" / "manifest.json")["stages"]["segments"]["facts"]
    assert facts["all_cases"] == 300
    both = some.join(every, on="case_id", suffix="_all")
    assert both.height == some.height and (both["segment"] == both["segment_all"]).all()
