"""Whether vectors of cases know of order: planted order is found, where there is none it is said."""

from __future__ import annotations

import numpy as np

from behavio.models import ModelSettings, evaluate
from behavio.models.base import later_slice
from behavio.models.order import named_right, order_in_words, order_told, shares, shuffled
from behavio.sequences import SequenceSet

DAY = 86_400


def log_of(traces: list[list[str]]) -> SequenceSet:
    """Every case has one event a day, all in the same days."""
    return SequenceSet.from_traces(traces, [[k * DAY for k in range(len(t))] for t in traces])


def firsts(log: SequenceSet) -> np.ndarray:
    """A representation that knows order alone: the first activity of each case."""
    return np.eye(len(log.vocabulary))[log.tokens[log.offsets[:-1]]]


def test_order_is_found_where_it_is() -> None:
    # what comes last repeats what came first; the bag of activities is the same in every case
    traces = [[*("abcd" if i % 2 else "dcba"), "a" if i % 2 else "d"] for i in range(400)]
    split = later_slice(log_of(traces), 0.2)
    told = order_told(split, firsts, 7)
    assert told["n"] == 200 and told["vectors"] == 1.0
    assert told["shares"] < 0.6 and told["commonest"] < 0.6  # every second one by luck
    assert told["shuffled"] < 0.65
    assert order_in_words(told)[0].endswith("order is in them.")


def test_where_there_is_none_it_is_said() -> None:
    random = np.random.default_rng(3)
    split = later_slice(log_of([list(random.choice(list("abcd"), 6)) for _ in range(400)]), 0.2)
    told = order_told(split, shares, 7)
    assert told["vectors"] == told["shuffled"] == told["shares"]  # shares know no order
    assert order_in_words(told)[0].endswith("order carries nothing there.")


def test_too_few_cases_tell_nothing() -> None:
    split = later_slice(log_of([list("abcde")] * 30), 0.2)
    assert order_told(split, shares, 7) is None and order_in_words(None) == []


def test_shuffling_keeps_each_case() -> None:
    log = log_of([list("aabc"), list("dd"), list("cba")])
    other = shuffled(log, 1)
    for case in range(3):
        low, high = log.offsets[case], log.offsets[case + 1]
        assert sorted(log.tokens[low:high]) == sorted(other.tokens[low:high])
    assert (shuffled(log, 1).tokens == other.tokens).all() and (other.tokens != log.tokens).any()
    np.testing.assert_allclose(shares(log)[0, 2:], [0.5, 0.25, 0.25, 0])


def test_a_linear_rule_by_hand() -> None:
    table, truth = np.array([[1.0], [-1.0]] * 20), np.array([3, 2] * 20)
    assert named_right(table, truth, np.arange(40) < 20) == 1.0
    # knows the commonest alone: 3, in 11 of 21; of the other 19 nine are
    assert named_right(np.zeros((40, 1)), truth, np.arange(40) < 21) == 9 / 19


def test_it_stands_in_the_metrics() -> None:
    random = np.random.default_rng(5)
    traces = [list(random.choice(list("abcd"), 8)) for _ in range(300)]
    metrics = evaluate(log_of(traces), ModelSettings(kind="ngram", dimensions=4))
    assert set(metrics["vectors"]) == {"n", "vectors", "shuffled", "shares", "commonest"}
    assert any(note.startswith("Vectors of cases") for note in metrics["notes"])
