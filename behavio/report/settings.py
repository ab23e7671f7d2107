"""What a job may say about its report."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.errors import JobError
from behavio.report.language import language
from behavio.report.roles import ROLES

FORMS = ("pptx", "markdown", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """How the report is written.

    title        headline of the page; None lets the strongest finding speak
    k_anonymity  no cell of a group, variant or pattern stands on fewer people than this
    previous     folder of an earlier run to compare with, relative to the working directory
    case         what one case is called, such as "physician"; None: "HCP" in HCP logs, else "case"
    cases        the same for many; None adds an "s"
    group        the report of this one group alone
    role         "brand", "sales" or "medical": which parts are shown, and in which order
    lang         "en", "de" or the path of a catalogue file
    also         further forms beside the page: "pptx", "markdown", "parquet" (CSV is always there)
    template     a company's .pptx whose master and layouts the slides take
    """

    title: str | None = None
    k_anonymity: int = 10
    previous: str | None = None
    case: str | None = None
    cases: str | None = None
    group: str | None = None
    role: str | None = None
    lang: str = "en"
    also: tuple[str, ...] = ()
    template: str | None = None

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
        for name in ("title", "previous", "case", "cases", "group", "role", "lang", "template"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise JobError(f"report.{name} must be a text, not {value!r}", hint="leave it out instead")
        if self.role is not None and self.role not in ROLES:
            raise JobError(f"report.role is {self.role!r}", hint=f"allowed: {', '.join(ROLES)}")
        unknown = sorted(set(self.also) - set(FORMS))
        if isinstance(self.also, str) or unknown:
            raise JobError(
                f"report.also names {', '.join(unknown) or self.also!r}", hint=f"a list of {', '.join(FORMS)}"
            )
        language(self.lang)
