"""Durations and days as people write them: a number and a unit, a date."""

from __future__ import annotations

import re
from datetime import date

from behavio.errors import JobError

UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
"""Seconds behind each unit: seconds, minutes, hours, days, weeks."""

WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhdw])\s*", re.ASCII)


def seconds(text: str) -> float:
    """Seconds behind "45s", "30m", "12h", "14d" or "2w".

    Raises JobError for anything else: a number without a unit, a unit not listed, a negative number.
    """
    found = WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise JobError(
            f"{text!r} is no duration",
            hint='write a number and a unit: "45s", "30m", "12h", "14d" or "2w"',
        )
    return float(found[1]) * UNITS[found[2]]


def day(text: str, name: str) -> date:
    """The day behind "2027-03-31"; JobError that names the setting for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise JobError(f"{name} = {text!r} is no date", hint='write it as "2027-03-31"') from None
