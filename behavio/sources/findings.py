"""What each kind of finding means for the results, and what to do about it, in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: what, where, how many of how many, what it means for results, what to do."""

    finding: str
    where: str
    n: int
    of: int
    means: str
    do: str


MEANING: dict[str, tuple[str, str]] = {
    "clock shifted": (
        "{source} runs {hours} h {side} than {against} ({proof}){doubt}: the order of steps across these "
        "sources, waiting times and hours of day are wrong",
        "set timezone of [source.{source}], or ask who exports it; a system that always acts {hours} h "
        "{side} looks the same",
    ),
    "default dates": (
        "these events have no true time: they stand at an end of the journey where they never were",
        "leave them out, or export the true time",
    ),
    "events before 1990": (
        "journeys begin decades too early: spans and waiting times cannot be trusted",
        "look for a wrong year or a default date",
    ),
    "events in the future": (
        "the newest event decides what is recent: everything else looks old beside a date in the future",
        "leave plans out, or mend the clock and the order of day and month",
    ),
    "dates without a time": (
        "times are days only: inside a day the order is that of the file, waiting times are whole days",
        "export the full time where there is one",
    ),
    "burst at midnight": (
        "a batch wrote these times, nobody acted then: order and gaps around them are not real",
        "export the time of the event, not of the load",
    ),
    "calls at the weekend": (
        "most likely dated wrongly or written down later: their place in the journey is doubtful",
        "ask these reps how calls are dated",
    ),
    "calls outside the usual hours": (
        "most likely dated wrongly or written down later: their place in the journey is doubtful",
        "ask these reps how calls are dated",
    ),
    "all reactions positive": (
        "a habit, not an answer ({usual}): reactions and message effects look too good for these reps",
        "read their reactions as message shown, and train the reps",
    ),
    "calls logged in the same minute": (
        "written down in one go: the order of these calls and the gaps between them are those of the typing",
        "trust the day, not the hour, for these reps",
    ),
    "equal durations": (
        "a preset nobody changed: the durations of these calls say nothing",
        "leave duration out for these reps",
    ),
    "missing reactions": (
        "not recorded is not neutral: reaction rates rest on the others, and favour reps who write them down",
        "compare rates only between reps who record reactions",
    ),
    "open and click in the same second": (
        "the CRM adds such opens to clicks: opens count too often, and the step open → click is invented",
        "merge them (the CRM mappings do)",
    ),
    "bot clicks": (
        "security software follows links before anybody reads: click rates are too high for these people",
        "leave them out before comparing channels or messages",
    ),
    "untracked opens": (
        "opens of these emails are not recorded: no open is no refusal",
        "leave these emails out of open rates",
    ),
    "never opened": (
        "of {people} people with {least} or more emails these opened none: no interest, or not tracked",
        "look whether tracking is off for them before calling the channel ignored",
    ),
    "ids not in the case table": (
        "these people have no attributes: they count in journeys, in no comparison by specialty or region",
        "export the whole case table, or add an identity map",
    ),
    "rows that name nobody": (
        "what these people did is missing: activity of this source is under-counted, silence is not proven",
        "export the id, or add an identity map",
    ),
    "source ends early": (
        "it ends {days} days before the newest event: silence there is missing data, not silent people",
        "export it again before predicting from it",
    ),
    "order of equal times": (
        "these events share the time of the case's event before: their order is that of the file",
        "name a column that orders them (order = …)",
    ),
}


def found(kind: str, where: str, n: int, of: int, name: str = "", **words: Any) -> Finding:
    """A finding of one kind; `words` fill the gaps in its sentences, `name` replaces the kind as shown."""
    means, do = MEANING[kind]
    return Finding(name or kind, where, n, of, means.format(**words), do.format(**words))
