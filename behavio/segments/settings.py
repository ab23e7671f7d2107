"""The table [segments] of a job."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.errors import JobError

KINDS = ("semi_markov", "kmeans")
VIEWS = ("events", "phases", "answers", "spells")


@dataclass(frozen=True)
class SegmentSettings:
    """The table [segments] of a job.

    kind          semi_markov (order and timing) or kmeans (shares of activities only)
    k             number of segments, or "auto": found on held-out cases
    max_k         the most segments "auto" may choose
    restarts      seeded starts for each k; the most likely one wins
    min_strength  a case belongs to a segment when its probability is at least this, else to none
    min_events    a shorter case is left unassigned: too little is known of it
    min_size      smallest share of cases that "auto" lets a segment have
    response_only where the log says who acted, group by how cases respond to what the company does, not
                  by what it does to them; semi_markov only
    view          what of a journey semi_markov looks at: "events", "phases" (thirds of a journey),
                  "answers" (what comes later after an act of the company), "spells" (states and how long
                  they last), or "auto": the plainest that tells
    """

    kind: str = "semi_markov"
    k: int | str = "auto"
    max_k: int = 10
    restarts: int = 8
    min_strength: float = 0.5
    min_events: int = 3
    min_size: float = 0.02
    response_only: bool = True
    view: str = "auto"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise JobError(
                f"kind = {self.kind!r} is no way to find segments", hint=f"one of {', '.join(KINDS)}"
            )
        if isinstance(self.k, bool) or not (self.k == "auto" or (isinstance(self.k, int) and self.k >= 1)):
            raise JobError(
                f"k = {self.k!r} is no number of segments", hint='a whole number from 1 up, or "auto"'
            )
        if self.view not in ("auto", *VIEWS):
            raise JobError(
                f"view = {self.view!r} is no way to look at journeys",
                hint=f"auto or one of {', '.join(VIEWS)}",
            )
        for name, low in (("max_k", 1), ("restarts", 1), ("min_events", 1)):
            if getattr(self, name) < low:
                raise JobError(f"{name} = {getattr(self, name)} is too small", hint=f"at least {low}")
        for name in ("min_strength", "min_size"):
            if not 0 <= getattr(self, name) <= 1:
                raise JobError(f"{name} = {getattr(self, name)} is no share", hint="between 0 and 1")
