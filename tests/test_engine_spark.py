"""The same counts on a local Spark: real logs and hand-made ones give what this machine gives, to the row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import behavio.run.context
from behavio.engine import spark_rows, spark_session
from behavio.engine.spark import SparkEngine
from behavio.errors import JobError, LogError
from behavio.job import job_from
from behavio.journeys import directly_follows, variants
from behavio.journeys.whole import variants_of
from behavio.sequences import SequenceSet
from behavio.sources import LogInputs, LogSettings, SourceSettings, read
from behavio.sources.cluster import ClusterLog, read_cluster_log, read_text_times

LACKS = spark_session.missing()
pytestmark = [
    pytest.mark.skipif(bool(LACKS), reason=f"{LACKS}: the spark extra and Java 17 are needed"),
    pytest.mark.xdist_group("spark"),  # one Java process for all of them
]
ROUNDED = "std_s"
"""The only number that depends on the order of adding up, in its last digits."""
SMALL = {
    "spark.master": "local[2]",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    found = spark_session.session(SMALL)
    yield found
    found.stop()


@pytest.fixture
def engine(spark: Any) -> SparkEngine:
    return SparkEngine(spark, partitions=2, read=read_text_times)


def on_cluster(engine: SparkEngine, path: Path, most: int = 2_000_000, **settings: Any) -> ClusterLog:
    source = {"log": SourceSettings(path=str(path), **settings)}
    return read_cluster_log(LogInputs(source, Path(), log=LogSettings(sample_events=most)), engine)


def tables(sequences: SequenceSet, **where: Any) -> list[pl.DataFrame]:
    """Edges, activities and variants, counted locally or where `engine` and `whole` say."""
    whole = where.get("whole")
    graph = directly_follows(sequences if whole is None else whole, where.get("engine"))
    found = variants(sequences) if whole is None else variants_of(whole, where["engine"], sequences)
    return [graph.edges, graph.activities, found.to_frame()]


def same(engine: SparkEngine, found: ClusterLog, path: Path, **settings: Any) -> None:
    """The log, and the counts over it, are those of this machine."""
    local = read(path, **settings)
    assert_frame_equal(found.log.events.drop("source"), local.events.drop("source"))
    assert_frame_equal(found.log.rejected.drop("source"), local.rejected.drop("source"))
    here = SequenceSet.from_log(local).marked()
    assert found.whole.vocabulary == here.vocabulary and found.whole.timed == local.timed
    for ours, theirs in zip(tables(here, engine=engine, whole=found.whole), tables(here), strict=True):
        assert_frame_equal(
            ours.drop(ROUNDED, strict=False), theirs.drop(ROUNDED, strict=False), check_exact=True
        )
        assert_frame_equal(ours, theirs, rel_tol=1e-9)


@pytest.mark.parametrize("name", ["bpic2012", "open_payments_iowa", "sepsis", "msnbc323"])
def test_real_logs_give_the_same_tables(
    name: str, engine: SparkEngine, real_log: Callable[[str], Path]
) -> None:
    path = real_log(name)
    found = on_cluster(engine, path)
    assert found.sample is None and found.n_cases == found.log.n_cases
    same(engine, found, path)


@pytest.mark.parametrize("partitions", [1, 5])
def test_the_number_of_partitions_and_shards_changes_nothing(
    partitions: int, spark: Any, real_log: Callable[[str], Path]
) -> None:
    path = real_log("sepsis")
    many = SparkEngine(spark, partitions=partitions, parts=3, shard_events=700, read=read_text_times)
    same(many, on_cluster(many, path), path)


def ties(folder: Path) -> Path:
    """Two files whose names say their order, every kind of row that is refused, ties in time, repeats."""
    noon = datetime(2024, 3, 1, 12)
    hour = timedelta(hours=1)
    first = {
        "case": ["a", "a", " a", "b", "", None, "c", "c", "d", "\u2003", "a"],
        "activity": ["z", "y", "x ", "y", "y", "y", None, "y", "a\x00b", "y", "z"],
        "time": [noon, noon, noon, noon + hour, noon, noon, noon, None, noon, noon, noon],
        "note": list("12345678901"),
    }
    second = {
        "case": ["a", "b", "b", "e" * 1_001, "f"],
        "activity": ["w", "y", "y", "y", "n" * 1_001],
        "time": [noon, noon, noon + hour, noon, noon],
        "note": ["1", "2", "4", None, ""],
    }
    folder.mkdir()
    pl.DataFrame(second).write_parquet(folder / "b 2+é.parquet")
    pl.DataFrame(first).write_parquet(folder / "a%201.parquet")
    return folder


def test_ties_blanks_and_refused_rows_by_hand(engine: SparkEngine, tmp_path: Path) -> None:
    path = ties(tmp_path / "in two parts")
    found = on_cluster(engine, path)
    same(engine, found, path)
    whole = found.log.events.group_by("case_id", maintain_order=True).agg("activity").rows()
    assert whole == [
        ("a", ["z", "y", "x", "z", "w"]),
        ("b", ["y", "y", "y"]),
    ]  # files in order, rows in order
    assert (found.whole.n_events, found.n_rejected) == (8, 8)
    counts = engine.cases(found.whole)
    assert counts == (
        2,
        8,
        {0: 2},
    )  # a, z at 12:00 with note 1 twice; b, y at 13:00 with note 4 in both files


def test_a_sample_is_of_whole_cases_and_everything_is_counted(engine: SparkEngine, tmp_path: Path) -> None:
    path = ties(tmp_path / "log")
    found = on_cluster(engine, path, most=4)  # md5 starts 0cc1… for a (kept), 92eb… for b
    assert found.sample is not None and (found.log.n_events, found.log.n_cases) == (5, 1)
    assert (found.whole.n_events, found.n_cases, found.n_rejected) == (8, 2, 8)
    count = found.log.sources[0]
    assert (count.read, count.accepted, count.rejected, count.merged, count.repeats) == (16, 8, 8, 0, 2)
    local = read(path)
    assert local.sources[0].repeats == 2
    columns = ["file", "row", "column", "reason", "hint"]
    theirs = local.rejected.select(columns).sort("file", "row")
    assert_frame_equal(found.log.rejected.select(columns).sort("file", "row"), theirs)
    first = json.loads(found.log.rejected["raw"][0])
    assert first["case"] == "" and first["note"] == "5"
    for name, table in found.log.events.group_by("case_id"):
        assert table.height == local.events.filter(pl.col("case_id") == name[0]).height


def test_repeats_are_merged_where_the_job_says_so(engine: SparkEngine, tmp_path: Path) -> None:
    path = ties(tmp_path / "log")
    found = on_cluster(engine, path, most=4, repeats="merge")
    count = found.log.sources[0]
    assert (count.read, count.accepted, count.merged, found.whole.n_events) == (16, 6, 2, 6)
    merged = SequenceSet.from_log(read(path, repeats="merge")).marked()
    graph = directly_follows(found.whole, engine)
    assert_frame_equal(graph.edges, directly_follows(merged).edges)


@pytest.mark.parametrize(
    ("cells", "settings"),
    [
        ([date(2024, 3, 31), None, date(2024, 10, 27)], {"timezone": "Europe/Berlin"}),
        (
            [datetime(2024, 3, 31, 2, 30), datetime(2024, 10, 27, 2, 30), datetime(1850, 1, 1)],
            {"timezone": "Europe/Berlin"},
        ),
        ([1_700_000_000, 1_700_000_001, -5], {}),
        ([1_700_000_000_123, None, 1], {}),
        ([1_700_000_000.25, float("nan"), 1.5e9], {}),
        (["2024-01-02", "2024-01-02 10:00+02:00", "soon"], {"timezone": "Asia/Kolkata"}),
        (["31.12.2023", "1.1.2024", " "], {"timestamp_format": "%d.%m.%Y"}),
    ],
    ids=["dates", "skipped and doubled hours", "seconds", "milliseconds", "floats", "texts", "named form"],
)
def test_times_are_read_as_they_are_locally(
    cells: list[Any], settings: dict[str, Any], engine: SparkEngine, tmp_path: Path
) -> None:
    frame = pl.DataFrame({"case": [1, 2, 3], "event": ["x", "y", "z"], "time": cells}, strict=False)
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    rows = spark_rows.checked(engine.spark, on_cluster(engine, path, **settings).whole, engine.read)
    found = {r["case"]: r["micros"] for r in rows.collect() if r["reason"] is None}
    events = read(path, **settings).events
    theirs = dict(zip(events["case_id"], events["timestamp"].dt.epoch("us"), strict=True))
    assert found == theirs and len(found) > 0


def test_templates_renames_number_ids_and_order(engine: SparkEngine, tmp_path: Path) -> None:
    day = datetime(2024, 1, 1)
    frame = pl.DataFrame(
        {"id": [1.0, 1.0, 2.0, 1.0], "what": ["call", "call", None, "mail"], "who": ["x", " ", "y", "z"]}
    ).with_columns(time=pl.lit(day), seq=pl.Series([3, 2, 1, None]))
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    settings: dict[str, Any] = {"activity": "{what}: {who}", "order": "seq"}
    settings |= {"values": {"activity": {"call: x": "first"}}}
    found = on_cluster(engine, path, **settings)
    same(engine, found, path, **settings)
    assert found.whole.vocabulary.activities == ("(none): y", "call: (none)", "first", "mail: z")


def test_spark_strips_what_polars_strips() -> None:
    every = [chr(c) for c in range(1, 0x3100) if not 0xD800 <= c < 0xE000]
    stripped = pl.Series(every).str.strip_chars() == ""
    assert "".join(pl.Series(every).filter(stripped)) == "".join(sorted(spark_rows.BLANKS))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch, engine: SparkEngine) -> None:
    """Runs take the session of this module."""
    monkeypatch.setattr(behavio.run.context, "SparkEngine", lambda read: engine)


@pytest.mark.usefixtures("fast")
def test_a_job_differs_in_one_word_only(tmp_path: Path, real_log: Callable[[str], Path]) -> None:
    table: dict[str, Any] = {"source": {"log": {"path": str(real_log("sepsis"))}}}
    table |= {"journeys": {"process_model": False}}
    for engine in ("local", "spark"):
        job = job_from(table | {"engine": engine}, name="job", base=tmp_path)
        behavio.run.run(job, tmp_path / engine)
    ours, theirs = (outputs(tmp_path / e) for e in ("spark", "local"))
    differ = {name for name in ours | theirs if ours.get(name) != theirs.get(name)}
    rounded = {f"journeys/{name}.parquet" for name in ("graph", "waiting", "eventually")}
    assert differ <= {"log/readiness.json", "log/spark.json"} | rounded  # means and deviations, last digits
    for name in rounded & differ:
        assert_frame_equal(*(pl.read_parquet(tmp_path / e / name) for e in ("spark", "local")), rel_tol=1e-9)
    ends = pl.read_parquet(tmp_path / "spark/journeys/activities.parquet")["ends"]
    assert 0 < ends.sum() < 1_050  # open cases have no end
    ours, theirs = (json.loads((tmp_path / e / "log/readiness.json").read_text()) for e in ("spark", "local"))
    assert ours == theirs | {"engine": "spark"}
    again = behavio.run.run(job, tmp_path / "spark")
    assert again.reused == ("log", "journeys", "card")


def outputs(folder: Path) -> dict[str, str]:
    """Hash of every file the stages of a run wrote."""
    stages = behavio.run.read_manifest(folder)["stages"]
    return {f"{s}/{n}": h for s, record in stages.items() for n, h in record["outputs"].items()}


@pytest.mark.usefixtures("fast")
def test_a_larger_log_is_counted_whole_and_learnt_from_in_part(
    tmp_path: Path, real_log: Callable[[str], Path]
) -> None:
    path = real_log("sepsis")
    table: dict[str, Any] = {"source": {"log": {"path": str(path)}}, "engine": "spark"}
    table |= {"log": {"sample_events": 5_000, "open_within": "30d"}, "journeys": {"process_model": False}}
    result = behavio.run.run(job_from(table, name="job", base=tmp_path), tmp_path / "out")
    local = read(path)
    here = SequenceSet.from_log(local).marked(open_within="30d")
    edges, activities, listed = tables(here)
    assert_frame_equal(result.table("journeys/graph.parquet"), edges)
    assert_frame_equal(result.table("journeys/activities.parquet"), activities)
    assert_frame_equal(result.table("journeys/variants.parquet"), listed.head(1_000))
    facts = json.loads((tmp_path / "out/log/readiness.json").read_text())
    assert (facts["n_events"], facts["n_cases"]) == (local.n_events, local.n_cases)
    encoded = SequenceSet.read(tmp_path / "out/log/encoded")
    assert encoded.n_events == facts["sample"]["n_events"] and 3_000 < encoded.n_events < 7_000
    assert encoded.vocabulary == here.vocabulary
    assert "sample" in facts["notes"][0] and result.manifest["stages"]["log"]["facts"]["sample"]
    ranks = result.table("journeys/cases.parquet")
    theirs = pl.DataFrame({"case_id": here.case_ids, "variant_rank": variants(here).of_case + 1})
    assert_frame_equal(ranks.select("case_id", "variant_rank"), theirs.join(ranks, "case_id", "semi"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "xes"}, "kind 'xes'"),
        ({"format": "csv"}, "format"),
        ({"timezone": "Europe/Berlim"}, "Europe/Berlim"),
    ],
)
def test_what_only_a_local_log_can_be_is_refused(
    settings: dict[str, str], said: str, engine: SparkEngine, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match=said) as wrong:
        on_cluster(engine, tmp_path / "x.parquet", **settings)
    assert wrong.value.hint


def test_people_who_may_not_enter_are_never_counted(engine: SparkEngine, tmp_path: Path) -> None:
    path = ties(tmp_path / "log")
    (tmp_path / "out.txt").write_text("a\n")
    source = {"log": SourceSettings(path=str(path))}
    for more in ({"salt": "s", "erased": frozenset({"0" * 64})}, {}):
        settings = LogSettings(exclude=None if more else "out.txt")
        with pytest.raises(JobError, match="may not enter") as wrong:
            read_cluster_log(LogInputs(source, tmp_path, log=settings), engine, **more)  # type: ignore[arg-type]
        assert 'engine = "local"' in str(wrong.value)


def test_files_that_cannot_be_read_are_one_sentence(engine: SparkEngine, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("case,activity\n")
    (tmp_path / "empty").mkdir()
    cases = {"nothing.parquet": "is not there", "text.parquet": "is no Parquet", "empty": "no Parquet file"}
    for name, said in cases.items():
        with pytest.raises(LogError, match=said) as wrong:
            on_cluster(engine, tmp_path / name)
        assert wrong.value.hint and "\n" not in str(wrong.value) and "java" not in str(wrong.value)


def test_texts_that_the_whole_column_would_decide_are_asked_for(engine: SparkEngine, tmp_path: Path) -> None:
    times = ["2024-01-02", "03/04/2024"]
    frame = pl.DataFrame({"case": ["a", "b"], "event": ["x", "y"], "time": times})
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(LogError, match="03/04/2024") as wrong:
        on_cluster(engine, tmp_path / "t.parquet")
    assert "timestamp_format" in wrong.value.hint


def test_a_log_without_any_event_says_why(engine: SparkEngine, tmp_path: Path) -> None:
    frame = pl.DataFrame({"case": [None, ""], "event": ["x", "y"], "time": [datetime(2024, 1, 1)] * 2})
    frame.with_columns(pl.col("case").cast(pl.String)).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(LogError, match="no row could become an event") as wrong:
        on_cluster(engine, tmp_path / "t.parquet")
    assert "2 × the case id is empty (column case)" in wrong.value.hint


def test_without_java_or_pyspark_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for lacks, hint in (("there is no Java", "Java 17"), ("pyspark is not installed", "behavio[spark]")):
        monkeypatch.setattr(spark_session, "missing", lambda lacks=lacks: lacks)
        with pytest.raises(JobError, match=lacks) as wrong:
            spark_session.session()
        assert hint in wrong.value.hint and 'engine = "local"' in wrong.value.hint


def test_the_terminal_shows_nothing_of_java(tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text('engine = "spark"\n[source.log]\npath = "nothing.parquet"\n[journeys]\n')
    (tmp_path / "nothing.parquet").write_text("no table")
    command = [sys.executable, "-m", "behavio", "run", str(job), "--out", str(tmp_path / "out")]
    quick = os.environ | {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quick)
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("error:") :]
    assert "nothing.parquet is no Parquet file" in told and "hint:" in told
    for noise in ("WARN", "ERROR", "Traceback", "java", "Exception"):
        assert noise not in done.stderr
