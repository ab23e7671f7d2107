"""Method and limits in plain words, what the page cannot say, and the glossary."""

from __future__ import annotations

from markupsafe import Markup

from behavio.report import measures
from behavio.report.blocks import Definitions, Prose, Section
from behavio.report.context import Context, say
from behavio.report.tables import Column, Table

ORDER = """
<b>Order.</b> Every event belongs to one {one} and has an activity and a time. Events are ordered by time;
equal times keep the order of the source. A journey is not taken to end where the log ends."""
GROUPS = """
<b>Groups.</b> Journeys are grouped by what follows what and how soon. The number of groups is the one that
foretells left-out journeys best. Names come from what sets a group apart."""
PATTERNS = """
<b>Patterns.</b> A sequence of steps is compared with the same journeys after their events were put in
random order. “2 times as often” means twice as many {many} show it as would by chance. An estimate is
hollow when its interval holds “as often as by chance”, or when so many patterns were looked at that it may
be luck (false discovery rate above 5 %)."""
OUTLOOK = """
<b>Outlook.</b> Models are fitted on everything before one date and tried on everything after it. Nothing
after that date is seen before the trial. A model that does not beat counting is not used."""
INTERVALS = """
<b>Intervals</b> are 95 %, times of next steps 80 %. They hold the spread between people, not the faults of
the data."""
ASSOCIATION = """
<b>Association, not effect.</b> People choose whom they visit and write to. Without a group left out by lot,
nothing on this page proves that a contact causes what follows it."""
PRIVACY = """
<b>Privacy.</b> No name and no id is on this page, and no cell stands on fewer than {k} {many}. A typical
stretch and a band of journeys are those of at least {k} {many} together, never one person’s."""


def section(c: Context) -> Section:
    """How it was done and how far it carries."""
    run = c.run
    said = [
        (ORDER, True),
        (GROUPS, run.segments is not None),
        (PATTERNS, run.patterns is not None),
        (OUTLOOK, run.metrics is not None),
        (INTERVALS, True),
        (ASSOCIATION, True),
        (PRIVACY, True),
    ]
    texts = [say(text.strip(), one=c.one, many=c.many, k=c.k) for text, wanted in said if wanted]
    if run.hcp:
        texts.insert(-3, _contact(c))
    curve = _curve(c)
    return Section(
        "method",
        "Method",
        Markup("How this was done, and how far it carries"),
        blocks=(Prose(tuple(texts)), Definitions(_open_questions(c))),
        tables=() if curve is None else (curve,),
    )


def _contact(c: Context) -> Markup:
    counted = ""
    if any(k in c.run.events.columns for k in ("email_id", "sent_email_id", "touch_id")):
        counted = " by the email's own number where the log has it"
    return say(
        "<b>Contact and response.</b> A contact is a call or an email sent. An email counts as opened "
        "when an open follows "
        "within {days} days{how} and before the next email. Opens are partly made by mail programs; "
        "those within "
        "seconds of sending are left out on reading. Net reaction is positive minus negative, over all "
        "reactions recorded.",
        days=measures.OPEN_WITHIN.days,
        how=counted,
    )


def _curve(c: Context) -> Table | None:
    rows = (c.run.profiles or {}).get("curve", [])
    if not rows:
        return None
    columns = (
        Column("k", "Groups", "count"),
        Column("held_out_nll_per_event", "Surprise per left-out event", "nats"),
    )
    return Table.of(
        "group_curve", "Surprise by number of groups", columns, rows, "behavio segments RUN --sizes"
    )


def _open_questions(c: Context) -> tuple[tuple[str | Markup, str | Markup], ...]:
    """What the page cannot say yet, and what it would take."""
    items: list[tuple[str | Markup, str | Markup]] = []
    if c.run.hcp:
        if c.run.conformance is None:
            items.append(("Plan against reality", "Unknown: it takes a call plan as a source."))
        items.append(("Share of voice", "Unknown: it takes data on other companies' contacts."))
    items.append(
        (
            "Effect of a contact",
            "Unknown: it takes a group left out by lot for some weeks; its share then has to be named in "
            "the job.",
        )
    )
    if c.run.previous is None:
        items.append(
            ("What changed since last time", "Name an earlier run as previous in the [report] table.")
        )
    return tuple(items)


GLOSSARY: tuple[tuple[str, str, bool], ...] = (
    ("Contact", "a call or an email from us; a message shown is part of its call", True),
    ("Answer", "an event that the HCP started: an open, a click, a portal visit, a reaction", True),
    ("Reached", "at least one contact in the period", True),
    ("Net reaction", "positive minus negative reactions, over all recorded", True),
    ("Event", "one thing that happened: who, what, when", False),
    ("Journey", "all events of one {one}, in order", False),
    ("Variant", "a distinct journey: the same steps in the same order", False),
    ("Group", "{many} whose journeys run alike in order and timing", False),
    ("Pattern", "steps in this order and close together; few other steps may lie between", False),
    ("Times as often", "the share of {many} showing a pattern, over the share by chance", False),
    ("Interval", "where the true number lies in 95 of 100 such analyses", False),
    ("Median", "half lie below, half above", False),
    ("Surprise (NLL)", "how unlikely a model held what then happened; zero is knowing it for sure", False),
)


def glossary(c: Context) -> Section:
    """The words of the page."""
    items = tuple((t, d.format(one=c.one, many=c.many)) for t, d, hcp in GLOSSARY if c.run.hcp or not hcp)
    return Section("glossary", "Glossary", Markup("Words on this page"), blocks=(Definitions(items),))
