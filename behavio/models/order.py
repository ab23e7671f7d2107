"""Do vectors of cases know anything of order? Told by vectors learnt from the same events shuffled.

Each case is known up to one cut in time; its vector has to name the first activity after the cut. Half of
the cases teach a linear rule, the other half is asked. Vectors that do as well on shuffled events hold what
a case did, not in which order; vectors that do no better than shares of activities hold no more than those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from behavio.models.base import Split
from behavio.sequences import SequenceSet

FEWEST = 100
"""Cases that go on after the cut, below which nothing is told."""
MOST = 20_000
"""Cases asked."""
RIDGE = 1e-2
Embed = Callable[[SequenceSet], np.ndarray]


def order_told(split: Split, embed: Embed, seed: int) -> dict[str, Any] | None:
    """n, and accuracy of "vectors", of vectors of "shuffled" events, of "shares" and of the "commonest".

    embed  learns vectors from a log and gives those of its cases, float32 (n_cases, d)
    """
    if split.cut is None:
        return None
    whole, known = split.sequences, split.sequences.until(split.cut)
    place = np.flatnonzero(whole.case_ids.is_in(known.case_ids.implode()).to_numpy())
    ends = whole.offsets[:-1][place] + known.lengths
    goes_on = np.flatnonzero(ends < whole.offsets[1:][place])
    if len(goes_on) < FEWEST:
        return None
    random = np.random.default_rng(seed)
    goes_on = np.sort(random.permutation(goes_on)[:MOST])
    truth = np.asarray(whole.tokens)[ends[goes_on]]
    half = random.permutation(len(goes_on)) % 2 == 0
    told: dict[str, Any] = {"n": int((~half).sum())}
    for name, table in (
        ("vectors", embed(known)),
        ("shuffled", embed(shuffled(known, seed))),
        ("shares", shares(known)),
        ("commonest", np.zeros((known.n_cases, 1))),
    ):
        told[name] = named_right(table[goes_on].astype(np.float64), truth, half)
    return told


def shuffled(sequences: SequenceSet, seed: int) -> SequenceSet:
    """The same events of each case in random order; times and attributes stay where they were."""
    order = np.lexsort((np.random.default_rng(seed).random(sequences.n_events), sequences.case_of_event))
    return replace(sequences, tokens=np.asarray(sequences.tokens)[order])


def shares(sequences: SequenceSet) -> np.ndarray:
    """float64 (n_cases, n_vocabulary): share of each activity in the case."""
    counts = np.zeros((sequences.n_cases, len(sequences.vocabulary)))
    np.add.at(counts, (sequences.case_of_event, np.asarray(sequences.tokens)), 1.0)
    return counts / counts.sum(axis=1, keepdims=True)


def named_right(table: np.ndarray, truth: np.ndarray, learn: np.ndarray) -> float:
    """Accuracy on the cases that do not `learn` of a ridge regression of what came on the table's columns."""
    spread = table[learn].std(axis=0)
    x = (table - table[learn].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    came = np.zeros((len(truth), int(truth.max()) + 1))
    came[np.arange(len(truth)), truth] = 1.0
    root = x[learn].T @ x[learn] + RIDGE * learn.sum() * np.eye(x.shape[1])
    said = (x[~learn] @ np.linalg.solve(root, x[learn].T @ came[learn])).argmax(axis=1)
    return float((said == truth[~learn]).mean())


def order_in_words(told: dict[str, Any] | None) -> list[str]:
    """What a reader should know of it, in a sentence."""
    if told is None:
        return []
    right = {name: f"{told[name] * 100:.1f} %" for name in ("vectors", "shuffled", "shares")}
    noise = 2 * np.sqrt(max(told["vectors"] * (1 - told["vectors"]), 1e-9) / told["n"])
    verdict = (
        "order is in them" if told["vectors"] - told["shuffled"] > noise else "order carries nothing there"
    )
    return [
        f"Vectors of cases name the first activity after the cut right in {right['vectors']} of "
        f"{told['n']:,} cases, learnt from shuffled events in {right['shuffled']}, plain shares of "
        f"activities in {right['shares']}: {verdict}."
    ]
