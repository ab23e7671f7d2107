"""Every model that can be judged, by name: what kind it is and how it is made from settings and a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from behavio.errors import JobError
from behavio.models.base import SequenceModel
from behavio.models.baselines import FirstOrder, MostPopular, RepeatLast
from behavio.models.ngram import NGram
from behavio.models.settings import ModelSettings

Maker = Callable[[ModelSettings, int], SequenceModel]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model.

    kind    baseline | counting | neural | neighbours | pool
    make    from settings and a seed; imports what it needs
    random  True when the seed changes what it learns
    """

    kind: str
    make: Maker
    random: bool = False


def _gru(settings: ModelSettings, seed: int) -> SequenceModel:
    from behavio.models.neural import GRU

    return GRU(settings.hidden, settings.epochs, settings.budget, seed)


def _cnn(settings: ModelSettings, seed: int) -> SequenceModel:
    from behavio.models.neural import CNN

    return CNN(settings.hidden, settings.epochs, settings.budget, seed)


def _transformer(settings: ModelSettings, seed: int) -> SequenceModel:
    from behavio.models.neural import Transformer

    return Transformer(settings.hidden, settings.epochs, settings.budget, seed)


def _pool(settings: ModelSettings, seed: int) -> SequenceModel:
    from behavio.models.pool import Pool

    return Pool(settings.max_order, settings.hidden, settings.epochs, settings.budget, seed)


def _neighbours(settings: ModelSettings, seed: int) -> SequenceModel:
    from behavio.models.neighbours import Neighbours

    return Neighbours()


def _counting(settings: ModelSettings, seed: int) -> SequenceModel:
    from behavio.models.counting import Counting

    return Counting(settings.max_order)


ROSTER: dict[str, Entry] = {
    "most_popular": Entry("baseline", lambda s, seed: MostPopular()),
    "repeat_last": Entry("baseline", lambda s, seed: RepeatLast()),
    "first_order": Entry("baseline", lambda s, seed: FirstOrder()),
    "ngram": Entry("counting", lambda s, seed: NGram(s.max_order)),
    "counting": Entry("counting", _counting),
    "gru": Entry("neural", _gru, random=True),
    "cnn": Entry("neural", _cnn, random=True),
    "transformer": Entry("neural", _transformer, random=True),
    "neighbours": Entry("neighbours", _neighbours),
    "pool": Entry("pool", _pool, random=True),
}
"""In the order of the table."""
TO_BEAT = ("most_popular", "repeat_last", "first_order", "ngram")
"""What every other model is held against; always judged."""


def chosen(names: tuple[str, ...]) -> dict[str, Entry]:
    """The entries of these names, all of them for none; those to beat are always among them."""
    missing = [n for n in names if n not in ROSTER]
    if missing:
        raise JobError(f"there is no model {missing[0]!r}", hint=f"use one of: {', '.join(ROSTER)}")
    return {n: e for n, e in ROSTER.items() if not names or n in names or n in TO_BEAT}
