"""What counts as success after a contact: a word for a kind of answer, or activities by name."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import polars as pl

from behavio.errors import JobError
from behavio.log import EventLog
from behavio.suggest.settings import SuggestSettings
from behavio.words import touchpoint

VISITED = ("portal", "event")
"""Channels on which being there is a visit."""

OPENS_ONLY = "the objective counts opens only: image loading and link scanners open emails too; prefer clicks"


@dataclass(frozen=True)
class Objective:
    """What is aimed at.

    words     how a reason calls one success: "a response"
    names     activities that are successes; empty for `stage`
    success   true for an event that is one (before the medical team's are left out)
    counted   true for an event that the case did, though nothing says it is inbound
    opens     True when nothing but opened emails counts
    """

    words: str
    names: tuple[str, ...]
    success: pl.Expr
    counted: pl.Expr
    opens: bool


def read_objective(
    log: EventLog,
    events: pl.DataFrame,
    settings: SuggestSettings,
    moves: pl.DataFrame | None,
    case_ids: pl.Series,
) -> Objective:
    """The objective of the settings. JobError for an unknown name, or stages that are not there.

    `events` has `case`, the place of its case among `case_ids`.
    """
    known = log.events["activity"].cast(pl.String).unique().sort().to_list()
    inbound = (pl.col("direction") == "inbound").fill_null(False)
    commercial = (pl.col("team") != "medical").fill_null(True)
    asked = settings.objectives
    word = asked[0] if len(asked) == 1 and asked[0] not in known else ""
    if word == "inbound":
        refused = pl.col("activity").is_in(settings.refusals)
        liked = (pl.col("reaction").cast(pl.String).str.to_lowercase() != "negative").fill_null(True)
        return _objective("a response", events, inbound & commercial & ~refused & liked)
    if word == "reaction":
        liked = (pl.col("reaction").cast(pl.String).str.to_lowercase().str.starts_with("positiv")).fill_null(
            False
        )
        return _objective("a positive reaction", events, inbound & liked)
    if word == "visit":
        there = pl.col("channel").is_in(VISITED).fill_null(False)
        return _objective("a visit of the portal or an event", events, inbound & there)
    if word == "stage":
        return _stage(events, moves, case_ids)
    names = settings.outcome if word == "outcome" else asked
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"activities: {', '.join(known[:12])}"
            raise JobError(f"objective {name!r} is no activity of this log", hint=hint)
    told = touchpoint(names[0])
    words = f"{'an' if told[:1].lower() in 'aeio' else 'a'} {told}" if len(names) == 1 else "a response"
    own = pl.col("activity").is_in(names)
    liked = (pl.col("reaction").cast(pl.String).str.to_lowercase() != "negative").fill_null(True)
    return Objective(words, tuple(names), own & liked, own, all(_is_open(n) for n in names))


def _objective(words: str, events: pl.DataFrame, success: pl.Expr) -> Objective:
    names = tuple(events.filter(success)["activity"].unique().sort().to_list())
    return Objective(words, names, success, pl.lit(False), bool(names) and all(_is_open(n) for n in names))


def _is_open(activity: str) -> bool:
    return "open" in activity.lower().replace("opened", "open").split("_")


def _stage(events: pl.DataFrame, moves: pl.DataFrame | None, case_ids: pl.Series) -> Objective:
    """Steps up the ladder: the last event of the case at the moment of each."""
    if moves is None:
        raise JobError('objective = "stage" needs a ladder', hint="add the table [stages] to the job")
    up = moves.filter(~pl.col("back")).select(pl.col("case_id").cast(pl.String), timestamp="time")
    up = up.join(case_ids.to_frame("case_id").with_row_index("case"), on="case_id", how="inner")
    up = up.with_columns(pl.col("case").cast(pl.Int64))
    last = events.select("case", "timestamp", "position").join(up, on=["case", "timestamp"], how="semi")
    place = last.group_by("case", "timestamp").agg(pl.col("position").max())["position"]
    success = pl.col("position").is_in(place.sort().to_list())
    return Objective("a step up the ladder", (), success, pl.lit(False), False)
