"""How right the next step is by how many events of a case are known."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from behavio.report.context import Context, say
from behavio.report.tables import Column, Table


def _bands(c: Context) -> list[dict[str, Any]]:
    found = (c.run.metrics or {}).get("by_events") or []
    return [b for b in found if b["n_cases"] >= c.k]


def table(c: Context) -> Table | None:
    """A row per band of events known, of k people or more."""
    bands = _bands(c)
    if not bands:
        return None
    columns = (
        Column("known", "Events known"),
        Column("n", "Later events", "count"),
        Column("accuracy", "Right", "score", bar=True),
        Column("accuracy_base", "Base rate right", "score"),
        Column("gain", "Foretold better", "nats"),
        Column("gain_low", "From", "nats"),
        Column("gain_high", "To", "nats"),
        Column("rests_on", "Rests on"),
    )
    words = {None: "too few to judge"}
    rows = [b | {"known": known(b), "rests_on": words.get(b["rests_on"], b["rests_on"])} for b in bands]
    return Table.of("skill_by_events", "Skill by events known", columns, rows, "behavio evaluate RUN --json")


def known(band: dict[str, Any]) -> str:
    """The band in words: "1", "3–5", "51 and more"."""
    low, high = band["low"], band["high"]
    return f"{low}" if low == high else f"{low} and more" if high is None else f"{low}–{high}"


def title(c: Context) -> Markup:
    """From how many events on a history says more than the base rate."""
    own = [b for b in _bands(c) if b["rests_on"] == "person"]
    if not own:
        return say("No length of history is yet shown to tell more than the base rate")
    first = min(b["low"] for b in own)
    n = c.facts.add("first_events", first, "count", "events known from which a history tells more")
    return say(
        "From {n} known event{s} on, a history tells more than the base rate", n=n.shown, s="s"[: first > 1]
    )


def note(c: Context) -> Markup:
    """What the columns are."""
    return say(
        "Later events by how many events of the {one} were known before. Base rate: what everybody does "
        "most. Foretold better: surprise saved per event, with 95 % interval over {many}. Where a history "
        "does not tell more, next steps rest on the group, then on the base rate, and say so.",
        one=c.one,
        many=c.many,
    )
