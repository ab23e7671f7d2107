"""The first page: the finding, up to five sentences, the strip of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from behavio.report import measures
from behavio.report.context import Context, say
from behavio.report.kinds import path, sentence_case
from behavio.report.numbers import day, spelled
from behavio.report.roles import SAID
from behavio.report.sections import journeys, outlook, patterns, pressure, suggestions
from behavio.report.sections.groups import Pace, opposite_order, opposite_pace, sizes
from behavio.report.weekly import Calendar, quantile
from behavio.words import one

Sentence = Callable[[Context], Markup | None]
MOST = 5
HIGH = ("high", "very high", "a")


@dataclass(frozen=True, slots=True)
class Headline:
    """Title, the line under it, and the sentences."""

    title: Markup
    sub: Markup
    sentences: tuple[Markup, ...]


def headline(c: Context) -> Headline:
    """What the page says first. Sentences are written only when the data carry them."""
    order = HCP_SENTENCES if c.run.hcp else CASE_SENTENCES
    if c.settings.role == "medical":
        order = MEDICAL_SENTENCES
    said = [s for s in (write_one(c) for write_one in order) if s is not None]
    small = next((x for x in c.run.card if x["part"] == "Limits" and x["what"] == "Size"), None)
    if small is not None:
        said.insert(0, _hypothesis(c))
    return Headline(_title(c), _sub(c), tuple(said[:MOST]))


def _hypothesis(c: Context) -> Markup:
    """What a run of too little data is, before anything it says."""
    missing = sum(x["part"] == "What would strengthen it" for x in c.run.card)
    n = c.facts.add("would_strengthen", missing, "count", "things that would strengthen the run")
    return say(
        "<b>This is a hypothesis.</b> It rests on few data; the model card lists {n} things that would "
        "strengthen it.",
        n=n.shown,
    )


def _title(c: Context) -> Markup:
    if c.settings.title is not None:
        return say("{t}", t=c.settings.title)
    if c.settings.group is not None:
        return say("“{g}”: how {n} {many} moved", g=c.settings.group, n=c.cases.shown, many=c.many)
    groups = sizes(c)
    if len(groups) > 1:
        pair = opposite_order(c)
        if pair is not None:
            return say("Two groups of {many} take the same steps in opposite order", many=c.many)
        apart = opposite_pace(c)
        if apart is not None and c.settings.role != "medical":
            return _pace_title(c, apart)
        count = c.facts.add("groups", len(groups), "count", "groups of at least k people")
        lead = groups[0]
        share = c.facts.add(
            "largest_group", lead.share, "share", f"share of {c.many} in the largest group", n=lead.n
        )
        text = "{n} kinds of journey; the largest, “{name}”, takes {share} of {many}"
        word = count.as_text(sentence_case(spelled(len(groups))))
        return say(text, n=word, share=share.shown, many=c.many, name=lead.name)
    text = "How {n} {many} moved, step by step"
    return say(text, n=c.cases.shown, many=c.noun(c.run.n_cases))


def _pace_title(c: Context, pair: Pace) -> Markup:
    a, b = (
        c.facts.add(
            f"pace_{group.id}",
            seconds,
            "seconds",
            f"from {pair.first} to {pair.then} in “{group.name}”, median",
            n=group.n,
        )
        for group, seconds in ((pair.quick, pair.quick_s), (pair.late, pair.late_s))
    )
    if (pair.first, pair.then) == ("email_sent", "email_open"):
        return say("One group opens emails {a} after they are sent, another after {b}", a=a.shown, b=b.shown)
    text = "From {x} to {y} it takes one group {a}, another {b}"
    return say(text, x=one(pair.first), y=one(pair.then), a=a.shown, b=b.shown)


def _sub(c: Context) -> Markup:
    run = c.run
    events = c.facts.add("events", run.n_events, "count", "events in the log")
    parts = [
        Markup(c.period),
        say("{n} {many}", n=c.cases.shown, many=c.noun(run.n_cases)),
        say("{n} event{s}", n=events.shown, s="" if run.n_events == 1 else "s"),
    ]
    if run.sources:
        sources = c.facts.add("sources", len(run.sources), "count", "sources read")
        parts[-1] += say(" from {n} source{s}", n=sources.shown, s="" if len(run.sources) == 1 else "s")
    if run.timed:
        parts.append(say("newest event {d}", d=day(run.last)))
    if c.settings.role is not None:
        parts.append(say(SAID[c.settings.role]))
    return Markup(" · ").join(parts)


def _groups(c: Context) -> Markup | None:
    groups = sizes(c)
    if len(groups) < 2:
        return None
    count = c.facts.add("groups", len(groups), "count", "groups of at least k people")
    total = c.facts.add("grouped_cases", sum(g.n for g in groups), "count", f"{c.many} in a group")
    lead = c.facts.add(
        "largest_group_cases", groups[0].n, "count", f"{c.many} in the largest group", n=total.value
    )
    sentence = say(
        "<b>{k} groups differ in the order and timing of their steps.</b> The largest, “{a}”, holds {n} "
        "of {all} {many}",
        k=count.as_text(sentence_case(spelled(len(groups)))),
        a=groups[0].name,
        n=lead.shown,
        all=total.shown,
        many=c.many,
    )
    if len(groups) > 2:
        both = c.facts.add(
            "two_largest_groups",
            (groups[0].n + groups[1].n) / total.value,
            "share",
            "share of the two largest groups",
            n=total.value,
        )
        return sentence + say("; with “{b}” it is {share}.", b=groups[1].name, share=both.shown)
    return sentence + say("; the other is “{b}”.", b=groups[1].name)


def _after_visit(c: Context) -> Markup | None:
    if not c.run.hcp:
        return None
    mails = measures.emails(c.run.events)
    found = measures.opened_after_visit(c.run.events, mails)
    if found is None or found.cases < c.k:
        return None
    t = found.times
    many = c.facts.add(
        "open_after_visit_times",
        t.value,
        "ratio",
        "opens of emails sent within ten days after a visit, against all other emails",
        n=t.n,
        low=t.low,
        high=t.high,
    )
    rate = c.facts.add("open_rate_after_visit", found.rate, "share", "emails after a visit opened", n=found.n)
    other = c.facts.add("open_rate_other", found.other_rate, "share", "other emails opened", n=found.other_n)
    base = c.facts.add("emails_after_visit", found.n, "count", "emails sent within ten days after a visit")
    if t.low <= 1 <= t.high:
        text = (
            "<b>An email within ten days after a visit or call is opened about as often as any other</b>: "
            "{a} of {n} against {b}, {t} times {ci}."
        )
    else:
        text = (
            "An email within ten days <b>after a visit or call is opened {t} times as often</b> {ci} as any "
            "other: {a} of "
            "{n} against {b}."
        )
    sentence = say(text, t=many.shown, ci=many.between, a=rate.shown, b=other.shown, n=base.shown)
    follow = measures.followed_up(c.run.events)
    if follow is not None:
        share = c.facts.add(
            "visits_followed_up",
            follow.value,
            "share",
            "visits followed by an email within ten days",
            n=follow.n,
            low=follow.low,
            high=follow.high,
        )
        sentence += say(" Today {share} of visits and calls are followed by one.", share=share.shown)
    return sentence


def _silent(c: Context) -> Markup | None:
    """Too little: who heard nothing lately; too much: who is at the cap of contacts."""
    if not c.run.hcp or not c.run.timed or measures.contacts(c.run.events).height == 0:
        return None
    known = pl.concat([c.run.cases["case_id"], c.run.events["case_id"]]).unique()
    quiet = measures.silent(c.run.events, known)
    if len(quiet) < c.k:
        return None
    base = c.facts.add("known", len(known), "count", f"{c.many} known")
    what = f"{c.many} without contact in the last 60 days"
    n = c.facts.add("silent_60_days", len(quiet), "count", what, n=base.value)
    text = "<b>{n} of {all} {many} heard nothing from us in the last 60 days</b> of the log"
    sentence = say(text, n=n.shown, all=base.shown, many=c.many)
    column = next((x for x in ("potential", "tier", "value") if x in c.run.cases.columns), None)
    if column is not None:
        best = high_levels(c.run.cases[column], column)
        levels = c.run.cases.filter(pl.col("case_id").is_in(quiet.implode()))[column].cast(pl.String)
        top = levels.filter(levels.is_in(best[1])) if best is not None else levels.head(0)
        if best is not None and len(top) >= c.k:
            high = c.facts.add("silent_high", len(top), "count", f"of them with {best[0]}")
            sentence += say(", {n} of them with {what}", n=high.shown, what=best[0])
    return sentence + _full(c) + Markup(".")


def high_levels(values: pl.Series, column: str) -> tuple[str, list[str]] | None:
    """What the best customers of a column are called, and its values; None where its direction is not known.

    Words say it themselves. Numbers 1 to 10 are deciles, ten the best, for anything but a tier, whose best
    is 1.
    """
    found = sorted(values.drop_nulls().cast(pl.String).unique().to_list())
    named = [v for v in found if v.strip().lower() in HIGH]
    if named:
        return f"high {column}", named
    if column == "tier":
        return ("tier 1", ["1"]) if "1" in found else None
    if found and all(v.isdecimal() and 1 <= int(v) <= 10 for v in found) and "10" in found:
        return str(say("{x} 8 to 10", x=column)), ["8", "9", "10"]
    return None


def _full(c: Context) -> Markup:
    held = c.run.suppressed
    if held is None:
        return Markup("")
    people = held.filter(pl.col("reason") == "contact_cap")["case_id"].n_unique()
    if people < c.k:
        return Markup("")
    n = c.facts.add(
        "at_the_cap", people, "count", f"{c.many} with as many contacts in 28 days as the cap allows"
    )
    return say("; {n} have had all the contacts in four weeks that the cap allows", n=n.shown)


def _unknown(c: Context) -> Markup | None:
    if c.run.segments is None or c.run.segments.height == 0:
        return None
    total = c.run.segments.height
    n = int((c.run.segments["segment_id"] == -1).sum())
    if n < c.k:
        return None
    share = c.facts.add("unassigned", n / total, "share", f"{c.many} in no group", n=total)
    return say(
        "For <b>{share} of {many} we know too little</b> to put them in a group; they are counted, not "
        "guessed.",
        share=share.shown,
        many=c.many,
    )


def _duration(c: Context) -> Markup | None:
    """How long journeys take, where they are short against the log; else how many events people have."""
    times = c.run.case_times
    if times is None or times.height < c.k:
        return None
    n = times.height
    length = c.facts.add(
        "median_events", quantile(times["events"], 0.5), "number", f"events per {c.one}, median", n=n
    )
    spread = times["duration_s"].drop_nulls()
    if not c.run.timed or spread.len() == 0 or not Calendar.of(c.run).relative:
        if quantile(times["events"], 0.9) == length.value:
            return None
        most = c.facts.add(
            "events_p90", quantile(times["events"], 0.9), "number", "events, one in ten has more", n=n
        )
        return say(
            "<b>Half of {n} {many} have {e} events or fewer</b>; one in ten has more than {m}.",
            n=c.cases.shown,
            many=c.many,
            e=length.shown,
            m=most.shown,
        )
    low, middle, high = (quantile(spread, q) for q in (0.1, 0.5, 0.9))
    half = c.facts.add("median_duration", middle, "seconds", "first to last event, median", n=n)
    first = c.facts.add("duration_p10", low, "seconds", "first to last event, one in ten is shorter", n=n)
    last = c.facts.add("duration_p90", high, "seconds", "first to last event, one in ten is longer", n=n)
    return say(
        "<b>Half of {n} {many} are through within {t}</b>, with {e} events, median; the middle eight in "
        "ten take "
        "between {a} and {b}.",
        n=c.cases.shown,
        many=c.many,
        t=half.shown,
        e=length.shown,
        a=first.shown,
        b=last.shown,
    )


def _variants(c: Context) -> Markup | None:
    v = c.run.variants
    if v is None or v.height == 0 or int(v["cases"][0]) < c.k:
        return None
    n = c.facts.add("variants", len(journeys.ways(c)), "count", "distinct journeys")
    top = min(10, v.height)
    share = c.facts.add(
        "top_variants_share",
        float(v["cumulative_share"][top - 1]),
        "share",
        f"share of the {top} most common journeys",
    )
    way = path(v["activities"][0].to_list())
    first = c.facts.add(
        "top_variant_cases", int(v["cases"][0]), "count", f"{c.many} on the most common journey"
    )
    sentence = say(
        "<b>{k} of {n} distinct journeys cover {share}</b> of {many}.",
        k="The most common one" if top == 1 else f"The {spelled(top)} most common",
        n=n.shown,
        share=share.shown,
        many=c.many,
    )
    if way.count("→") < 5:
        sentence += say(" Most often, for {n}, it is: {v}.", n=first.shown, v=way)
    return sentence


def _rejected(c: Context) -> Markup | None:
    read = sum(int(s.get("read", 0)) for s in c.run.sources)
    lost = sum(int(s.get("rejected", 0)) for s in c.run.sources)
    if read == 0 or lost == 0:
        return None
    rows = c.facts.add("rows_read", read, "count", "rows read from all sources")
    out = c.facts.add("rows_rejected", lost, "count", "rows that could not become an event", n=read)
    return say(
        "<b>{n} of {all} rows could not be used</b>; each is kept with its file, row and reason.",
        n=out.shown,
        all=rows.shown,
    )


HCP_SENTENCES: tuple[Sentence, ...] = (
    _groups,
    _after_visit,
    pressure.sentence,
    _silent,
    outlook.sentence,
    suggestions.sentence,
    patterns.sentence,
    _unknown,
    _rejected,
)
CASE_SENTENCES: tuple[Sentence, ...] = (
    _groups,
    patterns.sentence,
    _variants,
    _duration,
    outlook.sentence,
    _unknown,
    suggestions.sentence,
    _rejected,
)
MEDICAL_SENTENCES: tuple[Sentence, ...] = (_groups, _variants, _duration, _unknown, _rejected)
"""Nothing here says which contact works or whom to contact more."""
