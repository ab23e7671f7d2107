"""Every count: shards join to the answer of the whole, in any grouping; parts of an answer stay apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio.engine import Count
from behavio.engine.local import LocalEngine
from behavio.engine.spark_log import SparkLog, SparkSource, placed, sampled
from behavio.errors import LogError
from behavio.journeys import DIRECTLY_FOLLOWS, VARIANTS
from behavio.journeys.follows import finish
from behavio.journeys.whole import TIMED_VARIANTS, TimedTally
from behavio.segments.statistics import edge_count
from behavio.segments.views import View
from behavio.sequences import SequenceSet
from tests.conftest import traces


def graph_of(answer: Any, log: SequenceSet) -> Any:
    """Both tables of the graph, comparable."""
    found = finish(answer, log.vocabulary)
    return found.edges.rows(), found.activities.rows()


def variants_of(answer: TimedTally, log: SequenceSet) -> Any:
    """Activities → cases and durations, whatever the order and wherever they were settled."""
    found, kept = {}, answer.variants
    of_case = np.concatenate([np.zeros(0, dtype=np.int64), *kept.of_case])
    for i, n in enumerate(kept.cases.tolist()):
        trace = tuple(kept.tokens[kept.offsets[i] : kept.offsets[i + 1]].tolist())
        if answer.median_s is None:
            found[trace] = (n, float(np.median(answer.durations[of_case == i])) / 1e6)
        else:
            found[trace] = (n, float(answer.median_s[i]))
    return found


def edges_of(answer: Any, log: SequenceSet) -> Any:
    """Edge keys and how often they occur."""
    return answer.keys.tolist(), answer.n.tolist()


def plain_view(log: SequenceSet) -> View:
    """Events as they follow each other, nothing given."""
    n = len(log.vocabulary)
    return View.of("events", log, np.arange(n, dtype=np.int32), np.zeros(n, bool))


COUNTS: dict[str, tuple[Callable[[SequenceSet], Count[Any]], Callable[[Any, SequenceSet], Any]]] = {
    "graph": (lambda log: DIRECTLY_FOLLOWS, graph_of),
    "variants": (lambda log: TIMED_VARIANTS, variants_of),
    "edges of segments": (lambda log: edge_count(plain_view(log)), edges_of),
}


@pytest.mark.parametrize("name", COUNTS)
@given(made=traces, n=st.integers(1, 8))
def test_shards_join_to_the_whole_in_any_grouping(name: str, made: list[list[str]], n: int) -> None:
    log = SequenceSet.from_traces(made)
    count, shown = COUNTS[name][0](log), COUNTS[name][1]
    parts = [count.of(shard) for shard in log.shards(n)]
    whole = shown(count.of(log), log)
    assert shown(reduce(count.merge, parts), log) == whole
    assert shown(reduce(lambda right, left: count.merge(left, right), reversed(parts)), log) == whole


@pytest.mark.parametrize("name", [n for n in COUNTS if COUNTS[n][0](SequenceSet.from_traces([["a"]])).split])
@given(made=traces, n=st.integers(1, 4), parts=st.integers(1, 5))
def test_parts_merged_apart_and_settled_give_the_whole(
    name: str, made: list[list[str]], n: int, parts: int
) -> None:
    log = SequenceSet.from_traces(made)
    count, shown = COUNTS[name][0](log), COUNTS[name][1]
    assert count.split is not None and count.settle is not None
    cut = [count.split(count.of(shard), parts) for shard in log.shards(n)]
    merged = [reduce(count.merge, same) for same in zip(*cut, strict=True)]
    whole = shown(count.of(log), log)
    assert shown(reduce(count.merge, merged), log) == whole
    assert shown(reduce(count.merge, [count.settle(m) for m in merged]), log) == whole


@pytest.mark.parametrize("name", COUNTS)
def test_the_local_engine_gives_one_answer_for_1_3_and_8_shards(name: str) -> None:
    rng = np.random.default_rng(3)
    made = [rng.choice(list("abcde"), rng.integers(1, 30)).tolist() for _ in range(8_000)]
    log = SequenceSet.from_traces(made)
    assert log.n_events > 100_000
    count, shown = COUNTS[name][0](log), COUNTS[name][1]
    first, *others = [shown(LocalEngine(n_shards=n).run(count, log), log) for n in (1, 3, 8)]
    assert first and others == [first, first]


def test_the_local_engine_refuses_a_log_that_is_elsewhere() -> None:
    log = SparkLog((SparkSource("log", "s3a://bucket/log", "case", "activity", "time"),))
    with pytest.raises(LogError, match="not on this machine"):
        LocalEngine().run(VARIANTS, log)


def test_the_description_of_a_log_on_a_cluster_comes_back_as_it_was(tmp_path: Any) -> None:
    near = SparkSource("near", placed("events", tmp_path), "c", "{a}: {b}", "t", renames=(("x", "y"),))
    far = SparkSource("far", placed("s3a://bucket/x y", tmp_path), "c", "a", None, "n", compare=("b",))
    vocabulary = SequenceSet.from_traces([["b", "a"]]).vocabulary
    log = SparkLog((near, far), vocabulary, False, 12)
    log.write(tmp_path / "spark.json", tmp_path)
    assert SparkLog.read(tmp_path / "spark.json", tmp_path) == log
    assert str(tmp_path) not in (tmp_path / "spark.json").read_text()


def test_a_sample_of_cases_has_about_the_share_asked_for() -> None:
    cases = pl.Series([f"case {i}" for i in range(20_000)])
    chosen = sampled(cases, 2**32 // 4)
    assert 0.24 < chosen.mean() < 0.26  # type: ignore[operator]
    assert sampled(cases, 2**32).all() and not sampled(cases, 0).any()


def test_exact_answers_are_the_same_however_many_threads_cut_the_log() -> None:
    rng = np.random.default_rng(4)
    log = SequenceSet.from_traces([["abcde"[k] for k in rng.integers(0, 5, 60)] for _ in range(2_000)])
    assert log.n_events > 100_000 and DIRECTLY_FOLLOWS.exact
    one, many = (graph_of(LocalEngine(threads=n).run(DIRECTLY_FOLLOWS, log), log) for n in (1, 5))
    assert one == many == graph_of(DIRECTLY_FOLLOWS.of(log), log)
    assert log.shards(1)[0] is log
