"""A fact in plain words: a name of two to five words, a clause with numbers, a sentence.

HCP touchpoints get human words; any other log keeps its activities' own names.
"""

from __future__ import annotations

import re

from behavio import words
from behavio.segments.fact import Fact

OUTBOUND = frozenset({"call_f2f", "call_video", "call_phone", "message_shown", "email_sent", "sample"})
"""What the company does: it tells more about the plan than about the HCP."""

CALL_PARTS = frozenset({"reaction_positive", "reaction_neutral", "reaction_negative"})
"""What is recorded inside a call: it comes when the call comes, whatever went before."""

SHORT = {"email_sent": "email", "call_f2f": "visit"}
"""Said shorter where something comes after it."""

SPECIAL_NAMES: dict[tuple[str, str, str, bool], str] = {
    ("follow", "email_sent", "email_open", True): "Email openers",
    ("follow", "email_sent", "email_open", False): "Emails left unopened",
    ("follow", "email_open", "email_click", True): "Openers who click",
    ("follow", "email_open", "email_click", False): "Openers who never click",
    ("follow", "email_sent", "portal_visit", True): "Portal after email",
    ("follow", "email_open", "portal_visit", True): "Portal after opening email",
    ("follow", "email_click", "portal_visit", True): "Portal after email click",
    ("follow", "call_f2f", "portal_visit", True): "Portal after rep visit",
    ("follow", "call_f2f", "email_open", True): "Visit first, email later",
    ("follow", "portal_visit", "portal_visit", True): "Portal again and again",
    ("follow", "portal_visit", "portal_download", True): "Portal for downloads",
    ("gap", "email_sent", "email_open", False): "Quick openers",
    ("gap", "email_sent", "email_open", True): "Late openers",
    ("gap", "email_sent", "portal_visit", False): "Portal soon after email",
    ("gap", "call_f2f", "portal_visit", False): "Portal soon after visit",
    ("follow", "reaction_positive", "portal_visit", True): "Portal after a good call",
    ("gap", "reaction_positive", "portal_visit", False): "Portal after a good call",
    ("gap", "reaction_positive", "portal_download", False): "Portal after a good call",
    ("follow", "reaction_positive", "portal_download", True): "Portal after a good call",
    ("share", "email_open", "", True): "Keen email readers",
    ("share", "email_open", "", False): "Email ignored",
    ("share", "portal_visit", "", True): "Portal explorers",
    ("share", "portal_download", "", True): "Portal downloaders",
    ("share", "call_f2f", "", True): "Rep visits above all",
    ("share", "email_click", "", True): "Email clickers",
    ("share", "event_attended", "", True): "Event goers",
    ("reaction", "reaction_positive", "", True): "Positive in calls",
    ("reaction", "reaction_positive", "", False): "Hard to win over",
    ("reaction", "reaction_neutral", "", True): "Neutral in calls",
    ("reaction", "reaction_negative", "", True): "Critical in calls",
    ("reaction", "reaction_negative", "", False): "Seldom critical in calls",
    ("tempo", "", "", True): "Long pauses between contacts",
    ("tempo", "", "", False): "In frequent contact",
}
"""Kind (order and until are "follow"), activities, more or longer than others → name."""


def special_name(fact: Fact, hcp: bool) -> str | None:
    """The phrase people have for this fact about HCPs, if there is one."""
    kind = "follow" if fact.kind in ("order", "until") else fact.kind
    a, b = (*fact.what, "", "")[:2]
    return SPECIAL_NAMES.get((kind, a, b, fact.more)) if hcp or a else None


def short_name(fact: Fact, hcp: bool) -> str:
    """Name of a segment made of one fact; never empty."""
    kind = "follow" if fact.kind in ("order", "until") else fact.kind
    a, b = (*fact.what, "", "")[:2]
    special = special_name(fact, hcp)
    if special is not None:
        return special
    if kind == "tempo":
        return f"Events {pace(fact)}"
    x, y = SHORT.get(a, words.short_touchpoint(a, 26)), words.short_touchpoint(b, 26)
    if kind in ("share", "reaction"):
        text = _share_name(fact, x, words.is_touchpoint(a) and words.plural(a))
    elif kind == "reach":
        text = _reach_name(fact, x, words.is_touchpoint(a) and words.plural(a))
    elif kind == "gap":
        text = f"{y} soon after {x}" if not fact.more else f"{y} late after {x}"
    elif a == b:
        text = f"{x} in a row" if fact.more else f"{x} seldom repeated"
    elif fact.more:
        text = f"{y} after {x}"
    else:
        text = f"{'no' if fact.value < 0.05 else 'seldom'} {y} after {x}"
    return words.capital(text)


def _reach_name(fact: Fact, name: str, several: str | bool) -> str:
    if fact.more:
        return f"with {several or name}" if fact.rest < 0.5 else f"always {several or name}"
    if fact.value < 0.05:
        return f"no {several or name}"
    return f"seldom {several or name}"


def pace(tempo: Fact) -> str:
    """The tempo as the second part of a name."""
    return "far apart" if tempo.more else "close together"


def _share_name(fact: Fact, name: str, several: str | bool) -> str:
    if fact.more:
        if fact.value >= 0.5:
            return f"mostly {several or name}"
        return f"many {several}" if several else f"{name} often"
    if fact.lift < 0.1:
        return f"no {several or name}"
    return f"few {several}" if several else f"{name} rarely"


def composite_name(facts: list[Fact]) -> tuple[float, str] | None:
    """A name of two facts that only make sense together, and how telling they are; HCPs only."""
    low: dict[str, float] = {}
    for f in facts:
        if f.kind in ("share", "until") and f.lift < 0.35:
            low[f.what[-1]] = max(f.telling, low.get(f.what[-1], 0.0))
    if "email_open" in low and "portal_visit" in low:
        return 2 * (low["email_open"] + low["portal_visit"]), "Visits only, email ignored"
    return None


def clause(fact: Fact) -> str:
    """The fact with its numbers, as part of a sentence, lower case where the words allow it."""
    a, b = (*fact.what, "", "")[:2]
    if fact.kind == "tempo":
        here, there = words.duration(fact.value), words.duration(fact.rest)
        return f"{here} from one event to the next (median, others {there})"
    if fact.kind == "gap":
        here, there = words.duration(fact.value), words.duration(fact.rest)
        if (a, b) == ("email_sent", "email_open"):
            return f"they open emails {here} after they are sent (median, others {there})"
        return f"{words.one(b)} comes {here} after {words.one(a)} (median, others {there})"
    here, there = words.percent(fact.value), words.percent(fact.rest)
    if fact.kind == "share":
        return _share(a, here, there)
    if fact.kind == "reach":
        return f"{here} ever have {words.one(a)} (others {there})"
    if fact.kind == "reaction":
        return f"{here} of recorded reactions are {a.removeprefix('reaction_')} (others {there})"
    if (a, b) == ("email_sent", "email_open"):
        return f"they open {here} of emails before the next one comes (others {there})"
    if fact.kind == "order":
        return f"{here} of {words.plural(a)} are followed directly by {_another(a, b)} (others {there})"
    return f"{here} of {words.plural(a)} have {words.one(b)} before the next one (others {there})"


def _another(a: str, b: str) -> str:
    """One b after an a: "a rep visit", "another email" where both are the same."""
    if a != b:
        return words.one(b)
    return re.sub(r"^an? ", "another ", words.one(b)) if words.is_touchpoint(b) else f"another {words.one(b)}"


def _share(activity: str, here: str, there: str) -> str:
    if words.is_touchpoint(activity):
        return f"{words.plural(activity)} make up {here} of their touchpoints (others {there})"
    return f"{words.short_touchpoint(activity, 40)} makes up {here} of their events (others {there})"


def full_text(fact: Fact) -> str:
    """The clause as a sentence of its own, with the ratio and its interval in plain words."""
    if fact.lift == 0:
        return f"{words.capital(clause(fact))}: never seen here"
    if fact.rest == 0:
        return f"{words.capital(clause(fact))}: seen only here"
    if fact.kind == "gap":
        said = "times later" if fact.more else "times sooner"
    elif fact.kind == "tempo":
        said = "times as long" if fact.more else "times as short"
    else:
        said = "times as often" if fact.more else "times as seldom"
    # below one the reciprocal is said: "5 times as seldom" is plain, "0.2 times as often" is not
    ratios = (fact.lift, fact.low, fact.high)
    if not fact.more:
        ratios = (1 / fact.lift, 1 / max(fact.high, 1e-9), 1 / max(fact.low, 1e-9))
    middle, low, high = map(_ratio, ratios)
    interval = f" ({low}–{high})" if low != high else ""
    return f"{words.capital(clause(fact))}: {middle} {said}{interval}"


def _ratio(value: float) -> str:
    return "over 100" if value > 100 else words.number(value)


def sentence(facts: list[Fact], limit: int = 3) -> str:
    """One sentence of up to `limit` facts, each about something else."""
    told: list[Fact] = []
    for fact in facts:
        if all(_differs(fact, other) for other in told):
            told.append(fact)
        if len(told) == limit:
            break
    if not told:
        return "Nothing sets these cases clearly apart from all others."
    clauses = [clause(f) for f in told]
    text = clauses[0] if len(clauses) == 1 else "; ".join(clauses[:-1]) + "; and " + clauses[-1]
    return words.capital(text) + "."


def _differs(fact: Fact, other: Fact) -> bool:
    """About other activities, or of another kind about another pair."""
    if fact.what == other.what:
        return False
    return not set(fact.what) & set(other.what) or fact.kind != other.kind
