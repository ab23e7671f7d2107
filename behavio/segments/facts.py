"""What sets a segment apart from all other cases: shares, order, waits and reactions, with intervals.

Cases are independent, events of one case are not; so every estimate is a ratio of sums over cases and
its error is that of a ratio (linearised; Cochran, "Sampling techniques", 1977). How telling a fact is, is
measured in one unit for all kinds: the information it gives about one case of the segment
(Kullback–Leibler, nats per case).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from behavio.kernels.follows import pair_sums
from behavio.segments.fact import Fact, Ratio, fact
from behavio.segments.waits import median_waits
from behavio.sequences import UNKNOWN, SequenceSet

LOOKED_AT = 24
"""Activities whose order and waits are compared: the most frequent and the most unequal ones."""

MIN_CASES = 10
MIN_FOLLOWED = 0.05  # a step taken less often is no habit, however unequal
MIN_SHARE = 0.02
KEPT = 40  # candidates of one kind worked out in full


def facts_of(sequences: SequenceSet, label: np.ndarray, k: int, effective_length: int) -> list[list[Fact]]:
    """Telling facts of every segment, most telling first; label int (n_cases,), −1 belongs to none."""
    if len(np.unique(label[label >= 0])) < 2:
        return [[] for _ in range(k)]
    weight = np.minimum(1.0, effective_length / sequences.lengths)
    size = np.bincount(label[label >= 0], minlength=k)
    shares, odds = _shares(sequences, label, k)
    looked_at = _looked_at(sequences, shares)
    codes = np.full(len(sequences.vocabulary), -1)
    codes[looked_at] = np.arange(len(looked_at))
    codes = codes[sequences.tokens]
    names = [sequences.vocabulary.names[t] for t in looked_at]
    sums = pair_sums(
        codes,
        sequences.offsets,
        sequences.times,
        label.astype(np.int64),
        weight,
        floor_s(sequences),
        k,
        len(names),
    )
    slower = _tempo(sequences, label, k, weight) if sequences.timed else None
    found: list[list[Fact]] = []
    for g in range(k):
        if size[g] == 0:
            found.append([])
            continue
        mine = tuple(s[g] for s in sums)
        rest = tuple(s.sum(axis=0) - s[g] for s in sums)
        facts = [*shares[g], *_follows(mine, rest, names, odds[g][looked_at], int(size[g]))]
        facts += _reactions(sequences, label, g)
        if slower is not None:
            tempo, difference = slower[g]
            facts += tempo
            waits = list(_waits(mine, rest, names, int(size[g]), difference))
            facts += median_waits(waits, sequences, codes, names, label, g)
        found.append(sorted(_no_twins(facts), key=lambda f: (-f.telling, f.kind, f.what)))
    return found


def _shares(sequences: SequenceSet, label: np.ndarray, k: int) -> tuple[list[list[Fact]], np.ndarray]:
    """Share of each activity in a case's events, averaged over cases; and its odds ratio (k, n_tokens)."""
    n_tokens = len(sequences.vocabulary)
    cell, n = np.unique(sequences.case_of_event * n_tokens + sequences.tokens, return_counts=True)
    case, token = cell // n_tokens, cell % n_tokens
    kept = label[case] >= 0
    share = (n / sequences.lengths[case])[kept]
    place = label[case[kept]].astype(np.int64) * n_tokens + token[kept]

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, weights=values, minlength=k * n_tokens).reshape(k, n_tokens)

    x, xx, having = summed(share), summed(share**2), summed(np.ones(len(share)))
    size = np.bincount(label[label >= 0], minlength=k).astype(float)
    length = float(np.median(sequences.lengths))
    found: list[list[Fact]] = []
    odds = np.ones((k, n_tokens))
    for g in range(k):
        others = size.sum() - size[g]
        mine = Ratio.of(x[g], xx[g], x[g], size[g], size[g])
        rest = Ratio.of(x.sum(0) - x[g], xx.sum(0) - xx[g], x.sum(0) - x[g], others, others)
        odds[g] = _odds(mine.value) / _odds(rest.value)
        telling = length * _bernoulli(mine.value, rest.value)
        elsewhere = having.sum(axis=0) - having[g]
        many = np.maximum(having[g], elsewhere * size[g] / max(others, 1.0)) >= MIN_CASES
        told = many & (np.maximum(mine.value, rest.value) >= MIN_SHARE)
        facts = list(_each("share", mine, rest, telling * told, having[g], sequences))
        mine = Ratio.of(having[g], having[g], having[g], size[g], size[g])
        rest = Ratio.of(elsewhere, elsewhere, elsewhere, others, others)
        facts += _each("reach", mine, rest, _bernoulli(mine.value, rest.value) * many, having[g], sequences)
        found.append(facts)
    return found, odds


def _each(
    kind: str, mine: Ratio, rest: Ratio, telling: np.ndarray, n: np.ndarray, sequences: SequenceSet
) -> Iterator[Fact]:
    """Facts about single activities, the 40 most telling looked at."""
    for t in np.argsort(-telling, kind="stable")[:KEPT]:
        if t != UNKNOWN and telling[t] > 0:
            name = sequences.vocabulary.names[t]
            found = fact(kind, (name,), _at(mine, t), _at(rest, t), float(n[t]), float(telling[t]))
            if found is not None:
                yield found


def _looked_at(sequences: SequenceSet, shares: list[list[Fact]]) -> np.ndarray:
    """Tokens whose order is compared, ascending: half the most frequent, half the most unequal."""
    n = np.bincount(sequences.tokens, minlength=len(sequences.vocabulary))
    n[UNKNOWN] = 0
    chosen = {int(t) for t in np.argsort(-n, kind="stable")[: LOOKED_AT // 2] if n[t] > 0}
    ids = {name: t for t, name in enumerate(sequences.vocabulary.names)}
    unequal = sorted((f for facts in shares for f in facts), key=lambda f: (-f.telling, f.what))
    for one in unequal:
        if len(chosen) < LOOKED_AT:
            chosen.add(ids[one.what[0]])
    for t in np.argsort(-n, kind="stable"):
        if len(chosen) < LOOKED_AT and n[t] > 0:
            chosen.add(int(t))
    return np.array(sorted(chosen))


def _follows(
    mine: tuple[np.ndarray, ...], rest: tuple[np.ndarray, ...], names: list[str], odds: np.ndarray, size: int
) -> Iterator[Fact]:
    """What comes right after what, and what comes before it happens again."""
    for kind, block in (("order", 1), ("until", 2)):
        here, there = _follow_ratio(mine, block), _follow_ratio(rest, block)
        # b is more frequent everywhere in this segment: only what goes beyond that is about order
        expected = _odds(there.value) * odds[None, :]
        expected /= 1 + expected
        per_case = mine[0][:, :1] / size
        telling = per_case * np.minimum(_bernoulli(here.value, there.value), _bernoulli(here.value, expected))
        telling[np.sign(here.value - there.value) != np.sign(here.value - expected)] = 0.0
        if kind == "until":
            np.fill_diagonal(telling, 0.0)
            telling[_echo(mine) & (here.value > there.value)] = 0.0
        seen = np.minimum(mine[0][:, 2], rest[0][:, 2])[:, None] >= MIN_CASES
        large = np.maximum(here.value, there.value) >= MIN_FOLLOWED
        telling[~(seen & large)] = 0.0
        for a, b in _most(telling):
            n, what = mine[0][a, 2], (names[a], names[b])
            found = fact(kind, what, _at(here, (a, b)), _at(there, (a, b)), n, telling[a, b])
            if found is not None:
                yield found


def _echo(sums: tuple[np.ndarray, ...]) -> np.ndarray:
    """Where a follows right after b more often than b after a: b before the next a is then no news.

    Who visits the portal after each click also clicks between any two visits. Only the first is told.
    """
    directly = _follow_ratio(sums, 1).value
    return np.asarray(directly < directly.T)


def _follow_ratio(sums: tuple[np.ndarray, ...], block: int) -> Ratio:
    left, follow = sums[0], sums[block]
    shape = follow.shape[:2]
    y, yy = (np.broadcast_to(left[:, i, None], shape) for i in (0, 1))
    return Ratio.of(follow[..., 0], follow[..., 1], follow[..., 2], y, yy)


def _waits(
    mine: tuple[np.ndarray, ...], rest: tuple[np.ndarray, ...], names: list[str], size: int, slower: float
) -> Iterator[Fact]:
    """How long b takes after a; value and rest are geometric means here, medians come later."""
    here, there = mine[3], rest[3]
    mean, error = _log_mean(here)
    mean_there, error_there = _log_mean(there)
    n = here[..., 0]
    variance = np.maximum(here[..., 5] / np.maximum(n, 1e-9) - mean**2, 0.05)
    raw = mean - mean_there
    beyond = raw - slower
    telling = n / size * np.minimum(raw**2, beyond**2) / (2 * variance)
    few = np.minimum(here[..., 6], there[..., 6]) < MIN_CASES
    telling[(np.sign(raw) != np.sign(beyond)) | few] = 0.0
    for a, b in _most(telling):
        values = np.exp(mean[a, b]), np.exp(mean_there[a, b])
        found = fact(
            "gap",
            (names[a], names[b]),
            (values[0], error[a, b], n[a, b]),
            (values[1], error_there[a, b], there[a, b, 0]),
            here[a, b, 6],
            telling[a, b],
        )
        if found is not None:
            yield found


def _log_mean(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of log seconds and its error, from n, n², sum, sum², n·sum over cases."""
    n, nn, x, xx, nx = (sums[..., i] for i in range(5))
    mean = x / np.maximum(n, 1e-9)
    spread = np.maximum(xx - 2 * mean * nx + mean**2 * nn, 0.0)
    return mean, np.sqrt(spread) / np.maximum(n, 1e-9)


def floor_s(sequences: SequenceSet) -> float:
    """Shorter gaps count as this long (seconds): on a log scale ties would outweigh all else."""
    gaps = sequences.gaps_s
    real = gaps[gaps > 0]
    return max(float(np.median(real)) / 50, 1e-3) if len(real) else 1.0


def _tempo(
    sequences: SequenceSet, label: np.ndarray, k: int, weight: np.ndarray
) -> list[tuple[list[Fact], float]]:
    """Time between any two events of a case; and the difference of its logarithm to the rest."""
    gaps, case = sequences.gaps_s, sequences.case_of_event
    later = np.ones(sequences.n_events, bool)
    later[sequences.offsets[:-1]] = False
    later &= label[case] >= 0
    gaps, case = gaps[later], case[later]
    logs = np.log(np.maximum(gaps, floor_s(sequences)))
    n = np.bincount(case, minlength=sequences.n_cases) * weight
    x = np.bincount(case, weights=logs, minlength=sequences.n_cases) * weight
    found: list[tuple[list[Fact], float]] = []
    for g in range(k):
        sides = []
        for chosen in (label == g, (label >= 0) & (label != g)):
            a, b = n[chosen], x[chosen]
            sums = np.array([a.sum(), (a * a).sum(), b.sum(), (b * b).sum(), (a * b).sum()])
            mean, error = _log_mean(sums)
            mine = chosen[case]
            median = float(np.median(gaps[mine])) if mine.any() else 0.0
            sides.append(
                (float(mean), float(error), float(sums[0]), median, logs[mine].std() if mine.any() else 1.0)
            )
        (here, e, n_here, median, sd), (there, e_there, n_there, median_there, _) = sides
        if min(n_here, n_there) < MIN_CASES:
            found.append(([], 0.0))
            continue
        size = max(int((label == g).sum()), 1)
        telling = n_here / size * (here - there) ** 2 / (2 * max(sd, 0.2) ** 2)
        one = fact("tempo", (), (np.exp(here), e, n_here), (np.exp(there), e_there, n_there), n_here, telling)
        facts = (
            []
            if one is None or not one.agrees(median, median_there)
            else [replace(one, value=median, rest=median_there)]
        )
        found.append((facts, here - there))
    return found


def _reactions(sequences: SequenceSet, label: np.ndarray, g: int) -> Iterator[Fact]:
    """Which part of all recorded reactions is of each kind."""
    names = sequences.vocabulary.names
    kinds = [t for t, name in enumerate(names) if name.startswith("reaction_")]
    if len(kinds) < 2:
        return
    case = sequences.case_of_event
    y = np.bincount(case[np.isin(sequences.tokens, kinds)], minlength=sequences.n_cases).astype(float)
    for t in kinds:
        x = np.bincount(case[sequences.tokens == t], minlength=sequences.n_cases).astype(float)
        sides = []
        for chosen in (label == g, (label >= 0) & (label != g)):
            a, b = x[chosen], y[chosen]
            sides.append(Ratio.of(a.sum(), (a * a).sum(), (a * b).sum(), b.sum(), (b * b).sum()))
        n = int((y[label == g] > 0).sum())
        telling = float(sides[0].base) / max(int((label == g).sum()), 1)
        telling *= float(_bernoulli(sides[0].value, sides[1].value))
        found = fact("reaction", (names[t],), _at(sides[0], ()), _at(sides[1], ()), n, telling)
        if found is not None and n >= MIN_CASES:
            yield found


def _no_twins(facts: list[Fact]) -> list[Fact]:
    """Of "b right after a" and "b before the next a" only the more telling one."""
    best: dict[tuple[str, ...], Fact] = {}
    for one in facts:
        if one.kind in ("order", "until"):
            known = best.get(one.what)
            if known is None or one.telling > known.telling:
                best[one.what] = one
    return [f for f in facts if f.kind not in ("order", "until") or best[f.what] is f]


def _most(telling: np.ndarray) -> list[tuple[int, int]]:
    """Places of the largest positive entries of a matrix, largest first."""
    flat = telling.ravel()
    order = np.argsort(-flat, kind="stable")[:KEPT]
    return [(int(i) // telling.shape[1], int(i) % telling.shape[1]) for i in order if flat[i] > 0]


def _at(ratio: Ratio, place: Any) -> tuple[float, float, float]:
    base = np.broadcast_to(ratio.base, ratio.value.shape)
    return float(ratio.value[place]), float(ratio.error[place]), float(base[place])


def _odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return p / (1 - p)


def _bernoulli(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback–Leibler divergence of two probabilities, nats."""
    p, q = np.clip(p, 1e-6, 1 - 1e-6), np.clip(q, 1e-3, 1 - 1e-3)
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
