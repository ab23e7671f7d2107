"""Parts of the journeys section: the map of phases, who stays, where the time goes and what is done again."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Figure, Prose, Sheet
from behavio.report.charts.bars import bars
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.language import t
from behavio.report.numbers import write
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table
from behavio.words import touchpoint

MONTHS, ACTIVITIES, CHANGED, DRAWN = 12, 8, 4, (1, 2, 3, 6, 9, 12)


def phase_map(c: Context) -> Sheet | None:
    """Per group its commonest contact, how often it is answered in each phase, mostly by what and when."""
    found = c.run.phases
    if found is None or not found.height:
        return None
    kept = found.filter((pl.col("cases") >= c.k) & (pl.col("direction") == "outbound"))
    phases = found.select("phase", "from", "until").unique("phase").sort("phase")
    rows = []
    for group in sizes(c):
        mine = kept.filter(pl.col("segment") == group.name)
        if not mine.height:
            continue
        total = mine.group_by("activity").agg(pl.col("events", "answered").sum())
        most = total.sort("events", "activity", descending=[True, False]).row(0, named=True)
        own = mine.filter(pl.col("activity") == most["activity"])
        usual = own.sort("answered", descending=True).row(0, named=True)
        by_phase = {f"phase_{r['phase']}": r["answered_share"] for r in own.iter_rows(named=True)}
        said = {"segment": group.name, "activity": touchpoint(most["activity"]), "events": most["events"]}
        answer = None if usual["answer"] is None else touchpoint(usual["answer"])
        rows.append({**said, **by_phase, "answer": answer, "median_answer_s": usual["median_answer_s"]})
    if not rows:
        return None
    columns = (
        Column("segment", "Group"),
        Column("activity", "Commonest contact"),
        Column("events", "How often", "count"),
        *(Column(f"phase_{n}", _phase(start, end), "share") for n, start, end in phases.iter_rows()),
        Column("answer", "Mostly by"),
        Column("median_answer_s", "After, median", "seconds"),
    )
    title = "Answers to each group's commonest contact by phase"
    table = Table.of("journey_map", title, columns, rows, "behavio report RUN")
    note = say(
        "Share of these contacts that are answered, by the time since the first event: something the {one} "
        "does within a fortnight, with no other contact in between. It follows; it need not be caused.",
        one=c.one,
    )
    return Sheet(table, Markup("What each group gets most, and when it answers"), note)


def _phase(start: str | None, end: str | None) -> str:
    def days(text: str) -> str:
        return text.removesuffix("d") + " days" if text.endswith("d") and text[:-1].isdigit() else text

    if start is None:
        return "all of it" if end is None else f"first {days(end)}"
    return f"after {days(start)}" if end is None else f"{start.removesuffix('d')} to {days(end)}"


def retention(c: Context) -> Figure | None:
    """How many are active so many months after their first event, over all months of entry."""
    found = c.run.retention
    if found is None or not found.height:
        return None
    seen = found.filter(pl.col("whole") & (pl.col("months_since") > 0))
    months = (
        seen.group_by("months_since")
        .agg(pl.col("cases").sum(), pl.col("cohort_cases").sum())
        .filter((pl.col("cohort_cases") >= c.k) & (pl.col("months_since") <= MONTHS))
        .with_columns(share=pl.col("cases") / pl.col("cohort_cases"))
        .sort("months_since")
    )
    if months.height < 3:
        return None
    columns = (
        Column("months_since", "Months later", "count"),
        Column("share", "Active", "share", bar=True),
        Column("cases", f"{sentence_case(c.many)} active", "count"),
        Column("cohort_cases", "Of", "count"),
    )
    rows = list(months.iter_rows(named=True))
    table = Table.of("retention", "Who is still active", columns, rows, "behavio retention RUN")
    drawn = bars(
        [
            (f"{_months(int(r['months_since']))} later", table.show(i, "share"), r["share"])
            for i, r in enumerate(table.rows)
            if r["months_since"] in DRAWN
        ]
    )
    at = min(range(len(rows)), key=lambda i: abs(rows[i]["months_since"] - 6))
    title = say(
        "{m} after their first event {s} of {many} are active in the month",
        m=sentence_case(_months(rows[at]["months_since"])),
        s=table.show(at, "share"),
        many=c.many,
    )
    alt = "; ".join(
        f"{t(_months(int(r['months_since'])) + ' later')} {table.text(i, 'share')}"
        for i, r in enumerate(rows)
    )
    did = "something they do" if c.run.events["direction"].eq("inbound").any() else "any event"
    caption = say(
        "Active: {d} in that calendar month. Over all months of entry that can be seen so far; months not "
        "over are left out.",
        d=did,
    )
    return Figure(title, drawn, alt, caption, table)


def _months(n: int) -> str:
    return "one month" if n == 1 else f"{n} months"


def changed(c: Context) -> Sheet | Prose | None:
    """Since when which steps come more or less often; or that nothing changed."""
    if c.run.changes is None or c.run.changed_steps is None:
        return None
    if not c.run.changes.height:
        text = "The steps are the same from beginning to end, as far as chance lets one see."
        return Prose((say(text),), Markup("What follows what did not change"))
    steps = c.run.changed_steps.group_by("since", maintain_order=True).head(CHANGED)
    if not steps.height:
        return None
    rows = [
        {**r, "since": r["since"].date(), "step": f"{touchpoint(r['source'])} → {touchpoint(r['target'])}"}
        for r in steps.iter_rows(named=True)
    ]
    columns = (
        Column("since", "Since", "date"),
        Column("step", "Step"),
        Column("before", "Before", "share"),
        Column("after", "After", "share"),
        Column("difference", "Difference", "points"),
        Column("low", "From", "points"),
        Column("high", "To", "points"),
    )
    table = Table.of("changed", "Steps that changed", columns, rows, "behavio drift RUN")
    first = rows[0]
    title = say(
        "Since {day} {a} is followed by {b} {more} often",
        day=write(first["since"], "date"),
        a=touchpoint(first["source"]),
        b=touchpoint(first["target"]),
        more="more" if first["difference"] > 0 else "less",
    )
    note = Markup(
        "Of all that follows the first step, the share that is the second. A change is dated to a period; "
        "what stands here is more than shuffled periods give."
    )
    return Sheet(table, title, note)


def times_and_repeats(c: Context) -> Sheet | None:
    """Where the time goes and what is done again, for the most frequent activities."""
    waiting, rework = c.run.waiting, c.run.rework
    if waiting is None or rework is None or not waiting.height or not c.run.timed:
        return None
    both = (
        rework.select("activity", "frequency", "cases", "rework_share")
        .join(waiting.select("activity", "median_s", "p90_s", "share"), on="activity", how="left")
        .filter(pl.col("cases") >= c.k)
        .sort("frequency", "activity", descending=[True, False])
        .head(ACTIVITIES)
    )
    if not both.height:
        return None
    columns = (
        Column("activity", "What"),
        Column("frequency", "How often", "count"),
        Column("cases", sentence_case(c.many), "count"),
        Column("rework_share", "Come back to it", "share"),
        Column("median_s", "Waited for, median", "seconds"),
        Column("p90_s", "one in ten longer than", "seconds"),
        Column("share", "Of all time", "share", bar=True),
    )
    rows = [{**r, "activity": touchpoint(r["activity"])} for r in both.iter_rows(named=True)]
    table = Table.of("waits", "Waiting and coming back", columns, rows, "behavio waits RUN")
    slow = max(range(len(rows)), key=lambda i: rows[i]["share"] or 0)
    title = say(
        "{s} of all time passes before the next {a}", s=table.show(slow, "share"), a=rows[slow]["activity"]
    )
    note = say(
        "Waited for: from the event before, whatever it was. Come back to it: {many} with it more than once.",
        many=c.many,
    )
    return Sheet(table, title, note)
