"""What the user may decide about stages."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.durations import seconds
from behavio.errors import JobError


@dataclass(frozen=True)
class StageRule:
    """One stage of a ladder by rules.

    stage   its name
    when    a case steps up to it with any of these activities
    times   so many of them, counted since the case came to the stage below
    within  and all of them within this time ("90d"); default: any time
    """

    stage: str
    when: tuple[str, ...]
    times: int = 1
    within: str | None = None

    def __post_init__(self) -> None:
        if not self.stage or not self.when:
            raise JobError(
                "a rule needs a stage and its activities", hint='stage = "aware", when = ["email_open"]'
            )
        if self.times < 1:
            raise JobError(
                f"times = {self.times} of stage {self.stage!r} is too small", hint="it starts at 1"
            )
        if self.within is not None:
            seconds(self.within)


@dataclass(frozen=True)
class StageSettings:
    """The table [stages] of a job: rules, or stages learned from what is talked about.

    names      names of the stages from the lowest up, as many as are learned; default: "stage 1", …
    count      how many stages are learned without names; 0: as many as predict held-out cases best, 2 to 6
    by         column that shows the stage: what a rep talks about, which message she turns to
    sources    sources whose events show it; default: those that note reactions
    rule       [[stages.rule]] from the lowest stage up; then nothing is learned
    start      with rules: name of the stage below the first rule
    back_on    with rules: activities that step one stage back
    silence    a gap longer than this may step back (learned) or does so (rules); rules: none by default
    """

    names: tuple[str, ...] = ()
    count: int = 5
    by: str = "message"
    sources: tuple[str, ...] = ()
    rule: tuple[StageRule, ...] = ()
    start: str = "unaware"
    back_on: tuple[str, ...] = ()
    silence: str | None = None

    def __post_init__(self) -> None:
        if self.count < 0 or self.count == 1 or self.count > 12:
            raise JobError(
                f"count = {self.count} is no ladder", hint="2 to 12 stages, or 0 to find the number"
            )
        if self.silence is not None and seconds(self.silence) <= 0:
            raise JobError("silence must be longer than nothing", hint='write a duration such as "60d"')
        if self.rule and self.names:
            raise JobError("rules name their stages themselves", hint="leave names out, or the rules")
        if len(self.names) == 1:
            raise JobError("one stage is no ladder", hint="name 2 to 12 stages, the lowest first")
        named = [self.start, *(r.stage for r in self.rule)] if self.rule else list(self.names)
        if len(set(named)) != len(named):
            raise JobError(f"a stage is named twice: {', '.join(named)}", hint="each stage has its own name")
