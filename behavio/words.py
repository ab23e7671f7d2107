"""The words a reader sees: touchpoints, durations, numbers and colours, the same on every page.

HCP touchpoints get human words; the activities of any other log keep their own name, nicely spaced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TOUCHPOINTS: dict[str, str] = {
    "call_f2f": "rep visit",
    "call_video": "video call",
    "call_phone": "phone call",
    "reaction_positive": "positive reaction",
    "reaction_neutral": "neutral reaction",
    "reaction_negative": "negative reaction",
    "message_shown": "message shown",
    "email_sent": "email sent",
    "email_open": "email open",
    "email_click": "email click",
    "email_unsubscribe": "unsubscribe",
    "portal_visit": "portal",
    "portal_download": "download",
    "event_attended": "event",
    "sample": "sample",
}
"""The canonical activities of HCP extracts, as a person says them."""

CHANNELS: dict[str, str] = {
    "f2f": "rep visit",
    "video": "video call",
    "phone": "phone call",
    "email": "email",
    "portal": "portal",
    "event": "event",
}

COLOURS: dict[str, str] = {
    "call_f2f": "#4477AA",
    "message_shown": "#4477AA",
    "reaction_positive": "#4477AA",
    "reaction_neutral": "#4477AA",
    "reaction_negative": "#4477AA",
    "call_video": "#66CCEE",
    "call_phone": "#66CCEE",
    "email_sent": "#F3B6BE",
    "email_open": "#EE6677",
    "email_click": "#B8344A",
    "portal_visit": "#228833",
    "portal_download": "#228833",
    "event_attended": "#CCBB44",
    "sample": "#AA3377",
    "email_unsubscribe": "#AA3377",
}
"""One hue a touchpoint, safe for colour blindness; what belongs to a call has the hue of the call."""

PALETTE = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#B8344A", "#F3B6BE")
OTHER_COLOUR = "#AA3377"
SILENCE_COLOUR = "#E4E2DC"

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_SPACE = re.compile(r"\s+")
_UNITS = ((365.25 * 86_400, "year"), (86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))


def touchpoint(activity: str) -> str:
    """The activity in human words: "call_f2f" is "rep visit", "coupon_redeemed" "coupon redeemed"."""
    known = TOUCHPOINTS.get(activity)
    if known is not None:
        return known
    text = _CONTROL.sub(" ", activity).replace("_", " ")
    text = re.sub(r":(?=[^\s\d/])", ": ", text)
    return _SPACE.sub(" ", text).strip() or "(no name)"


def short_touchpoint(activity: str, width: int = 28) -> str:
    """`touchpoint`, cut at a word so that it fits a label: at most `width` characters."""
    return shorten(touchpoint(activity), width)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters, cut between words where one ends near, with an ellipsis."""
    if len(text) <= width:
        return text
    cut = text[: width - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space >= width // 2 else cut).rstrip(" ,;:-–(/") + "…"


def is_touchpoint(activity: str) -> bool:
    """True when the activity is one of the canonical HCP touchpoints."""
    return activity in TOUCHPOINTS


def channel_colour(activity: str) -> str:
    """The fixed hue of a touchpoint as #RRGGBB; any other activity has the hue of "other"."""
    return COLOURS.get(activity, OTHER_COLOUR)


def colours(activities: Sequence[str]) -> dict[str, str]:
    """A hue for each activity: fixed for touchpoints, else the palette in the order given.

    Once the palette is used up, the rest share the hue of "other".
    """
    chosen = {a: COLOURS[a] for a in activities if a in COLOURS}
    free = [hue for hue in PALETTE if hue not in chosen.values()]
    for activity in activities:
        if activity not in chosen:
            chosen[activity] = free.pop(0) if free else OTHER_COLOUR
    return chosen


def duration(seconds: float) -> str:
    """A length of time as a person says it: "45 s", "12 min", "2.1 h", "3 days", "2.5 years"."""
    if seconds < 0:
        return "−" + duration(-seconds)
    if seconds < 1:
        return "at once"
    for size, unit in _UNITS:
        limit = 2 * size if unit == "year" else size
        # 59.7 min says "1 h", never "60 min": the unit is chosen after rounding
        if seconds >= limit * 0.995 or unit == "s":
            amount = number(seconds / size)
            plural = "s" if unit in ("day", "year") and amount != "1" else ""
            return f"{amount} {unit}{plural}"
    raise AssertionError("the last unit is one second")


def days(amount: float) -> str:
    """`duration` of a number of days."""
    return duration(amount * 86_400)


def number(value: float) -> str:
    """A number as written in text: thousands separated, one decimal only under ten, a true minus."""
    rounded = round(value, 1) if abs(value) < 9.95 else float(round(value))
    text = f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.1f}"
    return ("0" if text == "-0" else text).replace("-", "−")


def percent(share: float) -> str:
    """A share 0–1 as "23 %", with "under 1 %" and "over 99 %" where rounding would say 0 or 100."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{round(share * 100):,} %".replace("-", "−")


def times(ratio: float) -> str:
    """How many times as often: "2.6 times", "twice", "half"."""
    if ratio >= 9.95:
        return f"{number(ratio)} times"
    rounded = f"{ratio:.1f}"
    return {"2.0": "twice", "0.5": "half", "1.0": "just"}.get(rounded, f"{rounded} times")


PLURALS: dict[str, str] = {
    "call_f2f": "rep visits",
    "call_video": "video calls",
    "call_phone": "phone calls",
    "reaction_positive": "positive reactions",
    "reaction_neutral": "neutral reactions",
    "reaction_negative": "negative reactions",
    "message_shown": "messages shown",
    "email_sent": "emails",
    "email_open": "email opens",
    "email_click": "email clicks",
    "email_unsubscribe": "unsubscribes",
    "portal_visit": "portal visits",
    "portal_download": "downloads",
    "event_attended": "events attended",
    "sample": "samples",
}

SINGULARS: dict[str, str] = {
    "email_sent": "an email",
    "email_open": "an email open",
    "email_click": "an email click",
    "email_unsubscribe": "an unsubscribe",
    "portal_visit": "a portal visit",
    "event_attended": "an event",
}


def plural(activity: str) -> str:
    """Several of an activity: "rep visits"; of any other log "Consulting Fee events"."""
    return PLURALS.get(activity) or f"{short_touchpoint(activity, 40)} events"


def one(activity: str) -> str:
    """One of an activity: "a rep visit"; of any other log its own name."""
    if activity in SINGULARS:
        return SINGULARS[activity]
    return f"a {TOUCHPOINTS[activity]}" if activity in TOUCHPOINTS else short_touchpoint(activity, 40)


def capital(text: str) -> str:
    """With a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]
