"""A model learnt on one log is refused on another that it does not fit, with the reason and what to do."""

from __future__ import annotations

import numpy as np

from behavio.errors import ModelError
from behavio.models.base import SequenceModel
from behavio.models.gaps import GapModel
from behavio.sequences import SequenceSet

MOST_UNKNOWN = 0.5
"""Share of events with activities never learnt from which a model is refused."""
NAMED = 4
"""Names shown of each kind."""


def refuse_unfit(model: SequenceModel, gaps: GapModel, sequences: SequenceSet) -> None:
    """Raise ModelError when the log has other activities, lacks attributes the model reads, or has no clock.

    Some new activities are no reason: they are answered as unknown ones.
    """
    counts = np.bincount(sequences.tokens, minlength=len(sequences.vocabulary))[2:]
    learnt = set(model.vocabulary_.activities)
    names = sequences.vocabulary.activities
    new = [i for i in np.argsort(-counts, kind="stable") if counts[i] and names[i] not in learnt]
    share = float(counts[new].sum() / max(counts.sum(), 1))
    if share > MOST_UNKNOWN:
        usual = sorted(learnt)
        raise ModelError(
            f"the model does not fit this log: {share:.0%} of its events are activities it never saw "
            f"({_some([names[i] for i in new])}); it learnt {_some(usual)}",
            hint="name activities as in the log it learnt from, or learn from this log (behavio run)",
        )
    missing = [name for name in model.reads() if name not in sequences.fields]
    if missing:
        has = _some(list(sequences.fields)) or "no attributes"
        raise ModelError(
            f"the model does not fit this log: it reads {_some(missing)}, the log has {has}",
            hint="give the log with these columns, or learn from this log (behavio run)",
        )
    if len(gaps.gaps_) and not sequences.timed:
        raise ModelError(
            "the model does not fit this log: it learnt from times, the log has none",
            hint="name the column of times, or learn from this log (behavio run)",
        )


def _some(names: list[str]) -> str:
    """A few of the names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
