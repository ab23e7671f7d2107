"""What every section is given: the run's tables, the settings, the words and the numbers so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from behavio.report.kinds import Kinds
from behavio.report.language import spoken, t
from behavio.report.numbers import period
from behavio.report.run_tables import RunTables
from behavio.report.settings import ReportSettings
from behavio.report.tables import Fact, Facts


@dataclass(frozen=True, eq=False)
class Context:
    """One report in the making."""

    run: RunTables
    settings: ReportSettings
    kinds: Kinds
    one: str
    many: str
    facts: Facts = field(default_factory=Facts)

    @classmethod
    def of(cls, run: RunTables, settings: ReportSettings) -> Context:
        """Find the words for this run: HCPs where the log speaks of visits and emails, else cases."""
        one = settings.case or ("HCP" if run.hcp else "case")
        many = settings.cases or f"{one}s"
        return cls(run, settings, Kinds.from_events(run.events), one, many)

    @property
    def k(self) -> int:
        """The smallest number of people a cell may stand on."""
        return self.settings.k_anonymity

    @property
    def period(self) -> str:
        """The period of the log, or that it has no clock."""
        if not self.run.timed:
            return t("order only, no clock")
        return period(self.run.first.date(), self.run.last.date())

    @property
    def cases(self) -> Fact:
        """How many cases the log holds."""
        what = f"{self.many} with at least one event"
        return self.facts.add("cases", self.run.n_cases, "count", what)

    def noun(self, n: float) -> str:
        """The word for so many cases."""
        return self.one if n == 1 else self.many


def say(text: str, **numbers: object) -> Markup:
    """A sentence in the language of the page: `text` is ours and may hold markup, what is put in is escaped
    unless it is markup."""
    said = Markup(t(text)).format(**{name: t(value) for name, value in numbers.items()})
    return Markup(spoken().bent(str(said)))
