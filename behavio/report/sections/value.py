"""What cases are worth beside how they behave, what contacts and answers cost, what that speaks for."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.tables import Column, Table

EVERY = "all"


def section(c: Context) -> Section | None:
    """Cells, costs, policy; nothing for a job without [value]."""
    found = c.run.value
    if found is None or found.get("cells") is None or c.settings.group is not None:
        return None
    made = [_cells(c, found["cells"]), _costs(c, found), _policy(c, found["policy"])]
    blocks: list[Block] = [b for b in made if b is not None]
    if not blocks:
        return None
    tables = tuple(b.table for b in blocks if isinstance(b, Sheet))
    return Section("value", "Value", _heading(c, found), _sub(c, found), tuple(blocks), tables)


def _heading(c: Context, found: dict[str, Any]) -> Markup:
    top = found["levels"][-1]
    cells = found["cells"].filter((pl.col("segment") == EVERY) & pl.col("level").is_in([top, EVERY]))
    by = {r["level"]: r for r in cells.iter_rows(named=True)}
    if top not in by or by[top]["answered"] is None or by.get(EVERY, {}).get("answered") is None:
        return say("Value beside behaviour")
    one, all_of = by[top], by[EVERY]
    add = c.facts.add
    a = add("value_top", one["answered"], "share", "contacts answered", low=one["low"], high=one["high"])
    b = add("value_all", all_of["answered"], "share", "contacts answered, all")
    return say("Of contacts with “{v}” value {a} are answered, of all {b}", v=top, a=a.shown, b=b.shown)


def _sub(c: Context, found: dict[str, Any]) -> Markup:
    return say(
        "Value is the column “{x}”, brought in and not inferred from what {many} do. Cells of fewer than {k} "
        "are not shown.",
        x=found["column"],
        many=c.many,
        k=c.k,
    )


def _cells(c: Context, cells: pl.DataFrame) -> Sheet | None:
    kept = cells.filter(pl.col("n_cases") >= c.k)
    if not kept.height:
        return None
    columns = (
        Column("level", "Value"),
        Column("segment", "Group"),
        Column("n_cases", "Cases", "count"),
        Column("contacts_28d", "Contacts in 28 days", "ratio", bar=True),
        Column("answered", "Answered", "share"),
        Column("low", "From", "share"),
        Column("high", "To", "share"),
    )
    table = Table.of(
        "value_cells", "Value and behaviour", columns, kept.iter_rows(named=True), "behavio value RUN"
    )
    return Sheet(table, say("Value beside behaviour"))


def _costs(c: Context, found: dict[str, Any]) -> Sheet | None:
    costs = found["costs"]
    if costs is None or not costs.height:
        return None
    kept = costs.filter((pl.col("n_cases") >= c.k) & (pl.col("by") != "segment and channel"))
    columns = (
        Column("by", "By"),
        Column("name", "Of"),
        Column("n_touches", "Contacts", "count"),
        Column("per_touch", "A contact", "ratio"),
        Column("touch_low", "From", "ratio"),
        Column("touch_high", "To", "ratio"),
        Column("per_answer", "An answer", "ratio"),
        Column("answer_low", "From", "ratio"),
        Column("answer_high", "To", "ratio"),
    )
    table = Table.of("value_costs", "Costs", columns, kept.iter_rows(named=True), "behavio value RUN --costs")
    return Sheet(table, say("What a contact and an answer cost, in {x}", x=found["currency"]))


def _policy(c: Context, policy: pl.DataFrame | None) -> Sheet | None:
    if policy is None or not policy.height:
        return None
    columns = (
        Column("level", "Value"),
        Column("segment", "Group"),
        Column("contacts", "Contacts"),
        Column("channels", "Channels"),
        Column("n_allowed", "May be contacted", "count"),
        Column("reason", "Because"),
    )
    rows = [
        r
        | {
            "channels": ", ".join(r["channels"]),
            "n_allowed": r["n_allowed"] if r["n_allowed"] >= c.k else None,
        }
        for r in policy.filter(pl.col("n_cases") >= c.k).iter_rows(named=True)
    ]
    table = Table.of("value_policy", "Targeting policy", columns, rows, "behavio value RUN --policy")
    note = say("A proposal from associations: nothing here proves that a contact causes its answer.")
    return Sheet(table, say("What the figures speak for"), note)
