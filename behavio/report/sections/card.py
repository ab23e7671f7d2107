"""The model card: what the run is for, what it rests on, how good it is, where it ends."""

from __future__ import annotations

from behavio.report.blocks import Section, Sheet
from behavio.report.context import Context, say
from behavio.report.tables import Column, Table


def section(c: Context) -> Section | None:
    """Every line of the card; nothing for a run without one, or for a report of one group."""
    lines = c.run.card
    if not lines or c.settings.group is not None:
        return None
    columns = (Column("part", "Part"), Column("what", "What"), Column("text", "In this run"))
    table = Table.of("model_card", "Model card", columns, lines, "behavio card RUN")
    unknown = sum(str(line["text"]).startswith("unknown") for line in lines)
    note = say("Read from the tables of this run and its job; what they do not hold is said to be unknown.")
    title = say("What this run is for, what it rests on and where it ends")
    if unknown:
        n = c.facts.add("card_unknown", unknown, "count", "lines of the model card that are unknown")
        title = say("What this run is for and where it ends: {n} lines are unknown", n=n.shown)
        if unknown == 1:
            title = say("What this run is for and where it ends: {n} line is unknown", n=n.shown)
    return Section("card", "Model card", title, note, (Sheet(table),), (table,))
