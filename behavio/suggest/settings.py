"""What the user may decide about suggestions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from behavio.durations import seconds
from behavio.errors import JobError

DAY_US = 86_400_000_000
"""Microseconds of one day."""

QUEUES = ("commercial", "medical")

MEANINGS = ("rest", "never", "channel", "message", "none")
"""What a reason of a dismissal may mean, see `SuggestSettings.dismissal_reasons`."""


@dataclass(frozen=True)
class TriggerRule:
    """One [[suggest.trigger]]: whoever fits `when` gets `action`, unless another rule forbids it.

    when    conditions joined by "and", each a pattern, "in 30d" or not: "portal_visit and no call in 30d"
    action  the outbound activity that is suggested then
    name    how the reason calls it; default: its text
    queue   commercial, or medical: then it stands in the medical team's queue, see `medical`. What the
            medical team did or was asked is seen by medical triggers only, contacts by the others by the
            commercial ones only
    """

    when: str
    action: str
    name: str | None = None
    queue: str = "commercial"

    def __post_init__(self) -> None:
        if self.queue not in QUEUES:
            raise JobError(f"queue = {self.queue!r} is unknown", hint=f"one of {', '.join(QUEUES)}")
        if not self.when.strip() or not self.action.strip():
            raise JobError(
                "a trigger needs when and action",
                hint='when = "portal_visit and no call in 30d", action = "call_f2f"',
            )


@dataclass(frozen=True)
class SuggestSettings:
    """The table [suggest] of a job.

    objective           inbound (whatever the case did by itself), reaction (a positive one), visit (of the
                        portal or an event), stage (a step up the ladder of [stages]), outcome (see there), or
                        activities, separated by commas
    outcome             activities that the objective "outcome" stands for, e.g. a first prescription
    refusals            inbound activities that are no success when the objective is "inbound"
    response_window     how long after a contact a response counts
    actions             outbound activities that may be suggested; default: the 20 most frequent
    parts_of_contact    outbound activities that belong to another contact and are none of their own
    max_per_case        suggestions for one case
    max_per_owner_day   suggestions that fall due for one owner on one working day
    cooldown            no suggestion while the last contact is younger than this
    cap_per_28d         contacts in 28 days; default: the 95th percentile of the case's own segment
    channel_caps        contacts in 28 days by channel: {email = 2}
    team_caps           contacts in 28 days by team: {marketing = 3}
    country_caps        calls in 365 days by country of the case: {GB = 3}
    country_column      column of the cases that names the country
    variety             the same action at most so many times in a row without an answer to it
    costs               what a contact costs, by action or channel, in any unit
    equal_within        chances of a response this close count as equal: then the cheaper action comes first
    min_history         events a case needs before anything is said about it
    min_evidence        similar contacts in the past that a suggestion must rest on
    message_fresh       a message not sent to anybody for this long is not suggested
    expired_messages    messages that may not be used any more
    specialties         specialties a brand may be talked about with: {Cardiovia = ["Cardiology"]}
    specialty_column    column of the cases that names the specialty
    needs_consent       channels that need an opt-in; default: those the consents of the log speak of
    holdout             file of a draw by `behavio holdout`: cases left alone
    holdout_column      column of the cases that is true for a randomised group left alone
    trigger             [[suggest.trigger]] rules of the users
    requests            activities by which a case asks the medical team something; default: what is inbound
                        and of the medical team, reactions left out
    request_open        how long such a question stays open when nobody answers it
    policy              TOML file: which channels for which value and behaviour, see `channels.py`
    value_column        number of the cases that says what they are worth, e.g. a decile
    high_value          value from which a case counts as one of high value; default: the top fifth
    low_access          no contact for this long is low access
    cycle_end           last day of the planning cycle; default: the next end of a quarter
    steps               most steps planned for one case within the cycle, 1 to 6
    step_gap            at least so long between two steps of a case
    previous            an earlier run: its suggestions are looked up in the feedback of this log
    executed            activities that say a suggestion was acted upon
    dismissed           activities that say it was turned down
    dismissal_column    column of the log with the reason of a dismissal
    dismissal_reasons   what a reason means: rest (the action rests), never (not this action again), channel
                        (not this channel again), message (not this message again), none (no meaning)
    dismissal_rest      how long an action rests after one dismissal
    executed_rest       how long an action rests after one was done as suggested: its answer may still come
    dismissals          so many dismissals of an action and it is not suggested again
    as_of               the day (to its end) or moment of the plan; default: the newest event of the log
    expires             how long a suggestion lives
    """

    objective: str = "inbound"
    outcome: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ("email_unsubscribe", "reaction_negative", "reaction_neutral")
    response_window: str = "14d"
    actions: tuple[str, ...] | None = None
    parts_of_contact: tuple[str, ...] = ("message_shown",)
    max_per_case: int = 3
    max_per_owner_day: int = 3
    cooldown: str = "48h"
    cap_per_28d: int | None = None
    channel_caps: Mapping[str, int] = field(default_factory=dict)
    team_caps: Mapping[str, int] = field(default_factory=dict)
    country_caps: Mapping[str, int] = field(default_factory=dict)
    country_column: str = "country"
    variety: int = 6
    costs: Mapping[str, float] = field(default_factory=dict)
    equal_within: float = 0.02
    min_history: int = 2
    min_evidence: int = 30
    message_fresh: str = "90d"
    expired_messages: tuple[str, ...] = ()
    specialties: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    specialty_column: str = "specialty"
    needs_consent: tuple[str, ...] | None = None
    holdout: str | None = None
    holdout_column: str | None = None
    trigger: tuple[TriggerRule, ...] = ()
    requests: tuple[str, ...] | None = None
    request_open: str = "90d"
    policy: str | None = None
    value_column: str | None = None
    high_value: float | None = None
    low_access: str = "60d"
    cycle_end: str | None = None
    steps: int = 6
    step_gap: str = "7d"
    previous: str | None = None
    executed: tuple[str, ...] = ("suggestion_actioned", "suggestion_executed", "suggestion_completed")
    dismissed: tuple[str, ...] = ("suggestion_dismissed",)
    dismissal_column: str = "dismissal_reason"
    dismissal_reasons: Mapping[str, str] = field(default_factory=dict)
    dismissal_rest: str = "30d"
    executed_rest: str = "14d"
    dismissals: int = 2
    as_of: str | None = None
    expires: str = "14d"

    def __post_init__(self) -> None:
        if not self.objectives:
            raise JobError("objective is empty", hint='write "inbound" or activities separated by commas')
        if self.objectives == ("outcome",) and not self.outcome:
            raise JobError(
                'objective = "outcome" names no activity', hint='add outcome = ["first_prescription"]'
            )
        least = ("max_per_case", "max_per_owner_day", "min_history", "min_evidence", "variety", "dismissals")
        for name in (*least, "steps"):
            if getattr(self, name) < 1:
                raise JobError(f"{name} = {getattr(self, name)} is too small", hint="it starts at 1")
        if self.steps > 6:
            raise JobError(f"steps = {self.steps} is too many", hint="a plan has 1 to 6 steps per case")
        caps = {f"{n}.{k}": v for n in ("channel_caps", "team_caps", "country_caps") for k, v in self._of(n)}
        for name, cap in (caps | {"cap_per_28d": self.cap_per_28d}).items():
            if cap is not None and cap < 1:
                raise JobError(f"{name} = {cap} is too small", hint="it starts at 1")
        durations = ("response_window", "cooldown", "message_fresh", "expires", "low_access", "step_gap")
        for name in (*durations, "dismissal_rest", "executed_rest", "request_open"):
            if seconds(getattr(self, name)) <= 0:
                raise JobError(f"{name} must be longer than nothing", hint='write a duration such as "14d"')
        for reason, meaning in self.dismissal_reasons.items():
            if meaning not in MEANINGS:
                raise JobError(
                    f"dismissal_reasons.{reason} = {meaning!r} is unknown",
                    hint=f"one of {', '.join(MEANINGS)}",
                )
        if not 0 <= self.equal_within < 1 or any(c < 0 for c in self.costs.values()):
            raise JobError("costs and equal_within are not negative", hint="costs = {email = 1, f2f = 20}")
        for day in (self.as_of, self.cycle_end):
            if day is not None:
                moment(day)

    def _of(self, name: str) -> list[tuple[str, int]]:
        return sorted(getattr(self, name).items())

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
            f"{text!r} is no date", hint='write "2025-11-30" or "2025-11-30T12:00:00+00:00"'
        ) from None
    when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)
    whole_day = len(text.strip()) <= len("2025-11-30")
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (when - epoch) // dt.timedelta(microseconds=1) + (DAY_US - 1 if whole_day else 0)
