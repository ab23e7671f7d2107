"""What a job may say about its report."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.errors import JobError


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """How the report is written.

    title        headline of the page; None lets the strongest finding speak
    k_anonymity  no cell of a group, variant or pattern stands on fewer people than this
    previous     folder of an earlier run to compare with, relative to the working directory
    case         what one case is called, such as "physician"; None: "HCP" in HCP logs, else "case"
    cases        the same for many; None adds an "s"
    """

    title: str | None = None
    k_anonymity: int = 10
    previous: str | None = None
    case: str | None = None
    cases: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.k_anonymity, bool) or not isinstance(self.k_anonymity, int):
            raise JobError(
                f"report.k_anonymity must be a whole number, not {self.k_anonymity!r}",
                hint="10 is the default",
            )
        if self.k_anonymity < 1:
            raise JobError(
                f"report.k_anonymity must be at least 1, it is {self.k_anonymity}",
                hint="1 shows every cell, 10 is the default",
            )
        for name in ("title", "previous", "case", "cases"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise JobError(f"report.{name} must be a text, not {value!r}", hint="leave it out instead")
