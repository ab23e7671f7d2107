"""What a job declares it wants to reach, before anybody looks."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.durations import seconds
from behavio.errors import JobError

MEASURES = ("answered", "reached", "active", "contacts", "outcome")


@dataclass(frozen=True)
class Goal:
    """One [[goals.goal]].

    name       what it is called
    measure    answered: share of contacts that were answered · reached: share of cases contacted · active:
               share of cases that answered or came by themselves · contacts: contacts per case and 28 days ·
               outcome: share of cases with `activity`
    at_least, at_most   the goal; one of both
    group      only cases of this group (default: all)
    channel    only contacts, or answers, through this channel (default: all)
    activity   the activity of measure = "outcome"
    last       the newest stretch of the log that counts
    """

    name: str
    measure: str = "answered"
    at_least: float | None = None
    at_most: float | None = None
    group: str | None = None
    channel: str | None = None
    activity: str | None = None
    last: str = "90d"

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise JobError(
                f"measure {self.measure!r} does not exist", hint=f"use one of: {', '.join(MEASURES)}"
            )
        if (self.at_least is None) == (self.at_most is None):
            raise JobError(f"the goal {self.name!r} needs at_least or at_most", hint="name one of both")
        if (self.measure == "outcome") != (self.activity is not None):
            raise JobError(
                f'the goal {self.name!r}: activity goes with measure = "outcome"',
                hint="name both, or neither",
            )
        limit = self.target
        if limit < 0 or (self.measure != "contacts" and limit > 1):
            raise JobError(f"the goal {self.name!r} asks for {limit}", hint="shares run from 0 to 1")
        if seconds(self.last) <= 0:
            raise JobError(f"last = {self.last!r} is no time", hint='write a duration such as "90d"')

    @property
    def target(self) -> float:
        """The number to reach, or not to pass."""
        return float(self.at_least if self.at_least is not None else self.at_most or 0.0)


@dataclass(frozen=True)
class GoalSettings:
    """The table [goals] of a job.

    goal             goals declared up front
    response_within  how long after a contact an answer counts
    responses        activities that count as an answer (default: inbound ones, no reactions in a contact)
    previous         folder of the run before: its suggestions and groups are held against what happened since
    """

    goal: tuple[Goal, ...] = ()
    response_within: str = "7d"
    responses: tuple[str, ...] = ()
    previous: str | None = None

    def __post_init__(self) -> None:
        if not self.goal and self.previous is None:
            raise JobError("it names no goal and no previous run", hint="add [[goals.goal]] or previous = …")
        names = [g.name for g in self.goal]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise JobError(f"two goals are called {twice[0]!r}", hint="give each a name of its own")
        if seconds(self.response_within) <= 0:
            raise JobError("response_within must be longer than nothing", hint='for example "7d"')
