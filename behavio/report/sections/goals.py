"""What was wanted and what came of it; what the run before promised."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.tables import Column, Table


def section(c: Context) -> Section | None:
    """Goals, then the run before; nothing for a job without [goals]."""
    found = c.run.goals
    if found is None or found.get("goals") is None:
        return None
    made = [_goals(c, found["goals"]), _suggested(found["suggested"]), _groups(found["groups"])]
    blocks: list[Block] = [b for b in made if b is not None]
    if not blocks:
        return None
    tables = tuple(b.table for b in blocks if isinstance(b, Sheet))
    return Section("goals", "Goals", _heading(c, found["goals"]), _sub(c), tuple(blocks), tables)


def _heading(c: Context, goals: pl.DataFrame) -> Markup:
    if not goals.height:
        return say("What the run before said, and what happened since")
    met = goals.filter(verdict="met").height
    add = c.facts.add
    return say(
        "{n} of {m} goals are met",
        n=add("goals_met", met, "count", "goals met").shown,
        m=add("goals", goals.height, "count", "goals declared").shown,
    )


def _sub(c: Context) -> Markup:
    return say(
        "Goals stand in the job before anybody looks. One is met, or not, only where the whole interval says "
        "so; fewer than {k} {many} are not measured.",
        k=c.k,
        many=c.many,
    )


def _goals(c: Context, goals: pl.DataFrame) -> Sheet | None:
    if not goals.height:
        return None
    columns = (
        Column("goal", "Goal"),
        Column("verdict", "Verdict"),
        Column("of", "Of"),
        Column("wanted", "Wanted"),
        Column("target", "Goal value", "ratio"),
        Column("value", "Measured", "ratio"),
        Column("low", "From", "ratio"),
        Column("high", "To", "ratio"),
        Column("reason", "Why"),
    )
    rows = [_shown(r, c.k) for r in goals.iter_rows(named=True)]
    table = Table.of("goals", "Goals", columns, rows, "behavio goals RUN")
    return Sheet(table, say("What was wanted, and what came of it"))


def _shown(row: dict[str, Any], k: int) -> dict[str, Any]:
    of = ", ".join(x for x in (row["group"], row["channel"]) if x) or "all"
    few = 0 < row["n_cases"] < k
    hidden = {"value": None, "low": None, "high": None, "verdict": "not measurable", "reason": "too few"}
    wanted = f"{row['measure']} {row['wanted']}"
    return row | {"of": of, "wanted": wanted} | (hidden if few else {})


def _suggested(table: pl.DataFrame | None) -> Sheet | None:
    if table is None or not table.height:
        return None
    columns = (
        Column("action", "Contact"),
        Column("verdict", "Since"),
        Column("n_suggested", "As suggested", "count"),
        Column("answered_suggested", "Answered", "share"),
        Column("n_other", "Not suggested", "count"),
        Column("answered_other", "Answered", "share"),
        Column("difference", "Difference", "gap"),
        Column("low", "From", "gap"),
        Column("high", "To", "gap"),
    )
    made = Table.of(
        "goals_suggested",
        "Suggestions of the run before",
        columns,
        table.iter_rows(named=True),
        "behavio goals RUN --suggested",
    )
    note = say(
        "Contacts made as suggested beside like contacts nobody had suggested: same action, same group, as "
        "many answers before. Chosen, not drawn by lot: an association."
    )
    return Sheet(made, say("Suggestions of the run before, and the answers since"), note)


def _groups(table: pl.DataFrame | None) -> Sheet | None:
    if table is None or not table.height:
        return None
    columns = (
        Column("segment", "Group before"),
        Column("verdict", "Since"),
        Column("stayed", "Together again", "share"),
        Column("activity", "Set apart by"),
        Column("before", "Then", "gap"),
        Column("difference", "Since then", "gap"),
        Column("low", "From", "gap"),
        Column("high", "To", "gap"),
    )
    made = Table.of(
        "goals_groups",
        "Groups of the run before",
        columns,
        table.iter_rows(named=True),
        "behavio goals RUN --groups",
    )
    return Sheet(made, say("Groups of the run before, in what happened since"))
