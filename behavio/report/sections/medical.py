"""The medical view: what the medical team itself did, by name and never by rank."""

from __future__ import annotations

import polars as pl

from behavio.report.blocks import Block, Section, Sheet, without
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table
from behavio.words import touchpoint

COMMAND = "behavio report RUN --role medical --as csv"
MISSING = (
    "Nothing in this log was done by the medical team. Calls of medical science liaisons are known by their "
    "record type (export RecordType.DeveloperName), anything else by a column team that says medical."
)


def section(c: Context) -> Section | None:
    """Contacts and messages of the medical team; None for every other role."""
    if c.settings.role != "medical":
        return None
    own = c.run.events.filter(pl.col("team").str.to_lowercase() == "medical")
    people = own["case_id"].n_unique()
    if people < c.k:
        return without("medical", "Medical team", "contacts of the medical team", say(MISSING))
    reached = c.facts.add("medical_cases", people, "count", f"{c.many} the medical team was in contact with")
    blocks: list[Block] = []
    tables = [t for t in (_activities(c, own), _messages(c, own), _groups(c, own)) if t is not None]
    titles = {
        "medical_activities": say("What the medical team did"),
        "medical_messages": say("What it spoke about, by name"),
        "medical_groups": say("Whom it met"),
    }
    note = say("Fewer than {k} {many} are not shown. Nothing is ranked.", k=c.k, many=c.many)
    blocks = [Sheet(table, titles[table.name], note) for table in tables]
    heading = say(
        "The medical team was in contact with {n} of {m} {many}",
        n=reached.shown,
        m=c.cases.shown,
        many=c.many,
    )
    sub = say("Events of the medical team alone, {p}; contacts of sales and marketing stay out.", p=c.period)
    return Section("medical", "Medical team", heading, sub, tuple(blocks), tuple(tables))


def _counted(c: Context, own: pl.DataFrame, column: str) -> list[dict[str, object]]:
    counts = own.drop_nulls(column).group_by(column).agg(n=pl.len(), n_cases=pl.col("case_id").n_unique())
    return counts.filter(pl.col("n_cases") >= c.k).sort(column).rows(named=True)


def _activities(c: Context, own: pl.DataFrame) -> Table | None:
    rows = [{**r, "activity": touchpoint(str(r["activity"]))} for r in _counted(c, own, "activity")]
    columns = (
        Column("activity", "What"),
        Column("n", "How often", "count"),
        Column("n_cases", sentence_case(c.many), "count"),
    )
    title = "What the medical team did"
    return Table.of("medical_activities", title, columns, rows, COMMAND) if rows else None


def _messages(c: Context, own: pl.DataFrame) -> Table | None:
    rows = _counted(c, own, "message")
    columns = (
        Column("message", "Message"),
        Column("n", "How often", "count"),
        Column("n_cases", sentence_case(c.many), "count"),
    )
    title = "What the medical team spoke about"
    return Table.of("medical_messages", title, columns, rows, COMMAND) if rows else None


def _groups(c: Context, own: pl.DataFrame) -> Table | None:
    if c.run.segments is None:
        return None
    met = c.run.segments.filter(pl.col("case_id").is_in(own["case_id"].unique().implode()))
    counts = dict(met.group_by("segment_id").len().iter_rows())
    rows = [
        {"segment": g.name, "n_cases": counts[g.id], "share": counts[g.id] / g.n}
        for g in sizes(c)
        if counts.get(g.id, 0) >= c.k
    ]
    columns = (
        Column("segment", "Group"),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("share", "Of the group", "share"),
    )
    title = "Whom the medical team met, by group"
    return Table.of("medical_groups", title, columns, rows, COMMAND) if rows else None
