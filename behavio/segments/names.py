"""Names of segments: plain, short, unique, made of what sets each segment apart."""

from __future__ import annotations

from collections.abc import Sequence

from behavio import words
from behavio.segments.fact import Fact
from behavio.segments.phrases import (
    CALL_PARTS,
    OUTBOUND,
    composite_name,
    pace,
    sentence,
    short_name,
    special_name,
)

EVERYONE = "Everyone alike"
MIXED = "Mixed journeys"
RESERVED = frozenset({"unassigned"})

WEIGHT = {"until": 1.0, "order": 1.0, "gap": 0.5, "reaction": 0.8, "reach": 0.8, "share": 0.7, "tempo": 0.35}
"""How well a kind of fact serves as a name: what people do after what says more than how much."""

SPECIAL = 2.0
"""A phrase that people use is the better name even where another fact tells a little more."""


def by_worth(facts: Sequence[Fact]) -> list[Fact]:
    """Facts, best to name a segment by first: telling, about what it does rather than does not do."""
    return sorted(facts, key=lambda f: (-f.telling * _weight(f), f.kind, f.what))


def _weight(fact: Fact) -> float:
    weight = WEIGHT[fact.kind]
    if fact.kind != "gap" and not fact.more:
        weight *= 0.5
    if fact.what and fact.what[-1] in OUTBOUND:
        weight *= 0.2
    if len(fact.what) == 2 and fact.what[-1] in CALL_PARTS:
        weight *= 0.3
    return weight


def is_hcp(vocabulary: Sequence[str]) -> bool:
    """True when most activities are HCP touchpoints."""
    return sum(map(words.is_touchpoint, vocabulary)) * 2 > len(vocabulary)


def name_segments(facts: Sequence[Sequence[Fact]], hcp: bool) -> tuple[str, ...]:
    """One name for each segment; where two would have the same, the next telling fact decides.

    The segment that a name fits best gets it, so names are given out over all segments at once, the
    most telling fact first.
    """
    if len(facts) == 1:
        return (EVERYONE,)
    offers = sorted((-worth, g, name) for g, own in enumerate(facts) for worth, name in _offers(own, hcp))
    names: dict[int, str] = {}
    taken = set(RESERVED)
    for _, g, name in offers:
        if g not in names and name.casefold() not in taken:
            names[g] = name
            taken.add(name.casefold())
    for g in range(len(facts)):
        if g not in names:
            names[g] = _spare(taken)
            taken.add(names[g].casefold())
    return tuple(names[g] for g in range(len(facts)))


def _offers(facts: Sequence[Fact], hcp: bool) -> list[tuple[float, str]]:
    """Possible names of one segment and their worth: single facts, and a frequent activity with its tempo."""
    liked = [SPECIAL if special_name(f, hcp) is not None else 1.0 for f in facts]
    single = [(f.telling * _weight(f) * w, short_name(f, hcp)) for f, w in zip(facts, liked, strict=True)]
    tempo = next((f for f in facts if f.kind == "tempo"), None)
    much = next((f for f in by_worth(facts) if f.kind == "share" and f.more), None)
    if tempo is not None and much is not None:
        worth = tempo.telling * _weight(tempo) + much.telling * _weight(much)
        single.append((worth, f"{short_name(much, hcp)}, {pace(tempo)}"))
    both = composite_name(list(facts)) if hcp else None
    return [*single, both] if both is not None else single


def _spare(taken: set[str]) -> str:
    """A name for a segment that nothing sets apart."""
    ordinals = ("", ", second kind", ", third kind", ", fourth kind", ", fifth kind")
    spare = [MIXED + o for o in ordinals] + [f"{MIXED}, kind {i}" for i in range(6, 1_000)]
    return next(name for name in spare if name.casefold() not in taken)


def describe(facts: Sequence[Fact]) -> str:
    """One sentence on a segment, from its most telling facts."""
    return sentence(by_worth(facts))
