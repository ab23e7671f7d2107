"""What the user may decide about value and targeting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from behavio.durations import seconds
from behavio.errors import JobError


@dataclass(frozen=True)
class ValueSettings:
    """The table [value] of a job: what cases are worth, from a column that was brought in.

    column           column of the cases: potential, a decile, a class; never inferred from engagement
    cuts             numbers that part a column of numbers into levels; default: the highest fifth is "high"
    order            the levels of a text column from the least to the most valuable
    costs            cost of one contact by channel; without it nothing is said of costs
    currency         what costs are counted in
    last             the newest stretch of the log that counts
    response_within  how long after a contact an answer counts
    responses        activities that count as an answer (default: inbound ones, no reactions in a contact)
    """

    column: str
    cuts: tuple[float, ...] = ()
    order: tuple[str, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    currency: str = "EUR"
    last: str = "365d"
    response_within: str = "7d"
    responses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if list(self.cuts) != sorted(set(self.cuts)):
            raise JobError(f"cuts {list(self.cuts)} do not rise", hint="for example cuts = [4, 8]")
        for channel, cost in self.costs.items():
            if cost < 0:
                raise JobError(f"the cost of {channel} is {cost}", hint="0 or more")
        for name in ("last", "response_within"):
            if seconds(getattr(self, name)) <= 0:
                raise JobError(f"{name} must be longer than nothing", hint='write a duration such as "90d"')
