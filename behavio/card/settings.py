"""What a job says of itself for its model card."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.durations import day
from behavio.errors import JobError


@dataclass(frozen=True, slots=True)
class CardSettings:
    """The table [card] of a job.

    owner      who answers for the run
    purpose    what it is for, in a sentence
    sensitive  columns such as age or sex that this job may use; any other of that kind is kept from models,
               groups and suggestions
    review     the day it is to be looked at again (YYYY-MM-DD)
    """

    owner: str | None = None
    purpose: str | None = None
    sensitive: tuple[str, ...] = ()
    review: str | None = None

    def __post_init__(self) -> None:
        for name in ("owner", "purpose"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise JobError(f"{name} is empty", hint="leave it out, or write a name")
        if self.review is not None:
            day(self.review, "review")
