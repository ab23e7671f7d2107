"""What the user may decide about suggestions."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from behavio.durations import seconds
from behavio.errors import JobError

DAY_US = 86_400_000_000
"""Microseconds of one day."""


@dataclass(frozen=True)
class SuggestSettings:
    """The table [suggest] of a job.

    objective           "inbound" (whatever the case did by itself) or activities, separated by commas
    refusals            inbound activities that are no success when the objective is "inbound"
    response_window     how long after a contact a response counts
    actions             outbound activities that may be suggested; default: the 20 most frequent
    parts_of_contact    outbound activities that belong to another contact and are none of their own
    max_per_case        suggestions for one case
    max_per_owner_day   suggestions that fall due for one owner on one working day
    cooldown            no suggestion while the last contact is younger than this
    cap_per_28d         contacts in 28 days; default: the 95th percentile of the case's own segment
    min_history         events a case needs before anything is said about it
    min_evidence        similar contacts in the past that a suggestion must rest on
    message_fresh       a message not sent to anybody for this long is not suggested
    needs_consent       channels that need an opt-in; default: those the consents of the log speak of
    holdout_column      column of the cases that is true for a randomised group left alone
    as_of               the day (to its end) or moment of the plan; default: the newest event of the log
    expires             how long a suggestion lives
    """

    objective: str = "inbound"
    refusals: tuple[str, ...] = ("email_unsubscribe", "reaction_negative", "reaction_neutral")
    response_window: str = "14d"
    actions: tuple[str, ...] | None = None
    parts_of_contact: tuple[str, ...] = ("message_shown",)
    max_per_case: int = 3
    max_per_owner_day: int = 3
    cooldown: str = "48h"
    cap_per_28d: int | None = None
    min_history: int = 2
    min_evidence: int = 30
    message_fresh: str = "90d"
    needs_consent: tuple[str, ...] | None = None
    holdout_column: str | None = None
    as_of: str | None = None
    expires: str = "14d"

    def __post_init__(self) -> None:
        if not self.objectives:
            raise JobError("objective is empty", hint='write "inbound" or activities separated by commas')
        for name in ("max_per_case", "max_per_owner_day", "min_history", "min_evidence"):
            if getattr(self, name) < 1:
                raise JobError(f"{name} = {getattr(self, name)} is too small", hint="it starts at 1")
        if self.cap_per_28d is not None and self.cap_per_28d < 1:
            raise JobError(f"cap_per_28d = {self.cap_per_28d} is too small", hint="it starts at 1")
        for name in ("response_window", "cooldown", "message_fresh", "expires"):
            if seconds(getattr(self, name)) <= 0:
                raise JobError(f"{name} must be longer than nothing", hint='write a duration such as "14d"')
        if self.as_of is not None:
            moment(self.as_of)

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names in `objective`, in the order written."""
        return tuple(dict.fromkeys(n.strip() for n in self.objective.split(",") if n.strip()))

    @property
    def window_us(self) -> int:
        """`response_window` in microseconds."""
        return microseconds(self.response_window)


def microseconds(duration: str) -> int:
    """A duration with a unit as whole microseconds."""
    return round(seconds(duration) * 1e6)


def moment(text: str) -> int:
    """µs since 1970 (UTC) of an ISO date, meaning the end of that day, or of an ISO date and time."""
    try:
        when = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise JobError(
            f"as_of = {text!r} is no date", hint='write "2025-11-30" or "2025-11-30T12:00:00+00:00"'
        ) from None
    when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)
    whole_day = len(text.strip()) <= len("2025-11-30")
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (when - epoch) // dt.timedelta(microseconds=1) + (DAY_US - 1 if whole_day else 0)
