"""Who the groups are: a card each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Card, Figure, Index, Key, Section, without
from behavio.report.charts.strip import Dot, strip
from behavio.report.charts.weeks import weeks
from behavio.report.context import Context, say
from behavio.report.kinds import SILENCE, sentence_case
from behavio.report.language import t
from behavio.report.numbers import held, spelled, write
from behavio.report.sections.answers import answers
from behavio.report.shared import Shared, shared_run
from behavio.report.tables import Column, Table
from behavio.report.traces import Traces
from behavio.report.weekly import Calendar, shares
from behavio.words import short_touchpoint, touchpoint

CLEARLY, OFTEN, FAR = 1.5, 0.25, 3.0
MISSING = (
    "They need the segments stage: at least a few dozen {many} with several "
    "events each; "
    "add a [segments] table to the job and run it again."
)


SMALL = "Groups were looked for, but none holds {k} {many} or more."


@dataclass(frozen=True, slots=True)
class Group:
    """A group large enough to be shown."""

    id: int
    name: str
    n: int
    share: float
    profile: dict[str, Any]


def sizes(c: Context) -> list[Group]:
    """Groups of at least k people, largest first; shares are of all cases in the segment table."""
    if c.run.segments is None or c.run.segments.height == 0:
        return []
    table = c.run.segments
    counted = table.filter(pl.col("segment_id") >= 0).group_by("segment_id", "segment").len()
    profiles = {p["segment_id"]: p for p in (c.run.profiles or {}).get("segments", [])}
    rows = counted.filter(pl.col("len") >= c.k).sort(["len", "segment_id"], descending=[True, False])
    return [Group(i, str(name), n, n / table.height, profiles.get(i, {})) for i, name, n in rows.iter_rows()]


def _follows(group: Group) -> dict[tuple[str, str, bool], float]:
    """(a, b, directly) → how many times as often as elsewhere b follows a, where most of the group do "
    "so often."""
    found: dict[tuple[str, str, bool], float] = {}
    for trait in group.profile.get("distinguishing", []):
        steps = [s.strip() for s in str(trait.get("what", "")).split("→")]
        known = trait.get("n_cases")
        common = float(trait.get("value") or 0) >= OFTEN and (known is None or 2 * known >= group.n)
        if trait.get("kind") == "order" and len(steps) == 2 and steps[0] != steps[1] and common:
            directly = "directly" in str(trait.get("text", ""))
            found[steps[0], steps[1], directly] = float(trait.get("low") or trait.get("lift") or 0)
    return found


@dataclass(frozen=True, slots=True)
class Opposite:
    """Two groups, one going from a to b, the other from b to a."""

    one: Group
    other: Group
    first: str
    then: str


def opposite_order(c: Context) -> Opposite | None:
    """The largest two groups that take two steps in opposite order, each only its own way.

    Both ways must be clearly above the rest (`CLEARLY` at the lower end of the interval).
    """
    groups = [(g, _follows(g)) for g in sizes(c)]
    for i, (one, there) in enumerate(groups):
        for other, back in groups[i + 1 :]:
            for (a, b, directly), low in there.items():
                only = there.get((b, a, directly), 0) <= 1 and back.get((a, b, directly), 0) <= 1
                if only and low >= CLEARLY and back.get((b, a, directly), 0) >= CLEARLY:
                    return Opposite(one, other, a, b)
    return None


@dataclass(frozen=True, slots=True)
class Pace:
    """Two groups that go from one activity to another at a different pace; medians in seconds."""

    quick: Group
    late: Group
    first: str
    then: str
    quick_s: float
    late_s: float


def opposite_pace(c: Context) -> Pace | None:
    """The two groups furthest apart in how long the same step takes them, one sooner and one later than all
    others; each clearly so, and at least `FAR` times apart."""
    waits: dict[tuple[str, ...], list[tuple[float, Group, bool]]] = {}
    for group in sizes(c):
        for trait in group.profile.get("distinguishing", []):
            steps = tuple(trait.get("activities") or ())
            known = trait.get("n_cases")
            if trait.get("kind") != "gap" or len(steps) != 2 or not trait.get("value"):
                continue
            if known is not None and 2 * known < group.n:
                continue
            later = (trait.get("low") or 0) >= CLEARLY
            if later or 0 < (trait.get("high") or 1) <= 1 / CLEARLY:
                waits.setdefault(steps, []).append((float(trait["value"]), group, later))
    best: tuple[float, Pace] | None = None
    for (first, then), found in sorted(waits.items()):
        quick = min((w for w in found if not w[2]), key=lambda w: w[0], default=None)
        late = max((w for w in found if w[2]), key=lambda w: w[0], default=None)
        if quick is None or late is None or late[0] < FAR * quick[0]:
            continue
        if best is None or late[0] / quick[0] > best[0]:
            best = late[0] / quick[0], Pace(quick[1], late[1], first, then, quick[0], late[0])
    return None if best is None else best[1]


def section(c: Context) -> Section:
    """Groups with their cards, or what it takes to have them."""
    groups = sizes(c)
    if not groups:
        text = SMALL if c.run.segments is not None and c.run.segments.height else MISSING
        said = say(text, many=c.many, k=c.k)
        return without("groups", "Groups", "groups", said)
    table = _table(c, groups)
    calendar = Calendar.of(c.run)
    weekly = _weekly(c, groups, calendar)
    blocks: list[Block] = [_index(groups, table), _key(c)] if len(groups) > 2 else [_key(c)]
    shared = _shared(c, groups)
    typical = _typical(c, groups, shared)
    for row, group in enumerate(groups):
        blocks.append(_card(c, group, row, table, weekly, calendar, typical, shared.get(group.id)))
    tables = (table, weekly, typical) if typical.rows else (table, weekly)
    return Section("groups", "Groups", _heading(c, groups), _sub(c, groups), tuple(blocks), tables)


def _index(groups: list[Group], table: Table) -> Index:
    """Names of the groups with their shares, each leading to its card."""
    return Index(tuple((f"group-{g.id}", g.name, table.show(i, "share")) for i, g in enumerate(groups)))


def _heading(c: Context, groups: list[Group]) -> Markup:
    pair = opposite_order(c)
    if pair is not None:
        return say(
            "“{x}” go from {a} to {b}, “{y}” from {b} to {a}",
            x=pair.one.name,
            y=pair.other.name,
            a=touchpoint(pair.first),
            b=touchpoint(pair.then),
        )
    if len(groups) == 1:
        return say("One group: the {many} differ too little to tell them apart", many=c.many)
    return say(
        "{k} groups, told apart by what comes after what, and how soon", k=sentence_case(spelled(len(groups)))
    )


def _sub(c: Context, groups: list[Group]) -> Markup:
    assert c.run.segments is not None
    text = "Groups by order and timing of their journeys, not by counts. {n} {many}"
    sub = say(
        text,
        n=c.facts.add("segmented", c.run.segments.height, "count", f"{c.many} looked at").shown,
        many=c.many,
    )
    left = int((c.run.segments["segment_id"] == -1).sum())
    if 0 < left < c.k:
        sub += say(", of which fewer than {k} in no group", k=c.k)
    elif left:
        what = f"{c.many} with too few events for a group"
        sub += say(", of which {n} in no group", n=c.facts.add("unassigned_n", left, "count", what).shown)
    small = c.run.segments.filter(pl.col("segment_id") >= 0)["segment"].n_unique() - len(groups)
    if small:
        sub += say("; {n} group{s} of fewer than {k} not shown", n=small, s="s" if small > 1 else "", k=c.k)
    return sub + say(". A group describes, it does not explain why.")


def _key(c: Context) -> Key:
    note = ""
    if c.kinds.rest > 1:
        note = f"“Other” stands for {write(c.kinds.rest, 'count')} less frequent activities."
    items = (*((n, c.kinds.hues[n]) for n in c.kinds.names), (_quiet(c), c.kinds.hues[SILENCE]))
    return Key(items, note)


def _quiet(c: Context) -> str:
    """What the rest of a week is: nothing, or what too few people did to be shown."""
    return SILENCE if c.k == 1 else f"{SILENCE}, or under {c.k} {c.many}"


def _table(c: Context, groups: list[Group]) -> Table:
    columns = (
        Column("segment", "Group"),
        Column("n_cases", sentence_case(c.many), "count", bar=True),
        Column("share", "Share", "share"),
        Column("median_events", f"Events per {c.one}, median", "number"),
        Column("median_gap_days", "Between two events, median", "days"),
        Column("strength", "How clearly they belong", "nats"),
    )
    assert c.run.segments is not None
    strength = dict(
        c.run.segments.sort("case_id").group_by("segment_id").agg(pl.col("strength").mean()).iter_rows()
    )
    rows = [
        {
            "segment": g.name,
            "n_cases": g.n,
            "share": g.share,
            "median_events": g.profile.get("median_events"),
            "median_gap_days": g.profile.get("median_gap_days"),
            "strength": strength.get(g.id),
        }
        for g in groups
    ]
    return Table.of("groups", "Groups and their sizes", columns, rows, "behavio segments RUN --sizes")


def _weekly(c: Context, groups: list[Group], calendar: Calendar) -> Table:
    names = {g.id: g.name for g in groups}
    assert c.run.segments is not None
    members = c.run.segments.filter(pl.col("segment_id").is_in(list(names))).select(
        "case_id", group=pl.col("segment_id").cast(pl.String)
    )
    found = shares(c.run, c.kinds, calendar, members, c.k)
    columns = (
        Column("segment", "Group"),
        Column("bin", sentence_case(calendar.unit), "count"),
        *(Column(name, name, "share") for name in c.kinds.names),
        Column(SILENCE, _quiet(c), "share"),
    )
    rows = [
        {"segment": g.name, "bin": i + 1, **row} for g in groups for i, row in enumerate(found[str(g.id)])
    ]
    title = f"What {calendar.brings}, share of the group"
    return Table.of("weekly", title, columns, rows, "behavio report RUN")


def _card(
    c: Context,
    group: Group,
    row: int,
    table: Table,
    weekly: Table,
    calendar: Calendar,
    typical: Table,
    shared: Shared | None,
) -> Card:
    size = say(
        "{n} {many} · {share}", n=table.show(row, "n_cases"), many=c.many, share=table.show(row, "share")
    )
    if table.rows[row]["median_events"] is not None:
        size += say(" · {e} events each, median", e=table.show(row, "median_events"))
    return Card(
        id=f"group-{group.id}",
        name=group.name,
        size=size,
        sentence=held(str(group.profile.get("sentence", ""))),
        journey=_journey(c, group, shared, typical),
        weeks=_weeks(c, group, row, weekly, calendar),
        answers=answers(c, group.id, group.name, group.profile),
    )


def _shared(c: Context, groups: list[Group]) -> dict[int, Shared]:
    """The part of each group's typical journey that k of the group or more went through."""
    segments = c.run.segments
    if segments is None or not any(g.profile.get("typical", {}).get("events") for g in groups):
        return {}
    traces = Traces.of(c.run.events, c.run.timed)
    ids = c.run.events["case_id"].gather(traces.offsets[:-1])
    label = pl.DataFrame({"case_id": ids}).join(
        segments.select("case_id", "segment_id"), on="case_id", how="left", maintain_order="left"
    )["segment_id"]
    found = {}
    for group in groups:
        names = [str(e["activity"]) for e in group.profile.get("typical", {}).get("events", [])]
        mine = (label == group.id).fill_null(False).arg_true().to_numpy()
        shared = shared_run(traces, mine, names, c.k)
        if shared is not None:
            found[group.id] = shared
    return found


def _typical(c: Context, groups: list[Group], shared: dict[int, Shared]) -> Table:
    """Every event of the typical stretches, with its day."""
    rows = [
        {
            "segment": g.name,
            "activity": touchpoint(a),
            "day": day,
            "n_cases": shared[g.id].people,
            "events": len(shared[g.id].names),
            "length": shared[g.id].days[-1],
        }
        for g in groups
        if g.id in shared
        for a, day in zip(shared[g.id].names, shared[g.id].days, strict=True)
    ]
    columns = (
        Column("segment", "Group"),
        Column("activity", "What"),
        Column("day", "Day", "days"),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("events", "Events", "count"),
        Column("length", "From first to last", "days"),
    )
    return Table.of(
        "typical", "A typical stretch of each group", columns, rows, "behavio report RUN --as csv"
    )


def _journey(c: Context, group: Group, found: Shared | None, table: Table) -> Figure | None:
    if found is None:
        return None
    dots = [
        Dot(day, sentence_case(short_touchpoint(name)), c.kinds.hue(name))
        for name, day in zip(found.names, found.days, strict=True)
    ]
    place = next(i for i, r in enumerate(table.rows) if r["segment"] == group.name)
    length = found.days[-1]
    said = " → ".join(dict.fromkeys(t(d.label) for d in dots))
    text = say(
        "A typical stretch: {n} events that {m} {many} of the group went through in this order, nothing in "
        "between",
        n=table.show(place, "events"),
        m=table.show(place, "n_cases"),
        many=c.many,
    )
    if c.run.timed:
        text += say(
            ", with the median time between them, {t} in all. Dots stand where the {u} fall.",
            t=table.show(place, "length"),
            u="days" if length > 2 else "hours",
        )
    else:
        text += Markup(".")
    alt = say(
        "Typical stretch of {g}: {n} events over {t}; in order {said}",
        g=group.name,
        n=len(dots),
        t=write(length, "days"),
        said=said,
    )
    return Figure(Markup(""), strip(dots), alt.striptags(), text)


def _weeks(c: Context, group: Group, place: int, weekly: Table, calendar: Calendar) -> Figure:
    rows = weekly.rows[place * calendar.bins : (place + 1) * calendar.bins]
    values = [[float(r[name] or 0.0) for name in c.kinds.names] for r in rows]
    loudest = c.kinds.names[max(range(len(c.kinds.names)), key=lambda i: sum(v[i] for v in values))]
    silence = sum(r[SILENCE] for r in rows) / len(rows)
    start = "" if not calendar.relative else " since the first event"
    caption = say("What {u}{s}, share of the group", u=calendar.brings, s=start)
    quiet = write(silence, "share")
    alt = say(
        "{g}: on average {q} of the group are silent; most of the rest is {x}",
        g=group.name,
        q=quiet,
        x=loudest.lower(),
    )
    hues = [c.kinds.hues[n] for n in c.kinds.names]
    return Figure(
        Markup(""), weeks(values, hues, calendar.ticks(c.run), "100\u00a0%"), alt.striptags(), caption
    )
