"""How HCPs treat: counts of patients that a study brought in, beside the groups of the run."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.tables import Column, Table

COUNT = "treated_patients"
ASKED = {
    "segment": "Group",
    "main_regimen": "Main regimen",
    "focus_against_rest": "Use of the focus drug against the others",
    "focus_profile": "Patients to look at",
}
"""What rows are counted by; texts of the catalogue."""


def section(c: Context) -> Section | None:
    """Cases by what they treat with; nothing for a job without [treatment]."""
    cases = _treated(c)
    if cases is None or c.settings.group is not None:
        return None
    rows = [row for by, title in ASKED.items() for row in _rows(c, cases, by, title)]
    if not rows:
        return None
    columns = (
        Column("by", "By"),
        Column("name", "Of"),
        Column("n_cases", "Cases", "count"),
        Column("patients", "Patients", "count"),
        Column("focus_share", "On the focus drug", "share", bar=True),
    )
    table = Table.of("treated", "How they treat", columns, rows, "behavio treatment … --out STUDY")
    heading = _heading(c, cases)
    blocks: tuple[Block, ...] = (Sheet(table, say("How they treat")),)
    return Section("treated", "How they treat", heading, _sub(c), blocks, (table,))


def _treated(c: Context) -> pl.DataFrame | None:
    """Cases with a count of patients, columns without the prefix of the job; None where there are none."""
    name = next((n for n in c.run.cases.columns if n.endswith(COUNT)), None)
    if name is None:
        return None
    prefix = name.removesuffix(COUNT)
    known = {n: n.removeprefix(prefix) for n in c.run.cases.columns if n.startswith(prefix)}
    mine = {n: short for n, short in known.items() if short in (COUNT, "focus_share", *ASKED)}
    cases = c.run.cases.select("case_id", pl.col(*mine).name.map(lambda n: mine[n]))
    cases = cases.filter(pl.col(COUNT).is_not_null()).drop("segment", strict=False)
    if c.run.segments is not None:
        own = c.run.segments.select(pl.col("case_id").cast(pl.String), "segment")
        cases = cases.join(own, on="case_id", how="left")
    return cases if cases.height >= c.k else None


def _rows(c: Context, cases: pl.DataFrame, by: str, title: str) -> list[dict[str, Any]]:
    if by not in cases.columns:
        return []
    told = pl.col("focus_share").is_not_null()
    weight = pl.when(told).then(pl.col(COUNT)) if "focus_share" in cases.columns else pl.lit(None)
    share = (pl.col("focus_share") * weight).sum() / weight.sum() if "focus_share" in cases.columns else None
    found = cases.drop_nulls(by).group_by(pl.col(by).cast(pl.String).alias("name"))
    table = found.agg(
        n_cases=pl.len(), patients=pl.col(COUNT).sum(), focus_share=pl.lit(None) if share is None else share
    )
    table = table.filter(pl.col("n_cases") >= c.k).sort("n_cases", "name", descending=[True, False])
    return [{"by": str(say(title)), **row} for row in table.iter_rows(named=True)]


def _heading(c: Context, cases: pl.DataFrame) -> Markup:
    n = c.facts.add("treated_cases", cases.height, "count", f"{c.many} of whose patients a study tells")
    m = c.facts.add("treated_patients", int(cases[COUNT].sum()), "count", "patients of these")
    return say("A study tells how {n} {many} treat {m} patients", n=n.shown, m=m.shown, many=c.many)


def _sub(c: Context) -> Markup:
    return say(
        "Counts of ten patients or more for each of the {many}, brought in and never a patient. Rows of "
        "fewer than {k} {many} are not shown. An association: nobody drew lots who treats whom.",
        many=c.many,
        k=c.k,
    )
