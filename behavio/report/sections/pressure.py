"""Too much and too little contact: how answers depend on what came lately, and where people stand."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from behavio.durations import seconds
from behavio.report.blocks import Block, Figure, Prose, Section, Sheet, without
from behavio.report.charts.track import Row, ratio_axis, track
from behavio.report.context import Context, say
from behavio.report.numbers import write
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table

EVERYBODY = "everybody"
VERDICTS = {"over": "More than the band", "within": "Within the band", "under": "Less", "unknown": "Unknown"}
MISSING = (
    "It needs contacts of the company and answers with times; add a [pressure] table to the job and "
    "run it again."
)


def section(c: Context) -> Section:
    """The curve of everybody, the band of each group, how many stand where."""
    p = c.run.pressure
    if p is None or p["curves"] is None or not p["curves"].height:
        notes = [] if p is None else list(p.get("notes") or [])
        text = say("{why}", why=notes[0]) if notes else say(MISSING)
        return without("pressure", "Too much, too little", "contact pressure", text)
    blocks: list[Block] = []
    tables: list[Table] = []
    curve = _curve_table(c, p["curves"])
    if curve is not None:
        tables.append(curve)
        blocks.append(_curve(c, curve))
    stand = _stand(c, p["bands"], p["cases"])
    if stand is not None:
        tables.append(stand)
        blocks.append(Sheet(stand, _stand_title(c, p["cases"]), _stand_note(c)))
    if not blocks:
        blocks.append(Prose((say("Too few contacts can be judged."),)))
    return Section("pressure", "Too much, too little", _heading(c), _sub(c), tuple(blocks), tuple(tables))


def _window(c: Context) -> int:
    assert c.run.pressure is not None
    return round(seconds(str(c.run.pressure.get("window", "28d"))) / 86_400)


def _band(c: Context) -> dict[str, float] | None:
    """The band of everybody, where answers do fall."""
    assert c.run.pressure is not None
    rows = c.run.pressure["bands"].filter(pl.col("segment") == EVERYBODY)
    row = rows.row(0, named=True) if rows.height else None
    return row if row is not None and row["optimum"] is not None and row["sign"] else None


def _heading(c: Context) -> Markup:
    band = _band(c)
    if band is None:
        return Markup("No number of contacts shows after which answers fall")
    best = c.facts.add(
        "pressure_optimum",
        band["optimum"],
        "number",
        "contacts up to which answers hold, 90 % interval",
        n=int(band["n_contacts"]),
        low=band["low"],
        high=band["high"],
    )
    return say(
        "Answers hold up to about {n} contacts {ci} in {d} days, then they fall",
        n=best.shown,
        ci=best.between,
        d=_window(c),
    )


def _sub(c: Context) -> Markup:
    return say(
        "Each {one} is compared with the same {one} at quieter times, with channel, season and the time "
        "since the "
        "last contact held fixed. The company chose when to contact, so it stays an association.",
        one=c.one,
    )


def _curve_table(c: Context, curves: pl.DataFrame) -> Table | None:
    rows = curves.filter((pl.col("segment") == EVERYBODY) & (pl.col("n_contacts") >= c.k)).sort("contacts")
    if rows.height < 2:
        return None
    columns = (
        Column("contacts", f"Contacts in {_window(c)} days", "count"),
        Column("n_contacts", "Contacts judged", "count"),
        Column("answered", "Answered", "share"),
        Column("relative", "Against two contacts", "ratio"),
        Column("low", "From", "ratio"),
        Column("high", "To", "ratio"),
    )
    title = "Answers by how many contacts came lately"
    return Table.of("pressure_curve", title, columns, rows.iter_rows(named=True), "behavio pressure RUN")


def _curve(c: Context, table: Table) -> Figure:
    rows = [
        Row(
            say("{n} contacts" if r["contacts"] != 1 else "{n} contact", n=table.show(i, "contacts")),
            table.show(i, "relative") + Markup(" ") + table.between(i, "low", "high"),
            say("{n} judged", n=table.show(i, "n_contacts")),
            r["relative"],
            r["low"],
            r["high"],
            hollow=r["low"] <= 1 <= r["high"],
        )
        for i, r in enumerate(table.rows)
    ]
    axis = ratio_axis([r.low for r in rows], [r.high for r in rows], str(say("as often")))
    title = _curve_title(c, table)
    alt = "; ".join(f"{r['contacts']}: {table.text(i, 'relative')}" for i, r in enumerate(table.rows))
    caption = say(
        "Dot: how many times as often a contact is answered as with two in {d} days; line: 95 % "
        "interval. "
        "Hollow: may be chance.",
        d=_window(c),
    )
    head = (str(say("Lately")), str(say("Times as often")), str(say("How many")))
    return Figure(title, track(rows, axis, head), alt, caption, table)


def _curve_title(c: Context, table: Table) -> Markup:
    """The highest level that differs from two contacts for sure; or that none does."""
    sure = [i for i, r in enumerate(table.rows) if r["contacts"] > 2 and not r["low"] <= 1 <= r["high"]]
    if not sure:
        return say(
            "Up to {n} contacts in {d} days no level is surely answered more, or less, than two contacts",
            n=table.show(len(table.rows) - 1, "contacts"),
            d=_window(c),
        )
    return say(
        "With {n} contacts in {d} days the same {one} answers {t} times as often as with two {ci}",
        n=table.show(sure[-1], "contacts"),
        d=_window(c),
        one=c.one,
        t=table.show(sure[-1], "relative"),
        ci=table.between(sure[-1], "low", "high"),
    )


def _stand(c: Context, bands: pl.DataFrame, cases: pl.DataFrame) -> Table | None:
    """Per group: its band and how many stand above, in and below it; a cell under k people is left open."""
    found = cases.group_by("segment", "verdict").len()
    count = {(g, v): n for g, v, n in found.iter_rows()}
    band = {r["segment"]: r for r in bands.iter_rows(named=True)}
    rows = []
    for name in [EVERYBODY, *(g.name for g in sizes(c))]:
        own = band.get(name)
        if own is None:
            continue
        totals = {
            v: sum(n for (g, w), n in count.items() if w == v and name in (g, EVERYBODY)) for v in VERDICTS
        }
        sure = own["optimum"] is not None and own["sign"]
        rows.append(
            {"segment": name, "low": own["low"] if sure else None, "high": own["high"] if sure else None}
            | {v: n if n >= c.k or n == 0 else None for v, n in totals.items()}
        )
    if not rows:
        return None
    columns = (
        Column("segment", "Group"),
        Column("low", "Best from", "number"),
        Column("high", "to, contacts", "number"),
        *(Column(v, said, "count") for v, said in VERDICTS.items()),
    )
    return Table.of("pressure", "Who gets too much or too little", columns, rows, "behavio pressure RUN")


def _stand_title(c: Context, cases: pl.DataFrame) -> Markup:
    over = cases.filter(pl.col("verdict") == "over").height
    under = cases.filter(pl.col("verdict") == "under").height
    if min(over, under) < c.k:
        return Markup("Who gets more, and who less, than the band of the group")
    a = c.facts.add(
        "over_contacted", over, "count", f"{c.many} above the band of their group", n=cases.height
    )
    b = c.facts.add(
        "under_contacted", under, "count", f"{c.many} below the band of their group", n=cases.height
    )
    return say("{a} {many} get more contacts than their band, {b} fewer", a=a.shown, b=b.shown, many=c.many)


def _stand_note(c: Context) -> Markup:
    return say(
        "Contacts in the last {d} days of the log against the band in which the group answers best (90 % "
        "interval). "
        "Where no fall shows, the band of everybody is used. Cells of fewer than {k} {many} are left open.",
        d=_window(c),
        k=c.k,
        many=c.many,
    )


def sentence(c: Context) -> Markup | None:
    """How many hear too often, by the band of their group."""
    p = c.run.pressure
    if p is None or p["cases"] is None or _band(c) is None:
        return None
    over = p["cases"].filter(pl.col("verdict") == "over").height
    if over < c.k:
        return None
    n = c.facts.add(
        "over_contacted", over, "count", f"{c.many} above the band of their group", n=p["cases"].height
    )
    return say(
        "<b>{n} {many} hear from us too often</b>: beyond about {m} contacts in {d} days the same {one} "
        "answers less.",
        n=n.shown,
        many=c.many,
        m=write(_band(c)["optimum"], "number"),  # type: ignore[index]
        d=_window(c),
        one=c.one,
    )
