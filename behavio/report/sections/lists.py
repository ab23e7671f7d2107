"""From a group to the list of its members: how many have a suggestion, and the line that prints who."""

from __future__ import annotations

import polars as pl

from behavio.report.blocks import Sheet
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table


def by_group(c: Context, made: pl.DataFrame) -> Sheet | None:
    """Suggestions per group, groups of k people with one or more; None without groups."""
    if c.run.segments is None:
        return None
    members = c.run.segments.select("case_id", "segment_id")
    counted = (
        made.select("case_id")
        .join(members, on="case_id")
        .group_by("segment_id")
        .agg(n=pl.len(), n_cases=pl.col("case_id").n_unique())
    )
    found = {i: (n, people) for i, n, people in counted.iter_rows()}
    rows = []
    for group in sizes(c):
        n, people = found.get(group.id, (0, 0))
        if people >= c.k:
            rows.append({"segment": group.name, "n": n, "n_cases": people, "share": people / group.n})
    if not rows:
        return None
    columns = (
        Column("segment", "Group"),
        Column("n", "Suggestions", "count", bar=True),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("share", "Of the group", "share"),
    )
    table = Table.of("suggested_groups", "Suggestions by group", columns, rows, LINE)
    top = max(range(len(rows)), key=lambda i: rows[i]["share"])
    title = say(
        "{s} of “{g}” have a suggestion, more than of any other group",
        s=table.show(top, "share"),
        g=rows[top]["segment"],
    )
    note = say(
        "The line below lists the members of one group; consent is applied before anything is exported."
    )
    return Sheet(table, title if len(rows) > 1 else say("Suggestions by group"), note)


LINE = "behavio audience RUN \"segment = 'NAME'\""
