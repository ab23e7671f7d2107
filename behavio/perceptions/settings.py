"""What the user may decide about perceptions."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.errors import JobError


@dataclass(frozen=True)
class PerceptionSettings:
    """The table [perceptions] of a job: answers of a sample, projected to everybody where that is earned.

    attributes   columns of the cases that may help to project (opt-in: none by default, so that nothing
                 sensitive is used unnoticed)
    min_answers  questions answered by fewer cases are refused
    min_share    answers given by a smaller share are joined as "other"
    research     weight of what people say, 0 to 1, in profiles that put it together with the groups of
                 behaviour, which have the rest; without it no such profiles are made
    """

    attributes: tuple[str, ...] = ()
    min_answers: int = 60
    min_share: float = 0.05
    research: float | None = None

    def __post_init__(self) -> None:
        if self.min_answers < 30:
            raise JobError(f"min_answers is {self.min_answers}", hint="30 answers are the least")
        if self.research is not None and not 0 <= self.research <= 1:
            raise JobError(f"research is {self.research}", hint="a weight from 0 to 1")
        if not 0 <= self.min_share < 0.5:
            raise JobError(f"min_share is {self.min_share}", hint="a share from 0 to 0.5")
