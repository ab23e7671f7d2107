"""What the user may decide about accounts."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.durations import seconds
from behavio.errors import JobError


@dataclass(frozen=True)
class AccountSettings:
    """The table [accounts] of a job; it needs [affiliations].

    roles    roles every account should have; without them those that most accounts have
    window   a member counts as covered when contacted within this long before the newest event
    within   an answer of one member so soon after another's counts as following it
    """

    roles: tuple[str, ...] = ()
    window: str = "90d"
    within: str = "14d"

    def __post_init__(self) -> None:
        for name in ("window", "within"):
            if seconds(getattr(self, name)) <= 0:
                raise JobError(f"{name} must be longer than nothing", hint='write a duration such as "90d"')
