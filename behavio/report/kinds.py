"""Which events share a hue: touchpoints by the fixed table, any other log by its most frequent activities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import polars as pl

from behavio.words import OTHER_COLOUR, SILENCE_COLOUR, channel_colour, colours, is_touchpoint, touchpoint

TOUCHPOINT_KINDS = {
    "#4477AA": "Rep visit",
    "#66CCEE": "Video, phone",
    "#F3B6BE": "Email sent",
    "#EE6677": "Email open",
    "#B8344A": "Email click",
    "#228833": "Portal",
    "#CCBB44": "Event",
    OTHER_COLOUR: "Other",
}
SILENCE = "Silence"
MOST = 7


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds of event a chart tells apart.

    names   kinds in drawing order, without silence
    hues    hue of each kind and of silence
    of      the kind of each activity
    rest    how many activities share the kind "Other"
    """

    names: tuple[str, ...]
    hues: dict[str, str]
    of: dict[str, str]
    rest: int

    @classmethod
    def from_events(cls, events: pl.DataFrame) -> Kinds:
        """Kinds of a log, from its activities and how often they come."""
        counted = events.group_by("activity").len().sort(["len", "activity"], descending=[True, False])
        return cls.ranked(counted["activity"].to_list())

    @classmethod
    def ranked(cls, activities: list[str]) -> Kinds:
        """Kinds of these activities, the most frequent first."""
        if any(is_touchpoint(a) for a in activities):
            of = {a: TOUCHPOINT_KINDS[channel_colour(a)] for a in activities}
            hues = {name: hue for hue, name in TOUCHPOINT_KINDS.items()}
            names = tuple(n for n in TOUCHPOINT_KINDS.values() if n in set(of.values()))
        else:
            top = activities if len(activities) <= MOST else activities[: MOST - 1]
            label = {a: sentence_case(touchpoint(a)) for a in top}
            chosen = colours(top)
            of = {a: label.get(a, "Other") for a in activities}
            hues = {label[a]: chosen[a] for a in top} | {"Other": OTHER_COLOUR}
            names = tuple(dict.fromkeys(label[a] for a in top))
            names += ("Other",) if len(activities) > len(top) else ()
        hues[SILENCE] = SILENCE_COLOUR
        return cls(names, hues, of, sum(kind == "Other" for kind in of.values()))

    def hue(self, activity: str) -> str:
        """Hue of an activity; one the log does not hold has the hue of "other"."""
        return self.hues[self.of.get(activity, "Other")] if "Other" in self.hues else OTHER_COLOUR

    def frame(self) -> pl.DataFrame:
        """activity, kind: to be joined to events."""
        return pl.DataFrame(
            {"activity": list(self.of), "kind": list(self.of.values())},
            schema={"activity": pl.String, "kind": pl.String},
        )


def sentence_case(text: str) -> str:
    """The first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def path(activities: Iterable[str]) -> str:
    """A journey in words; a step repeated at once is said once with how many times: "store visit × 3"."""
    runs = [(touchpoint(a), len(list(same))) for a, same in groupby(activities)]
    return " → ".join(name if n == 1 else f"{name} × {n}" for name, n in runs)
