"""Cases against a process model: alignments of distinct traces, told per activity and case."""

from __future__ import annotations

import numpy as np

from behavio.conformance.findings import CONFORMS, DEVIATES, EXTRA, OPEN, SKIPPED, WRONG_ORDER, Findings, Rows
from behavio.kernels.arrays import take_groups
from behavio.process import Alignments, Net, WeightedVariants, align
from behavio.process.alignment import LOG, MODEL, SYNC
from behavio.sequences import SequenceSet


def check_model(sequences: SequenceSet, net: Net, still: np.ndarray, name: str = "model") -> Findings:
    """Every case aligned to the model; still bool (n_cases,): cases that may go on.

    A step of the model that did not happen is skipped, an event the model has no room for is extra, and both
    for the same activity are one activity in another place. Steps after the last event of an open case are
    open: its cost is that of what happened so far, read from the best alignment of the whole trace.
    """
    distinct = sequences.distinct()
    tokens, offsets = take_groups(sequences.tokens, sequences.offsets, distinct.first)
    found = align(net, WeightedVariants(tokens, offsets, distinct.weight), sequences.vocabulary)
    steps = _steps(found, net)
    # per distinct trace and step: in sync, only in the log, only in the model; of these after the last event
    counts, ahead = _counted(found, steps, len(distinct.weight))
    of_case = distinct.of_case
    sync, log, model = (counts[kind][of_case] for kind in (SYNC, LOG, MODEL))
    later = np.where(still[:, None], ahead[of_case], 0)
    model = model - later
    moved = np.minimum(log, model)
    wrong = (log > 0) | (model > 0)
    state = np.select([wrong, later > 0, sync > 0], [DEVIATES, OPEN, CONFORMS], default=0).astype(np.int8)
    cost = found.cost[of_case] - later.sum(axis=1)
    cost[found.cost[of_case] < 0] = -1
    who, what = np.nonzero(state)
    return Findings(
        name,
        "model",
        tuple(found.activities[i] for i in steps),
        sequences.case_ids,
        who,
        what,
        state[who, what],
        (sync + model)[who, what].astype(float),
        sync[who, what].astype(float),
        _evidence(found, steps, sequences, of_case, moved, model),
        found.cost[of_case] >= 0,
        cost=cost,
        notes=_notes(found, np.diff(offsets), distinct.weight),
    )


def _steps(found: Alignments, net: Net) -> np.ndarray:
    """Ids of the activities of the model in its order, then those only the log has."""
    place = {name: i for i, name in enumerate(found.activities)}
    planned = [place[name] for name in net.activities]
    others = [i for i in np.unique(found.moves[:, 2]).tolist() if i not in set(planned)]
    return np.array([*planned, *others], dtype=np.int64)


def _counted(found: Alignments, steps: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Moves, int64 (3 kinds, n, n_steps), of distinct traces; and model moves after the last event."""
    variant, kind, activity, _ = found.moves.T
    place = np.zeros(len(found.activities), dtype=np.int64)
    place[steps] = np.arange(len(steps))
    size = len(steps)
    flat = (kind * n + variant) * size + place[activity]
    counts = np.bincount(flat, minlength=3 * n * size).reshape(3, n, size)
    seen = np.full(n, -1, dtype=np.int64)  # row of the last move on an event
    on_event = np.flatnonzero(kind != MODEL)
    seen[variant[on_event]] = on_event
    after = np.flatnonzero((kind == MODEL) & (np.arange(len(kind)) > seen[variant]))
    ahead = np.bincount(variant[after] * size + place[activity[after]], minlength=n * size).reshape(n, size)
    return counts, ahead


def _evidence(
    found: Alignments,
    steps: np.ndarray,
    sequences: SequenceSet,
    of_case: np.ndarray,
    moved: np.ndarray,
    model: np.ndarray,
) -> Rows:
    """Events the model has no room for, and steps that did not happen, of every case."""
    rows, n_steps = Rows(), len(steps)
    place = np.zeros(len(found.activities), dtype=np.int64)
    place[steps] = np.arange(n_steps)
    log = found.moves[found.moves[:, 1] == LOG]
    first = np.searchsorted(log[:, 0], np.arange(len(found.cost) + 1))
    lengths = np.diff(first)[of_case]
    case = np.repeat(np.arange(len(of_case)), lengths)
    start = np.cumsum(lengths) - lengths
    index = np.repeat(first[of_case], lengths) + np.arange(len(case)) - np.repeat(start, lengths)
    step, event = place[log[index, 2]], log[index, 3] + np.asarray(sequences.offsets)[case]
    key = case * n_steps + step
    order = np.argsort(key, kind="stable")
    nth = np.empty(len(key), dtype=np.int64)  # which of the case's moves of this activity it is
    sorted_key = key[order]
    nth[order] = np.arange(len(key)) - np.searchsorted(sorted_key, sorted_key)
    kind = np.where(nth < moved[case, step], WRONG_ORDER, EXTRA)
    rows.add(case, step, kind, event)
    missing = model - moved
    who, what = np.nonzero(missing)
    many = missing[who, what]
    rows.add(np.repeat(who, many), np.repeat(what, many), SKIPPED)
    return rows


def _notes(found: Alignments, lengths: np.ndarray, weights: np.ndarray) -> tuple[str, ...]:
    """How well the log fits, and what could not be aligned."""
    aligned = found.cost >= 0
    if not aligned.any():
        return ("no trace could be aligned to the model",)
    fitness, cases = found.fitness(lengths)[aligned], weights[aligned]
    average = float((fitness * cases).sum() / cases.sum())
    share = float(cases[found.cost[aligned] == 0].sum() / cases.sum())
    notes = [
        f"alignment fitness {average:.3f} (mean over cases), {share:.1%} of cases fit without a deviation"
    ]
    if not aligned.all():
        n = int(weights[~aligned].sum())
        notes.append(f"{n:,} cases need too long a search to be aligned: they are not counted")
    return tuple(notes)
