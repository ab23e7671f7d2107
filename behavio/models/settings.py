"""Settings of the [model] table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from behavio.errors import JobError

KINDS = ("ngram", "counting", "gru", "cnn", "transformer", "neighbours", "pool")
SPLITS = ("time", "case", "column")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How next activities are learnt, judged and predicted.

    kind          ngram | counting | gru | cnn | transformer | neighbours | pool, as in models.roster; the
                  n-gram takes over where the other does not beat it
    max_order     longest context the n-gram may use
    cut           share of events, in time, before the one cut; models are judged on what comes after
    epochs        most passes of the net over its training events
    budget        most training events the net sees in all its passes together
    hidden        units of the net; the pool's has twice as many on a log of more than 60,000 events
    dimensions    length of an activity vector
    as_of         moment the next steps are counted from (ISO date or time); default: the newest event
    top           next steps per case
    min_history   cases with fewer events get no next step
    min_evidence  a context is shown as evidence when it was seen this often
    truth         table of true probabilities (case_id, timestamp, probability), simulated logs only
    attributes    columns of the case table that models read beside the events; name only what was known of
                  a case all along: a column that is written later gives the future away
    """

    kind: str = "pool"
    max_order: int = 8
    cut: float = 0.7
    epochs: int = 12
    budget: int = 5_000_000
    hidden: int = 64
    dimensions: int = 32
    as_of: str | None = None
    top: int = 3
    min_history: int = 2
    min_evidence: int = 20
    truth: str | None = None
    attributes: tuple[str, ...] = ("specialty", "region", "territory", "potential", "holdout")

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise JobError(f"model.kind {self.kind!r} does not exist", hint=f"use one of: {', '.join(KINDS)}")
        if not 0.1 <= self.cut <= 0.95:
            raise JobError(f"model.cut is {self.cut}", hint="use a share from 0.1 to 0.95, for example 0.7")
        if not 1 <= self.max_order <= 16:
            raise JobError(f"model.max_order is {self.max_order}", hint="use a number from 1 to 16")
        for name in ("epochs", "budget", "hidden", "dimensions", "top", "min_history", "min_evidence"):
            if getattr(self, name) < 1:
                raise JobError(f"model.{name} is {getattr(self, name)}", hint="use 1 or more")
        if self.as_of is not None:
            moment(self.as_of)


@dataclass(frozen=True, slots=True)
class Protocol:
    """By which rules models are judged.

    split       time: one global cut · case: whole cases, the latest to begin · column: as a column says
    cut         share of events (time) or of cases (case) to learn from
    column      column of `split = "column"`: test (or true) is held out, everything else learnt from
    end         the end of a case is one more class
    first       the first event of a case is predicted too
    min_prefix  fewest events before a judged one (default: 1, with `first` 0)
    seeds       how many times models that start at random are fitted; numbers are means
    models      names of the models to judge (default: all)
    fields      attributes that models may read (default: the usual ones the log has)
    """

    split: str = "time"
    cut: float = 0.7
    column: str = "split"
    end: bool = False
    first: bool = False
    min_prefix: int | None = None
    seeds: int = 1
    models: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise JobError(f"split {self.split!r} does not exist", hint=f"use one of: {', '.join(SPLITS)}")
        if not 0.1 <= self.cut <= 0.95:
            raise JobError(f"cut is {self.cut}", hint="use a share from 0.1 to 0.95, for example 0.7")
        if self.seeds < 1:
            raise JobError(f"seeds is {self.seeds}", hint="use 1 or more")
        if self.min_prefix is not None and self.min_prefix < 0:
            raise JobError(f"min_prefix is {self.min_prefix}", hint="use 0 or more")

    @property
    def least(self) -> int:
        """Fewest events before a judged one."""
        return int(not self.first) if self.min_prefix is None else self.min_prefix


def moment(text: str) -> int:
    """An ISO date or time as µs since 1970 UTC; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise JobError(
            f"model.as_of {text!r} is no date or time",
            hint='write it as "2026-01-31" or "2026-01-31T12:00:00Z"',
        ) from None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution
