"""What each role is shown. No view holds names or ids; the medical one ranks nothing promotional."""

from __future__ import annotations

ROLES = ("brand", "sales", "medical")
SALES = (
    "goals",
    "plan",
    "value",
    "accounts",
    "pressure",
    "suggestions",
    "groups",
    "trust",
    "next",
    "content",
    "perceptions",
    "treated",
    "changes",
    "readiness",
    "card",
    "method",
    "glossary",
)
MEDICAL = (
    "medical",
    "groups",
    "trust",
    "journeys",
    "perceptions",
    "changes",
    "readiness",
    "card",
    "method",
    "glossary",
)
MEDICAL_NUMBERS = (
    "portal",
    "cases",
    "events",
    "median_events",
    "median_duration",
    "activities",
)
SAID = {
    "brand": "Brand view",
    "sales": "Sales view: plan, pressure and suggestions first",
    "medical": "Medical view: no promotional ranking, no suggestions",
}


def order(role: str | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """The sections a role is shown, in its order."""
    if role == "sales":
        return tuple(n for n in SALES if n in names)
    if role == "medical":
        return tuple(n for n in MEDICAL if n in names)
    return names
