"""What stands out: steps that come after each other more, or less, often than chance would have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Figure, Prose, Section, Sheet, without
from behavio.report.charts.track import Row, ratio_axis, track
from behavio.report.context import Context, say
from behavio.report.kinds import path, sentence_case
from behavio.report.numbers import times
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table

TOP, PER_GROUP, ENOUGH, PLAIN = 12, 3, 4, 3
CALLED = ("call_f2f", "call_video", "call_phone", "message_shown")
MAY_BE_CHANCE = 0.05


def _spoken(activities: list[str]) -> str:
    """A pattern as the start of a sentence: "Rep visit, then email sent × 2"."""
    return sentence_case(path(activities).replace(" → ", ", then "))


def _rows(c: Context, segment: str | None) -> pl.DataFrame:
    """Patterns of the whole log, or of one group, of two steps or more and at least k people, as they "
    "come."""
    table = c.run.patterns
    if table is None or table.height == 0:
        return pl.DataFrame()
    where = pl.col("segment").is_null() if segment is None else pl.col("segment") == segment
    return table.filter(
        where & (pl.col("n_cases") >= c.k) & (pl.col("length") > 1) & pl.col("lift").is_not_null()
    )


def _sure(row: dict[str, Any]) -> bool:
    q = row.get("q_value")
    apart = row["low"] is None or not row["low"] <= 1 <= row["high"]
    return apart and (q is None or q <= MAY_BE_CHANCE)


def _strongest(rows: pl.DataFrame) -> dict[str, Any] | None:
    """The surest of these patterns above chance; one that repeats no step goes before one that does."""
    best: tuple[bool, float, dict[str, Any]] | None = None
    for row in rows.iter_rows(named=True):
        kinds = len(set(row["activities"]))
        if kinds < 2 or not _sure(row) or row["lift"] <= 1:
            continue
        rank = (kinds == row["length"], row["low"] or 0.0)
        if best is None or rank > best[:2]:
            best = (*rank, row)
    return None if best is None else best[2]


def _shown(c: Context) -> tuple[pl.DataFrame, bool]:
    """The patterns worth a reader's time, as they come, and whether any were passed over for saying little.

    On HCP logs these end in, or lead through, something the HCP does after a contact on another channel;
    that a reaction follows its call, or an open its email, is how such logs are written. Where fewer than
    `ENOUGH` are left, all count.
    """
    rows = _rows(c, None)
    if not c.run.hcp or rows.height == 0:
        return rows.head(TOP), False
    kinds = c.run.events.select("activity", "channel", "direction").unique("activity", keep="first")
    known = {a: (channel, direction) for a, channel, direction in kinds.iter_rows()}
    telling = rows.filter(
        pl.Series([answered_elsewhere(a, known) for a in rows["activities"].to_list()], dtype=pl.Boolean)
    )
    telling = telling.filter((pl.col("lift") > 1) & ~_repeats())
    if telling.height < ENOUGH:
        return rows.head(TOP), False
    return telling.head(TOP), True


def _repeats() -> pl.Expr:
    """True for a pattern that takes some step twice: longer, and no clearer."""
    return pl.col("activities").list.n_unique() < pl.col("length")


def answered_elsewhere(activities: list[str], known: Mapping[str, tuple[str | None, str | None]]) -> bool:
    """True when the HCP does something after a contact that came on another channel.

    known  activity → (channel, direction). A recorded reaction is part of its call, so it is no answer here.
    """
    contacted: set[str | None] = set()
    for activity in activities:
        channel, direction = known.get(activity, (None, None))
        if direction == "outbound":
            contacted.add(_medium(activity, channel))
        elif (
            direction == "inbound"
            and not activity.startswith("reaction_")
            and contacted - {_medium(activity, channel)}
        ):
            return True
    return False


def _medium(activity: str, channel: str | None) -> str | None:
    return "call" if activity in CALLED else channel


def sentence(c: Context) -> Markup | None:
    """The strongest pattern of the log, in one sentence."""
    best = _strongest(_shown(c)[0])
    if best is None:
        return None
    fact = c.facts.add(
        "strongest_pattern",
        best["lift"],
        "ratio",
        f"{best['pattern']}: cases holding it, against the same cases with their events shuffled",
        n=best["n_cases"],
        low=best["low"],
        high=best["high"],
    )
    n = c.facts.add(
        "strongest_pattern_cases", best["n_cases"], "count", f"{c.many} holding {best['pattern']}"
    )
    return say(
        "<b>{steps}</b> – {t} times as often as by chance {ci}, seen at {n} {many}.",
        steps=_spoken(best["activities"]),
        t=fact.shown,
        ci=fact.between,
        n=n.shown,
        many=c.noun(best["n_cases"]),
    )


def section(c: Context) -> Section:
    """Forest plot of the log's patterns and the telling ones of each group."""
    if c.run.patterns is None:
        text = "They need the patterns stage; add a [patterns] table to the job."
        return without("patterns", "What stands out", "patterns", say(text))
    rows, picked = _shown(c)
    if rows.height == 0:
        text = "No sequence of two steps is shared by {k} {many} or more at the support asked for."
        return Section(
            "patterns",
            "What stands out",
            Markup("No sequence of steps stands out"),
            blocks=(Prose((say(text, k=c.k, many=c.many),)),),
        )
    table = _table(c, rows, picked)
    blocks: list[Block] = [_forest(c, rows, table, picked)]
    tables = [table]
    telling = _telling(c)
    if telling is not None:
        tables.append(telling)
        blocks.append(Sheet(telling, Markup("What each group does more than the others"), _told(c)))
    return Section("patterns", "What stands out", _heading(rows), _sub(c), tuple(blocks), tuple(tables))


def _told(c: Context) -> Markup:
    """How the groups were held against each other."""
    note = say("Against all other {many}. Intervals are 95 %.", many=c.many)
    table = c.run.patterns
    if table is not None and "counted_in" in table.columns and (table["counted_in"] == "later half").any():
        note += say(
            " Counted in the later half of each journey; who belongs to a group was told from the first half "
            "alone: what made a group cannot prove it."
        )
    return note


def _heading(rows: pl.DataFrame) -> Markup:
    best = _strongest(rows)
    if best is None:
        return say("No sequence of steps comes more often than chance would have it")
    return say(
        "{steps} – {t}",
        steps=_spoken(best["activities"]),
        t=say("{t} as by chance", t=times(best["lift"])),
    )


def _sub(c: Context) -> Markup:
    return say(
        "How many {many} take these steps in this order and close together, against the same journeys with "
        "their events shuffled. Lines are 95 % intervals. Association, not proof.",
        many=c.many,
    )


def _table(c: Context, rows: pl.DataFrame, picked: bool) -> Table:
    columns = (
        Column("pattern", "Steps"),
        Column("lift", "Times as often", "ratio"),
        Column("low", "From", "ratio"),
        Column("high", "To", "ratio"),
        Column("n_cases", c.many[:1].upper() + c.many[1:], "count"),
        Column("support", "Share", "share"),
        Column("q_value", "May be chance", "chance"),
    )
    found = [{**r, "pattern": path(r["activities"])} for r in rows.iter_rows(named=True)]
    command = "behavio patterns RUN" if picked else f"behavio patterns RUN --top {TOP}"
    return Table.of("patterns", "Patterns of the whole log", columns, found, command)


def _forest(c: Context, rows: pl.DataFrame, table: Table, picked: bool) -> Figure:
    drawn = []
    found = list(rows.iter_rows(named=True))
    for i, r in enumerate(found):
        low, high = r["low"] or r["lift"], r["high"] or r["lift"]
        value = say("{t} × {ci}", t=table.show(i, "lift"), ci=table.between(i, "low", "high"))
        drawn.append(
            Row(
                say("{s}", s=path(r["activities"])),
                value,
                say("{n} {many}", n=table.show(i, "n_cases"), many=c.many),
                max(r["lift"], 1e-3),
                max(low, 1e-3),
                max(high, 1e-3),
                hollow=not _sure(r),
            )
        )
    drawn.sort(key=lambda d: -d.middle)
    axis = ratio_axis([d.low for d in drawn], [d.high for d in drawn])
    hollow = sum(d.hollow for d in drawn)
    caption = say(
        "{n} sequences of the patterns table; {m}",
        n=len(drawn),
        m="hollow: may be chance." if hollow else "none may be chance.",
    )
    if picked:
        caption += say(
            " Chosen: in each the {one} does something after a contact on another channel, and no step comes "
            "twice. A reaction noted in a call, or the opening of the email just sent, is no news.",
            one=c.one,
        )
    alt = "; ".join(
        str(say("{p} {t} as by chance", p=path(r["activities"]), t=times(r["lift"], r["low"], r["high"])))
        for r in found[:5]
    )
    head = ("Steps", "Times as often", "Seen at")
    return Figure(Markup(""), track(drawn, axis, head), alt, caption, table)


def _apart(rows: pl.DataFrame, most: int) -> list[dict[str, Any]]:
    """The first rows that say something new: no two of the same activities, none inside another.

    Short ones that repeat no step go first: "download after an event" says what the longer ones say.
    """
    kept: list[dict[str, Any]] = []
    short = pl.col("length") > PLAIN
    for row in (
        rows.sort([_repeats(), short], maintain_order=True).iter_rows(named=True) if rows.height else ()
    ):
        if not _sure(row) or row["lift"] <= 1:
            continue
        if all(not (set(row["activities"]) <= set(k["activities"])) for k in kept):
            kept.append(row)
        if len(kept) == most:
            break
    return kept


def _telling(c: Context) -> Table | None:
    columns = (
        Column("segment", "Group"),
        Column("pattern", "Steps"),
        Column("lift", "Times as often", "ratio"),
        Column("low", "From", "ratio"),
        Column("high", "To", "ratio"),
        Column("n_cases", c.many[:1].upper() + c.many[1:], "count"),
    )
    rows = [
        {**row, "pattern": path(row["activities"])}
        for group in sizes(c)
        for row in _apart(_rows(c, group.name), PER_GROUP)
    ]
    if not rows:
        return None
    return Table.of(
        "telling", "Patterns that set a group apart", columns, rows, "behavio patterns RUN --segment NAME"
    )
