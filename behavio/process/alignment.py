"""Alignments: the fewest steps that must be added or left out to turn a trace into one the model allows.

Adriansyah 2014; computed by r4pm on distinct traces, so the cost does not grow with the number of cases. A
move on the log (an event the model does not allow) and a move on the model (a step that did not happen) cost
1 each, steps nobody sees nothing. This is no token replay: replay can call traces fitting that no alignment
supports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from behavio.errors import JobError
from behavio.process.net import Net
from behavio.process.variants import WeightedVariants
from behavio.sequences import Vocabulary

COSTS = {"log_move_cost": 1, "model_move_cost": 1, "silent_move_cost": 0, "sync_move_cost": 0}
MAX_STATES, ALL_STATES = 1_000_000, 60_000_000
"""States looked at for one trace, and for all (about a minute); what needs more is told as not aligned."""
SYNC, LOG, MODEL = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Alignments:
    """How each distinct trace fits the model.

    cost    int64 (n_variants,): moves on log and on model; −1 where none was found
    tail    int64 (n_variants,): of these, steps of the model after the trace's last event: an open case may
            still take them
    moves   int64 (n_moves, 4): variant, kind (SYNC, LOG, MODEL), activity (a place in `activities`), event
            (its place in the trace, −1 for a step that did not happen), in order
    activities  names, those of the vocabulary by id, then those only the model knows
    shortest    cost of the empty trace: the fewest steps the model can do with
    """

    cost: np.ndarray
    tail: np.ndarray
    moves: np.ndarray
    activities: tuple[str, ...]
    shortest: int

    def fitness(self, lengths: np.ndarray) -> np.ndarray:
        """float64 (n_variants,): 1 − cost / worst, where worst leaves all out and takes the shortest way."""
        worst = np.maximum(lengths + self.shortest, 1)
        return np.where(self.cost < 0, np.nan, 1 - self.cost / worst)


def align(net: Net, variants: WeightedVariants, vocabulary: Vocabulary) -> Alignments:
    """Best alignment of each distinct trace with the net, those of most cases first.

    Errors: JobError when no way through the net leads to its end.
    """
    from r4pm.bindings.conformance.case_centric.alignments import align_empty_trace, align_trace

    model: Any = net.for_r4pm()
    options: Any = {"cost_fn": COSTS, "max_states": MAX_STATES}
    names = vocabulary.names
    extra = [a for a in net.activities if a not in set(names)]
    ids = {name: i for i, name in enumerate([*names, *extra])}
    labels = {key: ids.get(t["label"] or "", -1) for key, t in model["transitions"].items()}
    labels = {key: -1 if model["transitions"][key]["label"] is None else i for key, i in labels.items()}
    cost, tail = np.full(len(variants.cases), -1, np.int64), np.zeros(len(variants.cases), np.int64)
    moves: list[tuple[int, int, int, int]] = []
    try:
        shortest = align_empty_trace(model, options)["cost"]
    except TypeError:
        hint = "look for a parallel gateway that waits for a branch nobody takes"
        raise JobError("the model cannot be gone through from its start to its end", hint=hint) from None
    left = ALL_STATES
    for v in np.argsort(-variants.cases, kind="stable").tolist():
        if left <= 0:
            break
        tokens = variants.tokens[variants.offsets[v] : variants.offsets[v + 1]].tolist()
        try:
            found = align_trace(model, [names[t] for t in tokens], options)
        except TypeError:  # the search was given up
            left -= MAX_STATES
            continue
        left -= found["states_visited"]
        cost[v] = found["cost"]
        mine = [m for move in found["moves"] if (m := _move(v, move, tokens, labels)) is not None]
        moves += mine
        for _, kind, _, _ in reversed(mine):
            if kind != MODEL:
                break
            tail[v] += 1
    table = np.array(moves, dtype=np.int64).reshape(-1, 4)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Alignments(cost, tail, table, (*names, *extra), int(shortest))


def _move(
    variant: int, move: dict[str, dict[str, object]], tokens: list[int], labels: dict[str, int]
) -> tuple[int, int, int, int] | None:
    """One move as a row; None for a step nobody sees."""
    ((kind, told),) = move.items()
    if kind == "ModelMove":
        label = labels[str(told["transition"])]
        return None if label < 0 else (variant, MODEL, label, -1)
    place = int(str(told["trace_event_index"]))
    return variant, SYNC if kind == "SyncMove" else LOG, tokens[place], place
