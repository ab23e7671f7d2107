"""What a pattern of the language is made of: steps, alternatives, links between them, bans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ANY_TIME = -1


@dataclass(frozen=True, slots=True)
class Test:
    """One condition on a coded attribute: message ~ "Efficacy"; several values: any of them."""

    field: str
    sign: str
    values: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Step:
    """One event: activities it may be (None: any), conditions on its attributes."""

    names: tuple[str, ...] | None
    tests: tuple[Test, ...]
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Either:
    """One of several."""

    options: tuple[Step | Either | Steps, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """What lies between an event and the one matched before it. Times µs; ANY_TIME and 0: no limit."""

    max_time: int = ANY_TIME
    max_events: int = 0
    min_time: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a sequence, how often it comes (most None: any number), and what lies before it."""

    part: Step | Either | Steps
    least: int
    most: int | None
    link: Link
    text: str


@dataclass(frozen=True, slots=True)
class Steps:
    """Items one after another."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Ban:
    """Events that must not come, and where: `first` and `last` are numbers of items at the top level.

    whole    between the first and the last event of the match
    before   from its first event to the first event of item `last`
    between  from the last event of item `first` to the first event of item `last`
    start    from the start of the case to the first event of the match
    end      after its last event, for `within` µs (ANY_TIME: to the end of the case)
    """

    steps: tuple[Step, ...]
    where: Literal["whole", "before", "between", "start", "end"]
    first: int
    last: int
    within: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern; whole.max_time and max_events limit its first event to its last."""

    text: str
    steps: Steps
    at_start: bool
    at_end: bool
    whole: Link
    bans: tuple[Ban, ...]
