"""Content: which messages are shown, how they are taken, which never reached whom."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Figure, Section, Sheet, without
from behavio.report.charts.track import Row, ShareAxis, track
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.measures import REACTIONS, Estimate, net_reaction
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table

MOST = 14
MISSING = "No event carries a message. It needs key messages in the calls, or a column message in the log."
AXIS = ShareAxis(((0.0, "−1"), (0.25, ""), (0.5, "even"), (0.75, ""), (1.0, "+1")), home=0.5)


def section(c: Context) -> Section | None:
    """Messages by reach and reaction, gaps per group; None in a log that is not of HCPs."""
    if not c.run.hcp:
        return None
    shown = c.run.events.filter(pl.col("message").is_not_null())
    table = _table(c, shown) if shown.height else None
    if table is None:
        return without("content", "Content", "content", say(MISSING))
    blocks: list[Block] = [Sheet(table, _title(c, table), _note(c))]
    tables = [table]
    taken = _taken(table)
    if taken is not None:
        blocks.append(taken)
    gaps = _gaps(c, shown, table)
    if gaps is not None:
        tables.append(gaps)
        blocks.append(Sheet(gaps, _gaps_title(gaps), _gaps_note(c)))
    return Section(
        "content", "Content", _heading(c, shown, table), _sub(c, shown), tuple(blocks), tuple(tables)
    )


def _known(c: Context) -> int:
    return c.run.n_known


def _table(c: Context, shown: pl.DataFrame) -> Table | None:
    rows = []
    for (message,), own in sorted(shown.group_by("message"), key=lambda pair: str(pair[0])):
        people = own["case_id"].n_unique()
        if people < c.k:
            continue
        marked = own.filter(pl.col("activity").is_in(list(REACTIONS)))
        net: Estimate | None = net_reaction(marked) if marked["case_id"].n_unique() >= c.k else None
        rows.append(
            {
                "message": message,
                "times": own.height,
                "n_cases": people,
                "reach": people / max(_known(c), 1),
                "reactions": marked.height if net is not None else None,
                "net": None if net is None else net.value,
                "low": None if net is None else net.low,
                "high": None if net is None else net.high,
            }
        )
    if not rows:
        return None
    rows.sort(key=lambda r: (-int(r["n_cases"]), str(r["message"])))
    columns = (
        Column("message", "Message"),
        Column("times", "Shown", "count"),
        Column("n_cases", sentence_case(c.many), "count", bar=True),
        Column("reach", f"Of all {c.many}", "share"),
        Column("reactions", "Reactions", "count"),
        Column("net", "Net reaction", "signed"),
        Column("low", "From", "signed"),
        Column("high", "To", "signed"),
    )
    return Table.of(
        "messages", "Messages, their reach and reaction", columns, rows[:MOST], "behavio report RUN --as csv"
    )


def _heading(c: Context, shown: pl.DataFrame, table: Table) -> Markup:
    told = [i for i, r in enumerate(table.rows) if r["net"] is not None]
    if len(told) > 1:
        best = max(told, key=lambda i: table.rows[i]["net"])
        worst = min(told, key=lambda i: table.rows[i]["net"])
        if table.rows[best]["low"] <= table.rows[worst]["high"]:
            return say("No message is taken clearly better than another")
        return say(
            "“{x}” is taken better than “{y}”: net reaction {a} {ci} against {b} {cj}",
            x=table.rows[best]["message"],
            y=table.rows[worst]["message"],
            a=table.show(best, "net"),
            ci=table.between(best, "low", "high"),
            b=table.show(worst, "net"),
            cj=table.between(worst, "low", "high"),
        )
    people = shown["case_id"].n_unique()
    n = c.facts.add("message_cases", people, "count", f"{c.many} who were shown a message")
    return say("{n} {many} were shown a message", n=n.shown, many=c.many)


def _sub(c: Context, shown: pl.DataFrame) -> Markup:
    n = c.facts.add("messages_shown", shown.height, "count", "events with a message")
    return say("{n} events with a message, {p}.", n=n.shown, p=c.period)


def _title(c: Context, table: Table) -> Markup:
    return say(
        "The most shown message, “{m}”, reached {s} of {many}",
        m=table.rows[0]["message"],
        s=table.show(0, "reach"),
        many=c.many,
    )


def _note(c: Context) -> Markup:
    return say(
        "Net reaction: positive minus negative, over recorded reactions, with its 95 % interval. "
        "Messages that "
        "reached fewer than {k} {many} are not shown.",
        k=c.k,
        many=c.many,
    )


def _taken(table: Table) -> Figure | None:
    told = [i for i, r in enumerate(table.rows) if r["net"] is not None]
    if len(told) < 2:
        return None
    told.sort(key=lambda i: -table.rows[i]["net"])
    rows = [
        Row(
            say("{m}", m=table.rows[i]["message"]),
            table.show(i, "net") + Markup(" ") + table.between(i, "low", "high"),
            say("{n} reactions", n=table.show(i, "reactions")),
            (table.rows[i]["net"] + 1) / 2,
            (table.rows[i]["low"] + 1) / 2,
            (table.rows[i]["high"] + 1) / 2,
            hollow=table.rows[i]["low"] <= 0 <= table.rows[i]["high"],
        )
        for i in told
    ]
    title = say("How each message is taken, best first")
    alt = "; ".join(f"{table.rows[i]['message']}: {table.text(i, 'net')}" for i in told)
    caption = say(
        "Net reaction by message, 95 % interval. Hollow: as many positive as negative, as far as known."
    )
    head = (str(say("Message")), str(say("Net reaction")), str(say("How many")))
    return Figure(title, track(rows, AXIS, head), alt, caption, table, again=True)


def _gaps(c: Context, shown: pl.DataFrame, table: Table) -> Table | None:
    """Per group the message that is missing for most of it."""
    if c.run.segments is None:
        return None
    messages = [str(r["message"]) for r in table.rows]
    rows = []
    for group in sizes(c):
        members = c.run.segments.filter(pl.col("segment_id") == group.id)["case_id"]
        own = shown.filter(pl.col("case_id").is_in(members.implode()))
        seen = dict(own.group_by("message").agg(pl.col("case_id").n_unique()).iter_rows())
        missing = max(messages, key=lambda m: (group.n - seen.get(m, 0), m))
        n = group.n - seen.get(missing, 0)
        if n >= c.k and (seen.get(missing, 0) == 0 or seen[missing] >= c.k):
            rows.append({"segment": group.name, "message": missing, "n_cases": n, "share": n / group.n})
    if not rows:
        return None
    columns = (
        Column("segment", "Group"),
        Column("message", "Missing most"),
        Column("n_cases", f"{sentence_case(c.many)} without it", "count", bar=True),
        Column("share", "Of the group", "share"),
    )
    return Table.of("message_gaps", "Missing messages by group", columns, rows, "behavio report RUN --as csv")


def _gaps_title(gaps: Table) -> Markup:
    worst = max(range(len(gaps.rows)), key=lambda i: gaps.rows[i]["share"])
    return say(
        "{s} of “{g}” have never been shown “{m}”",
        s=gaps.show(worst, "share"),
        g=gaps.rows[worst]["segment"],
        m=gaps.rows[worst]["message"],
    )


def _gaps_note(c: Context) -> Markup:
    return say(
        "Of the messages above, the one that most {many} of the group have not been shown in this "
        "period. Missing "
        "need not be wrong: a message may not be meant for them.",
        many=c.many,
    )
