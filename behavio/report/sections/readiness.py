"""What was read, what could not be used and why."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from behavio.report.blocks import Block, Prose, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.tables import Column, Table

TOP = 10


def section(c: Context) -> Section:
    """Counts per source, top reasons of rejection."""
    blocks: list[Block] = []
    tables: list[Table] = []
    sources = _sources(c)
    if sources is not None:
        tables.append(sources)
        note = Markup(
            "Read = accepted + rejected + merged. Merged rows are repeats of one fact or rows the reader "
            "leaves out on "
            "purpose, such as planned calls."
        )
        blocks.append(Sheet(sources, note=note))
    smells = _smells(c)
    if smells is not None:
        tables.append(smells)
        blocks.append(Sheet(smells, Markup("What looks odd in the data, and what it means for the results")))
    left = _left_out(c)
    if left is not None:
        tables.append(left)
        blocks.append(Sheet(left, Markup("What was merged or left out on purpose")))
    reasons = _reasons(c)
    if reasons is not None:
        tables.append(reasons)
        blocks.append(Sheet(reasons, Markup("Why rows were rejected")))
    if not blocks:
        blocks.append(Prose((Markup("The log was handed over in memory; no source was counted."),)))
    return Section("readiness", "Data", _heading(c), Markup(""), tuple(blocks), tuple(tables))


def _heading(c: Context) -> Markup:
    read = sum(int(s.get("read", 0)) for s in c.run.sources)
    if read == 0:
        return Markup("What the numbers stand on")
    rejected = sum(int(s.get("rejected", 0)) for s in c.run.sources)
    rows = c.facts.add("rows_read", read, "count", "rows read from all sources")
    if rejected == 0:
        return say("All {n} rows could be used or are accounted for", n=rows.shown)
    lost = c.facts.add("rows_rejected", rejected, "count", "rows that could not become an event", n=read)
    return say("{n} of {all} rows could not be used", n=lost.shown, all=rows.shown)


def _sources(c: Context) -> Table | None:
    if not c.run.sources:
        return None
    columns = [
        Column("name", "Source"),
        Column("read", "Rows read", "count"),
        Column("accepted", "Accepted", "count"),
        Column("rejected", "Rejected", "count"),
        Column("merged", "Merged", "count"),
        Column("first", "Oldest", "date"),
        Column("last", "Newest", "date"),
    ]
    if not c.run.timed:
        columns = columns[:5]
    rows = [_dated(s) for s in c.run.sources]
    return Table.of("sources", "Rows by source", columns, rows, "behavio check JOB")


def _dated(source: dict[str, Any]) -> dict[str, Any]:
    name = str(source.get("name", "")).replace("_", " ")
    return {**source, "name": name, **{k: (str(source.get(k) or "")[:10] or None) for k in ("first", "last")}}


def _smells(c: Context) -> Table | None:
    """What the readers found odd; who it was stays in `behavio check`, this page is passed on."""
    found = c.run.readiness.get("findings") or []
    if not found:
        return None
    sources = {str(s.get("name", "")) for s in c.run.sources}
    rows = [
        {
            **f,
            "finding": sentence_case(str(f["finding"])),
            "source": str(f.get("where")).replace("_", " ") if f.get("where") in sources else "",
            "means": sentence_case(str(f["means"])),
        }
        for f in found
    ]
    columns = (
        Column("finding", "Found"),
        Column("source", "Source"),
        Column("n", "Number", "count"),
        Column("of", "Of", "count"),
        Column("means", "What it means"),
    )
    return Table.of("smells", "Odd in the data", columns, rows, "behavio check JOB")


def _left_out(c: Context) -> Table | None:
    rows = [
        {"source": str(s.get("name", "")).replace("_", " "), "reason": sentence_case(str(reason)), "n": n}
        for s in c.run.sources
        for reason, n in (s.get("left_out") or {}).items()
    ]
    if not rows:
        return None
    rows.sort(key=lambda r: (-int(r["n"] or 0), str(r["source"]), str(r["reason"])))
    columns = (Column("source", "Source"), Column("reason", "Why"), Column("n", "Rows", "count", bar=True))
    return Table.of("left_out", "Merged or left out", columns, rows[:TOP], "behavio check JOB")


def _reasons(c: Context) -> Table | None:
    rejected = c.run.rejected
    if rejected is None or rejected.height == 0:
        return None
    counted = (
        rejected.group_by("source", "reason")
        .len("n")
        .sort(["n", "source", "reason"], descending=[True, False, False])
        .head(TOP)
    )
    columns = (Column("source", "Source"), Column("reason", "Reason"), Column("n", "Rows", "count", bar=True))
    rows = [{**r, "source": str(r["source"]).replace("_", " ")} for r in counted.iter_rows(named=True)]
    return Table.of("rejected", "Reasons", columns, rows, "behavio check JOB")
