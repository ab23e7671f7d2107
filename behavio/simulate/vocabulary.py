"""The words of the simulated world: activities, stages, brands, key messages, places."""

from __future__ import annotations

ACTIVITIES = (
    "call_f2f",
    "call_video",
    "call_phone",
    "reaction_positive",
    "reaction_neutral",
    "reaction_negative",
    "message_shown",
    "email_sent",
    "email_open",
    "email_click",
    "portal_visit",
    "portal_download",
    "event_attended",
    "email_unsubscribe",
)
"""Every activity of the simulated log; the place in this tuple is its code."""

(
    F2F,
    VIDEO,
    PHONE,
    POSITIVE,
    NEUTRAL,
    NEGATIVE,
    SHOWN,
    SENT,
    OPEN,
    CLICK,
    VISIT,
    DOWNLOAD,
    EVENT,
    UNSUBSCRIBE,
) = range(14)
CALL, MESSAGE, ALWAYS = 14, 15, 16
"""Codes that stand for any call, any key message, and the start of observation."""

CHANNELS = (
    ("f2f", "video", "phone") + ("",) * 4 + ("email", "email", "email", "portal", "portal", "event", "email")
)
"""Channel of each activity; key messages take the channel of their call."""

OUTBOUND = (F2F, VIDEO, PHONE, SHOWN, SENT)
ACTIONS = (F2F, VIDEO, PHONE, SENT)
"""What the company can choose to do."""

RESPONSES = (POSITIVE, OPEN, CLICK, VISIT, DOWNLOAD, EVENT)
"""What counts as a favourable response."""

STAGES = ("unaware", "aware", "interested", "trial", "adopter")
BRANDS = ("Cardiovia", "Nefrilo")
CATEGORIES = ("Efficacy", "Safety", "Dosing", "Patient case", "Access")

MESSAGES: tuple[tuple[tuple[str, int], ...], ...] = (
    (
        ("Efficacy: 52-week results", 0),
        ("Safety: renal", 1),
        ("Dosing: once daily", 2),
        ("Patient case: early start", 3),
        ("Access: reimbursement", 4),
        ("Efficacy: head-to-head trial", 0),
    ),
    (
        ("Efficacy: eGFR slope", 0),
        ("Safety: potassium", 1),
        ("Dosing: titration in two steps", 2),
        ("Patient case: stable outpatient", 3),
        ("Access: patient support programme", 4),
        ("Safety: long-term follow-up", 1),
    ),
)
"""Key messages of each brand with the place of their category."""

STAGE_MESSAGES = ((0, 3, 5), (0, 5, 1), (1, 3, 2), (2, 4, 1), (4, 3, 2))
"""Which three messages a rep turns to at each stage (places in MESSAGES of the brand)."""

SPECIALTIES = ("Cardiology", "Nephrology", "General Practice", "Endocrinology", "Internal Medicine")
REGIONS = ("North", "East", "South", "West", "Central")
PAGES = ("Home", "Studies", "Dosing", "Patient cases", "Reimbursement", "Webinars", "Contact")
"""Page titles of the portal."""
ASSET_PAGES = (2, 1, 3, 4)
"""The page each asset is downloaded from."""
ASSETS = ("dosing-guide.pdf", "study-summary.pdf", "patient-leaflet.pdf", "reimbursement-form.pdf")
EVENTS = ("Regional evening", "Case forum", "Heart and kidney day", "Peer round table")
