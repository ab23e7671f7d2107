"""The table [segments] of a job."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.durations import day
from behavio.errors import JobError

KINDS = ("auto", "semi_markov", "kmeans", "vectors", "hdbscan", "medoids")
SPACES = ("transitions", "aggregates", "contrast", "model")
VIEWS = ("events", "phases", "answers", "spells")


@dataclass(frozen=True)
class SegmentSettings:
    """The table [segments] of a job.

    kind          auto (semi_markov; medoids where the log notes states at regular moments, for a chain sees
                  little of those), semi_markov (order and timing), kmeans (shares of activities only),
                  vectors (k-means on vectors), hdbscan (dense places among vectors, the rest in no segment),
                  medoids (nearness to typical journeys by optimal matching)
    space         the vectors of kind vectors and hdbscan: transitions (what follows what), aggregates
                  (shares, length and pace), contrast (a net that learns to tell cases apart),
                  model (what the [model] table learned of each case)
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
    subgroups     look for smaller groups inside each segment
    previous      an earlier run (folder, relative to the job file): its names are kept where segments go on
    frozen        score with the model of `previous`, learn nothing: same journey, same segment
    churn_limit   stop when a larger share of the cases of both runs would change their segment
    overrides     a table of experts' decisions: case_id, segment, reason, date
    challenge     an existing segmentation to hold against the new one: a column of the cases, or a table
                  with case_id and the segment
    owner         who answers for the segments       review  the day they are to be looked at again
    """

    kind: str = "auto"
    k: int | str = "auto"
    max_k: int = 10
    restarts: int = 8
    min_strength: float = 0.5
    min_events: int = 3
    min_size: float = 0.02
    response_only: bool = True
    view: str = "auto"
    space: str = "transitions"
    subgroups: bool = True
    previous: str | None = None
    frozen: bool = False
    churn_limit: float = 0.5
    overrides: str | None = None
    challenge: str | None = None
    owner: str | None = None
    review: str | None = None

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
        if self.frozen and self.previous is None:
            raise JobError("frozen = true needs the run to score with", hint='previous = "runs/2026-09"')
        if self.review is not None:
            day(self.review, "review")
        if self.space not in SPACES:
            raise JobError(f"space = {self.space!r} is not known", hint=f"one of {', '.join(SPACES)}")
        if self.kind == "hdbscan" and self.k != "auto":
            raise JobError("hdbscan finds the number of segments itself", hint='set segments.k = "auto"')
        for name, low in (("max_k", 1), ("restarts", 1), ("min_events", 1)):
            if getattr(self, name) < low:
                raise JobError(f"{name} = {getattr(self, name)} is too small", hint=f"at least {low}")
        for name in ("min_strength", "min_size", "churn_limit"):
            if not 0 <= getattr(self, name) <= 1:
                raise JobError(f"{name} = {getattr(self, name)} is no share", hint="between 0 and 1")
