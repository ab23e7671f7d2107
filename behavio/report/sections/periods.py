"""Part of the journeys section: the newest stretch of the log beside the one before."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Figure, Sheet
from behavio.report.charts.track import Row, ratio_axis, track
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.numbers import period
from behavio.report.tables import Column, Table
from behavio.words import touchpoint

ACTIVITIES, CHANGED = 8, 6
MAY_BE_CHANCE = 0.05
DIFFER = {
    "edges": "Steps that differ by more than chance: {m} of {n}.",
    "waits": "Times between two steps that do: {m} of {n}.",
    "variants": "Whole journeys that do: {m} of {n}.",
}


def side_by_side(c: Context) -> tuple[Figure | Sheet, ...]:
    """How often what happens in both periods, then the steps, waits and journeys that differ."""
    found = c.run.periods
    if found is None:
        return ()
    paces = _paces(c, found)
    if paces is None:
        return ()
    parts = (_steps(c, found), _waits(c, found), _journeys(c, found))
    return (_drawn(c, found, paces), *(p for p in parts if p is not None))


def _command(found: dict[str, Any], table: str) -> str:
    return f"behavio compare RUN --last {found['last']} --table {table}"


def _kept(c: Context, table: pl.DataFrame) -> pl.DataFrame:
    """Rows that stand on enough people in each period, or on nobody in one of them."""
    a, b = pl.col("cases_a"), pl.col("cases_b")
    return table.filter(((a >= c.k) | (a == 0)) & ((b >= c.k) | (b == 0)) & (pl.max_horizontal(a, b) >= c.k))


def _said(found: dict[str, Any], i: int) -> str:
    """One of the two periods in words: "2 May – 31 Jul 2026"."""
    first, _, last = str(found["sides"][i]["name"]).partition(" to ")
    return period(date.fromisoformat(first), date.fromisoformat(last))


def _paces(c: Context, found: dict[str, Any]) -> Table | None:
    rows = _kept(c, found["activities"]).drop_nulls("rate_ratio")
    rows = rows.sort("per_30_days_b", "activity", descending=[True, False]).head(ACTIVITIES)
    if not rows.height:
        return None
    columns = (
        Column("activity", "What"),
        Column("per_30_days_a", "In 30 days, before", "nats"),
        Column("per_30_days_b", "In 30 days, now", "nats"),
        Column("rate_ratio", "Times as often", "nats"),
        Column("rate_low", "From", "nats"),
        Column("rate_high", "To", "nats"),
        Column("cases_a", f"{sentence_case(c.many)} before", "count"),
        Column("cases_b", f"{sentence_case(c.many)} now", "count"),
        Column("rate_q_value", "May be chance", "chance"),
    )
    said = [{**r, "activity": touchpoint(r["activity"])} for r in rows.iter_rows(named=True)]
    title = "How often, in two periods"
    return Table.of("periods", title, columns, said, _command(found, "activities"))


def _sure(row: dict[str, Any], column: str = "q_value") -> bool:
    return row[column] is not None and row[column] <= MAY_BE_CHANCE


def _drawn(c: Context, found: dict[str, Any], table: Table) -> Figure:
    rows = []
    for i, r in enumerate(table.rows):
        low, high = r["rate_low"] or r["rate_ratio"], r["rate_high"] or r["rate_ratio"]
        rows.append(
            Row(
                say("{a}", a=sentence_case(r["activity"])),
                say(
                    "{t} × {ci}", t=table.show(i, "rate_ratio"), ci=table.between(i, "rate_low", "rate_high")
                ),
                say("{a} → {b}", a=table.show(i, "per_30_days_a"), b=table.show(i, "per_30_days_b")),
                max(r["rate_ratio"], 1e-3),
                max(low, 1e-3),
                max(high, 1e-3),
                hollow=not _sure(r, "rate_q_value"),
            )
        )
    axis = ratio_axis([r.low for r in rows], [r.high for r in rows], "as before")
    alt = "; ".join(
        f"{r['activity']} {table.text(i, 'rate_ratio')} times as often" for i, r in enumerate(table.rows)
    )
    head = ("What", "Times as often", f"Per {c.one}, 30 days")
    return Figure(_title(table), track(rows, axis, head), alt, _caption(c, found, table), table)


def _title(table: Table) -> Markup:
    sure = [(abs(r["rate_ratio"] - 1), i) for i, r in enumerate(table.rows) if _sure(r, "rate_q_value")]
    if not sure:
        return Markup("Nothing happens clearly more or less often than in the period before")
    i = max(sure)[1]
    return say(
        "{a} came {t} times as often as in the period before {ci}",
        a=sentence_case(table.rows[i]["activity"]),
        t=table.show(i, "rate_ratio"),
        ci=table.between(i, "rate_low", "rate_high"),
    )


def _caption(c: Context, found: dict[str, Any], table: Table) -> Markup:
    """Which two periods, on whom the numbers stand, and how many steps, waits and journeys differ."""
    sides = found["sides"]
    caption = say(
        "{new}, beside {old}. {n} {many} could be seen in the newer period, {m} in the older one, mostly the "
        "same: the intervals rest on their own differences.",
        new=_said(found, 1),
        old=_said(found, 0),
        n=c.facts.add(
            "period_cases_now", sides[1]["n_cases"], "count", f"{c.many} seen in the newer period"
        ).shown,
        m=c.facts.add(
            "period_cases_before", sides[0]["n_cases"], "count", f"{c.many} seen in the older one"
        ).shown,
        many=c.many,
    )
    if any(not _sure(r, "rate_q_value") for r in table.rows):
        caption += say(" Hollow: may be chance.")
    for name, text in DIFFER.items():
        differ = sum(_sure(r) for r in found[name].iter_rows(named=True))
        what = f"{name} of two periods"
        tested = c.facts.add(f"period_{name}", found["tested"][name], "count", f"{what} held side by side")
        if tested.value:
            sure = c.facts.add(f"period_{name}_differ", differ, "count", f"{what} that differ")
            caption += Markup(" ") + say(text, n=tested.shown, m=sure.shown)
    return caption


def _steps(c: Context, found: dict[str, Any]) -> Sheet | None:
    rows = _differ(c, found["edges"], "difference")
    if not rows:
        return None
    columns = (
        Column("step", "Step"),
        Column("a", "Before", "share"),
        Column("b", "Now", "share"),
        Column("difference", "Difference", "points"),
        Column("low", "From", "points"),
        Column("high", "To", "points"),
        Column("cases_a", f"{sentence_case(c.many)} before", "count"),
        Column("cases_b", f"{sentence_case(c.many)} now", "count"),
    )
    said = [{**r, "step": f"{touchpoint(r['source'])} → {touchpoint(r['target'])}"} for r in rows]
    table = Table.of("period_steps", "Steps in two periods", columns, said, _command(found, "edges"))
    text = "{a} is followed by {b} more often: {now}, before {then}"
    if rows[0]["difference"] < 0:
        text = "{a} is followed by {b} less often: {now}, before {then}"
    title = say(
        text,
        a=sentence_case(touchpoint(rows[0]["source"])),
        b=touchpoint(rows[0]["target"]),
        now=table.show(0, "b"),
        then=table.show(0, "a"),
    )
    note = Markup("Of all that directly follows the first of the two, the share that is the second.")
    return Sheet(table, title, note)


def _waits(c: Context, found: dict[str, Any]) -> Sheet | None:
    rows = _differ(c, found["waits"], "larger")
    if not rows:
        return None
    columns = (
        Column("step", "Step"),
        Column("median_s_a", "Before, median", "seconds"),
        Column("median_s_b", "Now, median", "seconds"),
        Column("larger", "Takes longer now", "share"),
        Column("low", "From", "share"),
        Column("high", "To", "share"),
        Column("cases_a", f"{sentence_case(c.many)} before", "count"),
        Column("cases_b", f"{sentence_case(c.many)} now", "count"),
    )
    said = [{**r, "step": f"{touchpoint(r['source'])} → {touchpoint(r['target'])}"} for r in rows]
    table = Table.of("period_waits", "Times in two periods", columns, said, _command(found, "waits"))
    longer = rows[0]["larger"] > 0.5
    title = say(
        "{s} takes longer: {now}, before {then}, median"
        if longer
        else "{s} takes less time: {now}, before {then}, median",
        s=sentence_case(said[0]["step"]),
        now=table.show(0, "median_s_b"),
        then=table.show(0, "median_s_a"),
    )
    note = say(
        "Takes longer now: the share of pairs, one {one} from each period, in which the newer one takes "
        "longer; half is no difference.",
        one=c.one,
    )
    return Sheet(table, title, note)


def _journeys(c: Context, found: dict[str, Any]) -> Sheet | None:
    rows = _differ(c, found["variants"], "difference")
    if not rows:
        return None
    columns = (
        Column("variant", "Journey within the period"),
        Column("a", "Before", "share"),
        Column("b", "Now", "share"),
        Column("difference", "Difference", "points"),
        Column("low", "From", "points"),
        Column("high", "To", "points"),
        Column("cases_a", f"{sentence_case(c.many)} before", "count"),
        Column("cases_b", f"{sentence_case(c.many)} now", "count"),
    )
    said = [{**r, "variant": " → ".join(touchpoint(a) for a in r["variant"].split(" → "))} for r in rows]
    table = Table.of("period_journeys", "Journeys in two periods", columns, said, _command(found, "variants"))
    title = say(
        "“{v}” is all that {now} of {many} did, before {then}",
        v=said[0]["variant"],
        now=table.show(0, "b"),
        then=table.show(0, "a"),
        many=c.many,
    )
    return Sheet(table, title, Markup("What one did within each period, from beginning to end."))


def _differ(c: Context, table: pl.DataFrame, by: str) -> list[dict[str, Any]]:
    """The surest differences on enough people; `by` is the column that says how large they are."""
    sure = _kept(c, table).filter((pl.col("q_value") <= MAY_BE_CHANCE) & pl.col(by).is_not_null())
    return list(sure.head(CHANGED).iter_rows(named=True))
