"""What people say: market research of a sample, told of everybody only where behaviour tells it."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.tables import Column, Table

PROJECTED = "projected"


def section(c: Context) -> Section | None:
    """Each question and what came of it, then answers per group; nothing for a job without a survey."""
    found = c.run.perceptions
    if found is None or found["questions"] is None or not found["questions"].height:
        return None
    asked = _questions(found["questions"])
    tables, blocks = [asked], [_sheet(c, asked)]
    titles = ("What each group says", "What each group says, on average")
    for title, made in zip(titles, (_shares(c, found["groups"]), _scales(c, found["groups"])), strict=True):
        if made is not None:
            tables.append(made)
            blocks.append(Sheet(made, say(title), say(
                "Asked: answers really given, with 95 % interval. Projected: what behaviour tells of the "
                "others. Fewer than {k} people are not shown.", k=c.k)))  # fmt: skip
    profiles = _combined(c, found.get("combined_profiles"))
    if profiles is not None:
        tables.append(profiles.table)
        blocks.append(profiles)
    return Section(
        "perceptions", "What they say", _heading(found["questions"]), _sub(c), tuple(blocks), tuple(tables)
    )


def _combined(c: Context, profiles: pl.DataFrame | None) -> Sheet | None:
    """Profiles of behaviour and answers together, with the weights they were made by."""
    told = c.run.combined
    if profiles is None or not told or told.get("notes"):
        return None
    columns = (
        Column("profile", "Profile"),
        Column("n_cases", "Cases", "count"),
        Column("behaviour", "Group of behaviour"),
        Column("of_it", "Of the profile", "share"),
        Column("research", "What they say"),
        Column("say_it", "Of the profile", "share"),
        Column("projected", "By projected answers", "share"),
    )
    rows = [r for r in profiles.iter_rows(named=True) if r["n_cases"] is not None and r["n_cases"] >= c.k]
    table = Table.of(
        "perceptions_combined",
        "Profiles of behaviour and answers",
        columns,
        rows,
        "behavio perceptions RUN --combine WEIGHT",
    )
    weights = {
        k: c.facts.add(f"weight_{k}", told["weights"][k], "share", f"weight of {k} in profiles")
        for k in ("behaviour", "research")
    }
    alike = {
        k: c.facts.add(f"profiles_like_{k}", told["agreement"][k], "nats", f"agreement of profiles with {k}")
        for k in ("behaviour", "research")
    }
    note = say(
        "Weights: behaviour {b}, answers {r}. Agreement with the groups of behaviour {x}, with the profiles "
        "of answers alone {y}, where 1 is the same. Either weight alone gives that side as it is.",
        b=weights["behaviour"].shown,
        r=weights["research"].shown,
        x=alike["behaviour"].shown,
        y=alike["research"].shown,
    )
    return Sheet(table, say("Behaviour and answers together"), note)


def _heading(questions: pl.DataFrame) -> Markup:
    told = questions.filter(status=PROJECTED).height
    if told == 0:
        return say("None of the questions asked can be told from behaviour")
    return say("{n} of {m} questions can be told from behaviour", n=told, m=questions.height)


def _sub(c: Context) -> Markup:
    return say(
        "What a sample said in market research is told of the others only where it was told of {many} held "
        "back better than the base rate would, beyond doubt. It stays marked as projected: nobody said it.",
        many=c.many,
    )


def _questions(questions: pl.DataFrame) -> Table:
    columns = (
        Column("question", "Question"),
        Column("status", "What came of it"),
        Column("n_answers", "Answers", "count"),
        Column("skill", "Error saved", "share"),
        Column("low", "From", "share"),
        Column("high", "To", "share"),
        Column("note", "To be known"),
    )
    rows = [
        {
            **row,
            "status": str(say("Projected to everybody" if row["status"] == PROJECTED else "Answers only")),
            "note": "; ".join([*([row["reason"]] if row["skill"] is None else []), *row["warnings"]]),
        }
        for row in questions.iter_rows(named=True)
    ]
    return Table.of("perceptions", "Questions asked", columns, rows, "behavio perceptions RUN")


def _sheet(c: Context, table: Table) -> Block:
    return Sheet(
        table,
        say("Questions asked, and whether behaviour tells the answer"),
        say(
            "Error saved: share of the base rate's error that is saved on {many} never seen; the interval "
            "holds for all questions together.",
            many=c.many,
        ),
    )


def _shares(c: Context, groups: pl.DataFrame | None) -> Table | None:
    """Answers that are a choice; of two answers one is enough."""
    if groups is None:
        return None
    rows: list[dict[str, Any]] = []
    for (_,), part in groups.filter(pl.col("answer").is_not_null()).group_by("question", maintain_order=True):
        answers = part["answer"].unique().sort().to_list()
        if len(answers) == 2:
            part = part.filter(answer=answers[-1])
        rows += part.iter_rows(named=True)
    return _table("perceptions_shares", "Answers per group", rows, "share")


def _scales(c: Context, groups: pl.DataFrame | None) -> Table | None:
    """Answers on a scale: means."""
    if groups is None:
        return None
    rows = list(groups.filter(pl.col("answer").is_null()).iter_rows(named=True))
    return _table("perceptions_means", "Means per group", rows, "number")


def _table(name: str, title: str, rows: list[dict[str, Any]], kind: Any) -> Table | None:
    told = [r for r in rows if r["answered"] is not None or r["projected"] is not None]
    if not told:
        return None
    answer = (Column("answer", "Answer"),) if kind == "share" else ()
    columns = (
        Column("question", "Question"),
        *answer,
        Column("segment", "Group"),
        Column("n_answered", "Asked", "count"),
        Column("answered", "Said", kind),
        Column("low", "From", kind),
        Column("high", "To", kind),
        Column("projected", "Projected", kind),
    )
    return Table.of(name, title, columns, told, "behavio perceptions RUN --groups")
