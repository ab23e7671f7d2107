"""Declare rules that hold in a log, found and checked on distinct traces with their weights.

Templates: Pesic, Schonenberg & van der Aalst 2007; discovery with support and confidence: Maggi, Mooij & van
der Aalst 2011. A rule is called for (activated) by the cases in which its condition occurs; its support is
their share of all cases, its confidence the share of them in which it holds. "not succession" and "not chain
succession" are those of Declare: no b after an a, no b right after an a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.kernels import declare as kernel
from behavio.kernels.arrays import readonly, take_groups
from behavio.kernels.declare import CALLED_BY, NEGATIVE, PAIRS, TEMPLATES
from behavio.sequences import SequenceSet

RULE_SCHEMA: dict[str, pl.DataType] = {
    "template": pl.String(),
    "activity": pl.String(),
    "target": pl.String(),
    "cases": pl.Int64(),
    "conforming": pl.Int64(),
    "support": pl.Float64(),
    "confidence": pl.Float64(),
}
"""target is null for rules about one activity; cases call for the rule, conforming ones obey it."""
MOST = 200
"""Rules are made of so many of the most frequent activities: their number grows with the square."""


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What rules say of each case.

    states    int8 (n_distinct, n_rules): 1 holds, −1 broken, 0 not called for
    of_case   int64 (n_cases,): the row of each case
    table     RULE_SCHEMA, one row per rule, in the order given
    """

    states: np.ndarray
    of_case: np.ndarray
    table: pl.DataFrame

    @property
    def broken(self) -> np.ndarray:
        """int64 (n_cases,): rules each case breaks."""
        return (self.states < 0).sum(axis=1)[self.of_case]


def discover_rules(
    sequences: SequenceSet,
    min_support: float = 0.1,
    min_confidence: float = 0.9,
    templates: Sequence[str] | None = None,
    most: int = MOST,
) -> pl.DataFrame:
    """All Declare rules with this support and confidence or more, as RULE_SCHEMA, surest first.

    templates  only these (see behavio.kernels.declare.TEMPLATES); None: all
    most       rules are made of so many of the most frequent activities
    A case that is still open counts as it stands: what it may still do is not known.
    """
    wanted = _wanted(templates)
    tokens, offsets, weights, ids = _variants(sequences, most)
    n = len(ids)
    alone, pairs = kernel.tally(tokens, offsets, weights, n + 1)
    alone, pairs = alone[:, :n], pairs[:n, :n]
    n_cases = int(weights.sum())
    names = np.array([sequences.vocabulary.names[i] for i in ids], dtype=object)
    found = []
    for code in np.flatnonzero(wanted):
        cases, holds = _counts(int(code), alone, pairs, n_cases)
        keep = (cases > 0) & (cases >= min_support * n_cases) & (holds >= min_confidence * cases)
        if code >= PAIRS:
            np.fill_diagonal(keep, False)
        places = np.nonzero(keep)
        second = names[places[1]] if code >= PAIRS else np.full(len(places[0]), None, dtype=object)
        label = [TEMPLATES[code]] * len(second)
        found.append(
            _frame(label, names[places[0]].tolist(), second.tolist(), cases[keep], holds[keep], n_cases)
        )
    table = pl.concat(found) if found else pl.DataFrame(schema=RULE_SCHEMA)
    order = ["confidence", "support", "template", "activity", "target"]
    return table.sort(order, descending=[True, True, False, False, False])


def check_rules(sequences: SequenceSet, rules: Sequence[tuple[str, str, str | None]]) -> Checked:
    """Check rules (template, activity, target) without time limits on all cases.

    Errors: JobError for a template that does not exist.
    """
    codes = []
    for template, _, target in rules:
        if template not in TEMPLATES or (target is None) != (TEMPLATES.index(template) < PAIRS):
            raise JobError(f"there is no such rule: {template}", hint=f"one of {', '.join(TEMPLATES)}")
        codes.append(TEMPLATES.index(template))
    names = sequences.vocabulary.names
    size = len(names) + 1  # one id for activities the log does not have
    ids = {name: i for i, name in enumerate(names)}
    first = np.array([ids.get(a, size - 1) for _, a, _ in rules], dtype=np.int64)
    second = np.array([0 if b is None else ids.get(b, size - 1) for _, _, b in rules], dtype=np.int64)
    distinct = sequences.distinct()
    tokens, offsets = take_groups(sequences.tokens, sequences.offsets, distinct.first)
    used = np.unique(np.concatenate([first, second]))
    place = np.zeros(size, dtype=np.int32)
    place[used] = np.arange(len(used))
    dense = _projected(tokens, size, used, place)
    found = kernel.states(
        dense,
        readonly(offsets, np.int64),
        len(used) + 1,
        readonly(np.array(codes), np.int64),
        readonly(place[first], np.int64),
        readonly(place[second], np.int64),
        CALLED_BY,
        NEGATIVE,
    )
    cases, holds = kernel.in_cases(found, readonly(distinct.weight, np.int64))
    named = ([r[0] for r in rules], [r[1] for r in rules], [r[2] for r in rules])
    return Checked(found, distinct.of_case, _frame(*named, cases, holds, sequences.n_cases))


def _projected(tokens: np.ndarray, size: int, used: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Ids counted from 0 for the activities rules name; every other event keeps its place as "other"."""
    known = np.zeros(size, dtype=bool)
    known[used] = True
    return readonly(np.where(known[tokens], place[tokens], len(used)), np.int32)


def _wanted(templates: Sequence[str] | None) -> np.ndarray:
    wanted = np.ones(len(TEMPLATES), dtype=bool)
    if templates is not None:
        for name in templates:
            if name not in TEMPLATES:
                raise JobError(f"there is no template {name!r}", hint=f"one of {', '.join(TEMPLATES)}")
        wanted = np.isin(np.array(TEMPLATES), list(templates))
    return wanted


def _variants(sequences: SequenceSet, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct traces with dense ids (the last is "other"), weights, vocabulary ids behind the others."""
    distinct = sequences.distinct()
    tokens, offsets = take_groups(sequences.tokens, sequences.offsets, distinct.first)
    weights = np.repeat(distinct.weight, np.diff(offsets))
    frequency = np.bincount(tokens, weights=weights, minlength=len(sequences.vocabulary))
    ids = np.sort(np.argsort(-frequency, kind="stable")[: min(most, int((frequency > 0).sum()))])
    place = np.full(len(frequency), len(ids), dtype=np.int32)
    place[ids] = np.arange(len(ids))
    fixed = (readonly(place[tokens], np.int32), readonly(offsets, np.int64))
    return *fixed, readonly(distinct.weight, np.int64), ids


def _counts(code: int, alone: np.ndarray, pairs: np.ndarray, n_cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Cases that call for a rule and those that obey it, for each activity or each pair of two."""
    have, once, begin = alone
    everybody = np.full(len(have), n_cases)
    unary = {
        kernel.EXISTENCE: (everybody, have),
        kernel.ABSENCE: (everybody, n_cases - have),
        kernel.EXACTLY_ONE: (everybody, once),
        kernel.INIT: (everybody, begin),
    }
    if code in unary:
        return unary[code]
    a, b = np.broadcast_arrays(have[:, None], have[None, :])
    both, holds = pairs[:, :, kernel.COEXISTENCE], pairs[:, :, code]
    cases = (a, b, a + b - both)[CALLED_BY[code]]
    return cases, holds + (cases - both if NEGATIVE[code] else 0)


def _frame(
    template: Sequence[str],
    activity: Sequence[str],
    target: Sequence[str | None],
    cases: np.ndarray,
    holds: np.ndarray,
    n_cases: int,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "template": list(template),
            "activity": list(activity),
            "target": list(target),
            "cases": cases,
            "conforming": holds,
            "support": np.asarray(cases) / max(n_cases, 1),
            "confidence": np.divide(
                holds, cases, out=np.full(len(cases), np.nan), where=np.asarray(cases) > 0
            ),
        },
        schema=RULE_SCHEMA,
    ).with_columns(pl.col("confidence").fill_nan(None))
