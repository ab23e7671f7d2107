"""Simulated logs whose groups differ in one thing only, with the truth: what a method can and cannot see.

mix        how often each activity happens            stages    the hidden stages a case goes through
order      which activity follows which               campaign  whom a case answers to, and how soon
time       how long steps take                        none      no groups at all
all        mildly in mix, order and time

Every group has the same number of cases on average. In `order`, `time`, `stages` and `campaign` every
activity is equally frequent in every group, but for chance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from behavio.sequences import Field, SequenceSet, Vocabulary

REGIMES = ("mix", "order", "time", "all", "stages", "campaign", "none")
GROUPS = 4
DAY_S = 86_400


def simulated(
    regime: str, n_cases: int, seed: int, groups: int = GROUPS, size: int = 20
) -> tuple[SequenceSet, np.ndarray]:
    """A log of `n_cases` and the group of each case, int64 (n_cases,)."""
    rng = np.random.default_rng(seed)
    if regime == "stages":
        return _stages(n_cases, rng, size)
    if regime == "campaign":
        return _campaign(n_cases, rng, size)
    return _chains(regime, n_cases, rng, groups, size)


def _chains(
    regime: str, n_cases: int, rng: np.random.Generator, groups: int, size: int
) -> tuple[SequenceSet, np.ndarray]:
    """First-order chains with log-normal gaps (days), 15–80 events."""
    base = rng.dirichlet(np.full(size, 0.5), size=size)
    chains = [base] * groups
    if regime == "mix":
        chains = [0.6 * base + 0.4 * rng.dirichlet(np.full(size, 0.3))[None] for _ in range(groups)]
    elif regime == "order":
        chains = [_permutations(rng, size) for _ in range(groups)]
    elif regime == "all":
        chains = [0.8 * base + 0.2 * rng.dirichlet(np.full(size, 0.3), size=size) for _ in range(groups)]
    means = {"time": (0.0, 0.35, 0.0, 0.35), "all": (0.0, 0.2, 0.4, 0.6)}.get(regime, (0.0,))
    spreads = {"time": (0.6, 0.6, 1.1, 1.1), "all": (0.8, 0.8, 1.0, 1.0)}.get(regime, (0.8,))
    truth = rng.integers(0, groups, n_cases)
    traces, times = [], []
    for g in truth:
        length = int(rng.integers(15, 81))
        traces.append(_walk(np.cumsum(chains[g], axis=1), length, rng))
        gaps = np.exp(rng.normal(means[g % len(means)], spreads[g % len(spreads)], length))
        times.append(np.cumsum(gaps))
    return _log(traces, times), truth


def _permutations(rng: np.random.Generator, size: int) -> np.ndarray:
    """A chain that leaves every activity equally frequent: sums of permutations."""
    steps = np.full((size, size), 0.7 / size)
    for _ in range(3):
        steps[np.arange(size), rng.permutation(size)] += 0.1
    return np.asarray(steps / steps.sum(axis=1, keepdims=True))


def _walk(cumulated: np.ndarray, length: int, rng: np.random.Generator) -> list[int]:
    at = int(rng.integers(len(cumulated)))
    trace = [at]
    for draw in rng.random(length - 1):
        at = min(len(cumulated) - 1, int(np.searchsorted(cumulated[at], draw)))
        trace.append(at)
    return trace


def _stages(n_cases: int, rng: np.random.Generator, size: int) -> tuple[SequenceSet, np.ndarray]:
    """Three hidden stages, each with habits of its own; groups go through them up, down, round or back.

    Each stage takes a third of the case on average, cut at random; so over a whole case every group does
    the same things equally often, and nearly the same things after one another.
    """
    habits = [0.5 * rng.dirichlet(np.full(size, 0.4))[None] + 0.5 / size for _ in range(3)]
    ways = ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1))
    truth = rng.integers(0, len(ways), n_cases)
    traces, times = [], []
    for g in truth:
        length = int(rng.integers(15, 81))
        parts = rng.multinomial(length, rng.dirichlet(np.full(3, 8.0)))
        trace = [
            int(a) for s, n in zip(ways[g], parts, strict=True) for a in rng.choice(size, n, p=habits[s][0])
        ]
        traces.append(trace)
        times.append(np.cumsum(np.exp(rng.normal(0.0, 0.8, length))))
    return _log(traces, times), truth


def _campaign(n_cases: int, rng: np.random.Generator, size: int) -> tuple[SequenceSet, np.ndarray]:
    """Two campaigns reach everybody alike; groups answer the one or the other, at once or late, or neither.

    Who answers neither does the very same things as often, at moments of its own.
    """
    truth = rng.integers(0, GROUPS, n_cases)
    browse = [f"browse{i:02d}" for i in range(size - 4)]
    rows, moments = [], []
    for g in truth:
        span = float(rng.uniform(120, 360))
        events = [(float(t), str(rng.choice(browse))) for t in rng.uniform(0, span, rng.poisson(span / 12))]
        sent = [
            (float(t), f"campaign_{'ab'[i % 2]}")
            for i, t in enumerate(np.sort(rng.uniform(0, span, int(span / 12))))
        ]
        for t, name in sent:
            answers = {0: name == "campaign_a", 1: name == "campaign_b", 2: name == "campaign_a"}.get(int(g))
            if rng.random() < 0.6 and answers:
                delay = np.exp(rng.normal(np.log(6.0 if g == 2 else 0.6), 0.6))
                events.append((t + float(delay), f"answer_{'xy'[int(rng.integers(2))]}"))
            elif answers is None and rng.random() < 0.3:
                events.append((float(rng.uniform(0, span)), f"answer_{'xy'[int(rng.integers(2))]}"))
        whole = sorted(events + sent)
        rows.append([a for _, a in whole])
        moments.append(np.array([t for t, _ in whole]))
    log = _named(rows, moments)
    out = np.array([n.startswith("campaign") for n in log.vocabulary.names])
    direction = Vocabulary.of(["outbound", "inbound"])
    codes = np.where(out[log.tokens], direction.id("outbound"), direction.id("inbound")).astype(np.int32)
    return replace(log, fields={"direction": Field(codes, direction)}), truth


def _log(traces: list[list[int]], times: list[np.ndarray]) -> SequenceSet:
    return _named([[f"act{a:02d}" for a in t] for t in traces], times)


def _named(traces: list[list[str]], days: list[np.ndarray]) -> SequenceSet:
    return SequenceSet.from_traces(traces, [(d * DAY_S).astype(np.int64).tolist() for d in days])
