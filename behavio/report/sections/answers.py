"""The four questions of a group: who they are, what moves them, where, with which content."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.numbers import held
from behavio.words import CHANNELS, touchpoint

UNKNOWN = Markup('<span class="mut">{}</span>')


def answers(
    c: Context, segment_id: int, name: str, profile: dict[str, Any]
) -> tuple[tuple[str, Markup], ...]:
    """Question and answer; an answer the data do not carry says what is missing."""
    who = _who(c, segment_id, profile)
    if not c.run.hcp:
        return (
            ("Who", who),
            ("What sets them apart", _traits(profile, ("order", "share", "reaction"), c.k)),
            ("How fast", _pace(c, segment_id, profile)),
        )
    events = _events(c, segment_id)
    return (
        ("Who", who),
        ("What follows what", _moves(c, segment_id, name, profile)),
        ("Where", _where(c, segment_id, events)),
        *([] if c.settings.role == "medical" else [("Which content", _content(c, segment_id, events))]),
    )


def _unknown(why: str) -> Markup:
    """What is not known, and why."""
    return UNKNOWN.format(say("unknown: {why}", why=why))


def _events(c: Context, segment_id: int) -> pl.DataFrame:
    assert c.run.segments is not None
    members = c.run.segments.filter(pl.col("segment_id") == segment_id)["case_id"]
    return c.run.events.filter(pl.col("case_id").is_in(members.implode()))


def _who(c: Context, segment_id: int, profile: dict[str, Any]) -> Markup:
    found: list[Markup] = []
    for a in profile.get("attributes", [])[:3]:
        if float(a["share"]) * float(profile.get("n_cases") or c.k) < c.k - 0.5:
            continue
        label = f"{str(a['attribute']).replace('_', ' ')} {str(a['value']).strip(';')}"
        fact = f"group_{segment_id}_{a['attribute']}_{a['value']}"
        share = c.facts.add(fact, float(a["share"]), "share", f"{label} in the group")
        text = say("{label}: {share}", label=label if found else sentence_case(label), share=share.shown)
        if a.get("rest") is not None:
            rest = c.facts.add(f"{fact}_elsewhere", float(a["rest"]), "share", f"{label} in all other groups")
            text += say(" against {rest} elsewhere", rest=rest.shown)
        found.append(text)
    if not found:
        bare = c.run.cases.width <= 1
        why = f"nothing is known of the {c.many} but their events" if bare else "no attribute stands out"
        return _unknown(why)
    return Markup("; ").join(found)


def _traits(profile: dict[str, Any], kinds: tuple[str, ...], k: int, most: int = 3) -> Markup:
    """What else sets the group apart, beyond what its sentence says already."""
    said = held(str(profile.get("sentence", ""))).casefold()
    known = [t for t in profile.get("distinguishing", []) if t.get("kind") in kinds and t.get("text")]
    known = [t for t in known if t.get("n_cases") is None or t["n_cases"] >= k]
    above = [t for t in known if (t.get("lift") or 0) > 1]
    texts = [held(str(t["text"])) for t in (above or known)]
    more = [t for t in texts if t.partition(": ")[0].casefold() not in said]
    if not texts:
        return _unknown("nothing differs from the rest beyond chance")
    lines = [say("{t}", t=sentence_case(t)) for t in (more or texts)[:most]]
    return Markup("<br>").join(lines)


def _pace(c: Context, segment_id: int, profile: dict[str, Any]) -> Markup:
    gap = profile.get("median_gap_days")
    if gap is None or not c.run.timed:
        return _unknown("the log has no clock")
    fact = c.facts.add(f"group_{segment_id}_median_gap", float(gap), "days", "between two events, median")
    return say("{t} between two events, median", t=fact.shown)


def _moves(c: Context, segment_id: int, name: str, profile: dict[str, Any]) -> Markup:
    """The strongest pattern of the group that ends in an answer of the HCP, else what sets it apart."""
    table = c.run.patterns
    if table is not None and table.height and "segment" in table.columns:
        own = table.filter((pl.col("segment") == name) & (pl.col("n_cases") >= c.k) & (pl.col("low") > 1))
        own = own.filter(pl.col("activities").list.last().is_in(_inbound(c)) & (pl.col("length") > 1))
        distinct = pl.col("activities").list.n_unique() == pl.col("length")
        first = pl.col("activities").list.first()
        begun = ~first.is_in(_inbound(c)) | first.str.starts_with("reaction_") | (first == "event_attended")
        answered = ~pl.col("activities").list.last().str.starts_with("reaction_")
        # the shortest of the good ones: "download after an event" says it, four steps hide it
        own = own.filter(distinct & answered).sort(
            [begun, "length", "low", "pattern"], descending=[True, False, True, False]
        )
        if own.height:
            row = own.row(0, named=True)
            steps = [touchpoint(a) for a in row["activities"]]
            fact = c.facts.add(
                f"group_{segment_id}_moves",
                row["lift"],
                "ratio",
                f"{row['pattern']} in the group, against all other groups",
                n=row["n_cases"],
                low=row["low"],
                high=row["high"],
            )
            return say(
                "{last} after {first}: {t} times as often as elsewhere {ci}",
                last=sentence_case(steps[-1]),
                first=", then ".join(steps[:-1]),
                t=fact.shown,
                ci=fact.between,
            )
    return _traits(profile, ("reaction", "order"), c.k, 2)


def _inbound(c: Context) -> list[str]:
    found = c.run.events.filter(pl.col("direction") == "inbound")["activity"].unique().sort()
    return list(found.to_list())


def _mix(c: Context, fact: str, rows: pl.DataFrame, column: str, what: str) -> Markup | None:
    """The three most frequent values of a column, each seen at k people or more, as shares of all rows."""
    counted = (
        rows.group_by(column)
        .agg(n=pl.len(), people=pl.col("case_id").n_unique())
        .filter(pl.col("people") >= c.k)
        .sort(["n", column], descending=[True, False])
        .head(3)
    )
    parts: list[Markup] = []
    for value, n, _ in counted.iter_rows():
        label = CHANNELS.get(value, value) if column == "channel" else value
        share = c.facts.add(f"{fact}_{value}", n / rows.height, "share", f"{label}, of {what}", n=rows.height)
        parts.append(say("{l} {s}", l=label if parts else sentence_case(label), s=share.shown))
    if not parts:
        return None
    total = c.facts.add(fact, rows.height, "count", what)
    return Markup(", ").join(parts) + say(" of {n}", n=total.shown)


def _where(c: Context, segment_id: int, events: pl.DataFrame) -> Markup:
    """Where the group answers: its inbound events by channel."""
    inbound = events.filter((pl.col("direction") == "inbound") & pl.col("channel").is_not_null())
    mix = _mix(c, f"group_{segment_id}_answers", inbound, "channel", "answers of the group")
    return _unknown("too few answers") if mix is None else mix + say(" answers")


def _content(c: Context, segment_id: int, events: pl.DataFrame) -> Markup:
    """What they reacted well to, else what they were shown."""
    column = next((x for x in ("content", "message") if events[x].null_count() < events.height), None)
    if column is None:
        return _unknown("no event carries a message or content")
    shown = events.filter(pl.col(column).is_not_null())
    liked = shown.filter(pl.col("activity") == "reaction_positive")
    well = _mix(c, f"group_{segment_id}_liked", liked, column, "positive reactions of the group")
    if well is not None:
        return well + say(" positive reactions")
    seen = _mix(c, f"group_{segment_id}_seen", shown, column, "events of the group with content")
    if seen is None:
        return _unknown(f"no content reached {c.k} {c.many} or more")
    return seen + say(" events with content")
